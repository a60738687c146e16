"""The check of a file before it is queued: in a child process that has nothing to break."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from leaderboard.api.problems import Problem
from leaderboard.settings import Settings
from leaderboard.validation.refusal import Refusal

log = logging.getLogger("ssl_bench")
AT_ONCE = 2  # children of one web process
PATIENCE = 60.0  # seconds that a request waits for its turn
SECONDS, MEMORY = 300, 12 << 30  # of a child
IMPORTED = ("torch", "onnx", "leaderboard.validation.checks")  # once, by whom children are forked


class Screening:
    """Checks files in the evaluation's sandbox."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.turns = threading.Semaphore(AT_ONCE)
        self.starting = threading.Lock()
        self.sandbox: Any = None

    def check(self, path: Path, kind: str, name: str, **more: Any) -> dict[str, Any]:
        """The facts of a file that may be evaluated.

        Raises:
            Refusal: it may not.
            Problem: 503, the server is busy with others' files.
        """
        if not self.turns.acquire(timeout=PATIENCE):
            raise Problem(
                503, "the server is busy with other files: try again", headers={"Retry-After": "30"}
            )
        try:
            return self.run(path, kind, name, **more)
        finally:
            self.turns.release()

    def run(self, path: Path, kind: str, name: str, **more: Any) -> dict[str, Any]:
        from leaderboard.evaluation.limits import MODEL, Job, Limits
        from leaderboard.evaluation.sandbox import Sandbox, StepError

        with self.starting:
            if self.sandbox is None:
                self.sandbox = Sandbox(preload=IMPORTED)
        job = Job(
            {"path": str(path), "kind": kind, "name": name, **more},
            "leaderboard.validation.checks:check",
            read_only=((str(path), f"{MODEL}/file"),),
            hidden=(str(self.settings.home.resolve()),),
            limits=Limits(
                memory_bytes=MEMORY,
                cpu_seconds=SECONDS,
                wall_seconds=SECONDS,
                file_bytes=64 << 20,
                disk_bytes=256 << 20,
            ),
        )
        try:
            found: dict[str, Any] = self.sandbox.run(job)
        except StepError as error:
            log.warning("checking %s: %s %s", name, error, error.detail)
            raise Refusal(
                name, "content", f"checking it failed: {error}", "export it again"
            ) from None
        if "refused" in found:
            raise Refusal.told(str(found["refused"]))
        facts: dict[str, Any] = found.get("facts", {})
        return facts

    def close(self) -> None:
        """End the sandbox's helper process."""
        if self.sandbox is not None:
            self.sandbox.close()
