"""What the worker and a step say to each other, within bounds of time, size and memory."""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from leaderboard.evaluation.limits import Job

log = logging.getLogger("ssl_bench.worker")
Tell = Callable[[dict[str, Any]], None]
ERRORS_KEPT = 16 << 10
DISK_SECONDS = 2.0  # between two looks at what no limit of the kernel bounds


class StepError(Exception):
    """A step that did not come to a result, in words for the submitter.

    `final` is False where another try may end otherwise.
    """

    def __init__(self, reason: str, *, final: bool = False, detail: str = "") -> None:
        super().__init__(reason)
        self.final = final
        self.detail = detail  # for the operator's log


class StoppedError(Exception):
    """The step was stopped from outside: cancelled, or the worker shuts down."""


class Pipes:
    """Output, errors, exit status, and the leash on which the launcher hangs."""

    def __init__(self) -> None:
        pairs = [os.pipe() for _ in range(4)]
        self.out, self.err, self.status = (pair[0] for pair in pairs[:3])
        self.leash = pairs[3][1]
        self.theirs = [pairs[0][1], pairs[1][1], pairs[2][1], pairs[3][0]]
        self._ours = [self.out, self.err, self.status]

    def close_theirs(self) -> None:
        while self.theirs:
            os.close(self.theirs.pop())

    def let_go(self) -> None:
        """Have everything that the step started killed, and wait until it is."""
        if self.leash >= 0:
            os.close(self.leash)
            self.leash = -1

    def __enter__(self) -> Pipes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close_theirs()
        self.let_go()
        with selectors.DefaultSelector() as selector:  # the launcher ends when all is dead
            selector.register(self.status, selectors.EVENT_READ)
            end = time.monotonic() + 5
            while time.monotonic() < end and selector.select(end - time.monotonic()):
                if not os.read(self.status, 16):
                    break
        for number in self._ours:
            os.close(number)


class Conversation:
    """Reads what one step says until it ends."""

    def __init__(
        self, pipes: Pipes, job: Job, tell: Tell, stop: Callable[[], bool], poll: float
    ) -> None:
        self.pipes, self.job, self.tell, self.stop, self.poll = pipes, job, tell, stop, poll
        self.received = 0
        self.line = bytearray()
        self.errors = bytearray()
        self.status = b""
        self.end: dict[str, Any] | None = None

    def run(self) -> dict[str, Any]:
        """The last message.

        Raises:
            StepError, StoppedError: see `Sandbox.run`.
        """
        limits = self.job.limits
        deadline = time.monotonic() + limits.wall_seconds
        looked = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self.pipes.out, selectors.EVENT_READ, self._message)
            selector.register(self.pipes.err, selectors.EVENT_READ, self._error)
            selector.register(self.pipes.status, selectors.EVENT_READ, self._ended)
            while selector.get_map():
                ready = selector.select(0 if self.status else self.poll)
                if self.status and not ready:
                    break
                for key, _ in ready:
                    if data := os.read(key.fd, 65536):
                        key.data(data)
                    else:
                        selector.unregister(key.fileobj)
                now = time.monotonic()
                if self.status:
                    continue
                if self.stop():
                    raise StoppedError
                if now > deadline:
                    minutes = limits.wall_seconds / 60
                    raise StepError(f"it took longer than {minutes:.3g} minutes and was stopped")
                if now - looked > DISK_SECONDS:
                    looked = now
                    self._look()
        return self._result()

    def _message(self, data: bytes) -> None:
        self.received += len(data)
        if self.received > self.job.limits.output_bytes:
            most = size_text(self.job.limits.output_bytes)
            raise StepError(f"it sent more than {most} and was stopped", final=True)
        self.line += data
        while (cut := self.line.find(b"\n")) >= 0:
            text, self.line = bytes(self.line[:cut]), self.line[cut + 1 :]
            try:
                message = json.loads(text)
                phase = message["phase"]
            except (ValueError, TypeError, KeyError, RecursionError):
                raise StepError("it sent something that is no message", final=True) from None
            if phase == "confined":
                for lack in message.get("lacking", ()):
                    log.warning("the sandbox is weaker than it could be: %s", lack)
            elif phase == "end":
                self.end = message
            else:
                self.tell(message)

    def _error(self, data: bytes) -> None:
        self.errors = (self.errors + data)[-ERRORS_KEPT:]

    def _ended(self, data: bytes) -> None:
        self.status += data

    def _look(self) -> None:
        """What no limit of the kernel bounds: all files together, the memory of a GPU step."""
        used = 0
        for top in filter(None, (f"{self.job.private}/tmp", self.job.scratch)):
            for folder, _, files in os.walk(top):
                for name in files:
                    with suppress(OSError):
                        used += os.lstat(os.path.join(folder, name)).st_blocks * 512
        most = self.job.limits.disk_bytes
        if used > most:
            raise StepError(f"it wrote more than {size_text(most)} and was stopped", final=True)

    def _result(self) -> dict[str, Any]:
        detail = self.errors.decode(errors="replace").strip()
        limits = self.job.limits
        status = int(self.status or b"-1")
        memory = f"it needs more than the {size_text(limits.memory_bytes)} of memory of a step"
        if status == 0 and self.end is not None:
            if self.end.get("failure") == "out of memory":
                raise StepError(memory, final=True, detail=detail)
            return self.end
        lowered = detail.lower()
        if any(sign in lowered for sign in ("cannot allocate memory", "bad_alloc", "memoryerror")):
            raise StepError(memory, final=True, detail=detail)
        cpu = f"it used more than {limits.cpu_seconds} seconds of processor time"
        file = f"it wrote a file larger than {size_text(limits.file_bytes)}"
        final = {128 + signal.SIGXCPU: cpu, 128 + signal.SIGXFSZ: file}
        crash = "it crashed, perhaps for want of memory"
        passing = {
            128 + signal.SIGKILL: "it was killed, for want of memory or processor time",
            128 + signal.SIGSEGV: crash,
            128 + signal.SIGABRT: crash,
            128 + signal.SIGBUS: crash,
        }
        reason = final.get(status) or passing.get(status) or "it ended without a result"
        raise StepError(reason, final=status in final, detail=detail)


def size_text(count: int) -> str:
    return f"{count / 2**30:.3g} GiB" if count >= 1 << 30 else f"{count / 2**20:.3g} MiB"
