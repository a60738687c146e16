"""A small typed client of `/api/v1`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import httpx
from pydantic import BaseModel

from benchmark import __version__
from benchmark.errors import SslBenchError

TRIES = 9  # of a request that the network, or a busy server, did not let through
BLOCK = 1 << 18
BUSY = (429, 502, 503, 504)
Told = Callable[[int], None]


class ServerError(SslBenchError):
    """The server's refusal, in its words."""

    def __init__(self, status: int, message: str, problem: dict[str, Any]) -> None:
        super().__init__(message)
        self.status, self.problem = status, problem


class Person(BaseModel):
    """Whom a token belongs to."""

    name: str
    scopes: list[str]


class Upload(BaseModel):
    """How far a file is."""

    id: str
    state: str
    offset: int
    size: int
    piece: int
    reason: str = ""


class Step(BaseModel):
    task: str
    protocol: str
    state: str
    message: str = ""


class LogLine(BaseModel):
    id: int
    level: str
    message: str


class Submission(BaseModel):
    """What the server says of a submission."""

    id: str
    name: str
    state: str
    ended: bool
    reason: str = ""
    ahead: int | None = None
    done: int = 0
    total: int = 0
    encoder: str | None = None
    steps: list[Step] = []


class Client:
    """One server, one token; to be used in a `with` block.

    Raises:
        ServerError: what the server refuses, from every method.
        SslBenchError: it cannot be reached.
    """

    def __init__(
        self,
        server: str,
        token: str | None,
        *,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.server, self.pause = server.rstrip("/"), pause
        headers = {"User-Agent": f"ssl-bench/{__version__}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.http = httpx.Client(
            base_url=f"{self.server}/api/v1/",
            headers=headers,
            timeout=httpx.Timeout(60, read=600),  # checking a large file takes its time
            transport=transport,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.http.close()

    def me(self) -> Person:
        """The person whom the token belongs to."""
        return Person.model_validate(self._ask("GET", "me"))

    def upload(self, path: Path, kind: str, tell: Told = lambda sent: None) -> Upload:
        """Send a file, or what the server lacks of it; `tell` is called with the bytes there."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            body = {
                "kind": kind,
                "file_name": path.name,
                "size": path.stat().st_size,
                "sha256": digest,
            }
            state = Upload.model_validate(self._ask("POST", "uploads", json=body))
            failures = 0
            while state.state == "open":
                before = state.offset
                tell(before)
                try:
                    state = self._send_piece(file, state, tell)
                    failures = 0
                except (httpx.TransportError, ServerError) as error:
                    if isinstance(error, ServerError) and error.status not in (408, 409, *BUSY):
                        raise
                    failures += 1
                    if failures >= TRIES:
                        raise self._unreachable(error) from error
                    self.pause(_wait(error, failures))
                    state = Upload.model_validate(self._ask("GET", f"uploads/{state.id}"))
                    failures = 0 if state.offset > before else failures
        tell(state.offset)
        if state.state != "complete":
            raise SslBenchError(f"{path}: the server rejected it: {state.reason}")
        return state

    def _send_piece(self, file: BinaryIO, state: Upload, tell: Told) -> Upload:
        length = min(state.piece, state.size - state.offset)
        file.seek(state.offset)
        headers = {
            "Upload-Offset": str(state.offset),
            "Content-Length": str(length),
            "Content-Type": "application/octet-stream",
        }

        def blocks() -> Iterator[bytes]:
            left = length
            while left:
                block = file.read(min(BLOCK, left))
                if not block:
                    raise SslBenchError(
                        f"{file.name} became shorter while it was sent: leave it as it is and retry"
                    )
                left -= len(block)
                yield block
                tell(state.offset + length - left)

        answer = self.http.request(
            "PATCH", f"uploads/{state.id}", content=blocks(), headers=headers
        )
        return Upload.model_validate(_checked(answer))

    def submit(self, upload: Upload, key: str, **fields: Any) -> Submission:
        """Submit an uploaded file; `key` makes a repeated try harmless."""
        found = self._ask(
            "POST",
            "submissions",
            json={"upload": upload.id, **fields},
            headers={"Idempotency-Key": key},
        )
        return Submission.model_validate(found)

    def submission(self, submission_id: str) -> Submission:
        """What has become of it."""
        return Submission.model_validate(self._ask("GET", f"submissions/{submission_id}"))

    def log(self, submission_id: str, after: int = 0) -> list[LogLine]:
        """The lines of its log behind number `after`."""
        found = self._ask("GET", f"submissions/{submission_id}/log", params={"after": after})
        return [LogLine.model_validate(line) for line in found]

    def cancel(self, submission_id: str) -> Submission:
        """Stop it."""
        return Submission.model_validate(self._ask("POST", f"submissions/{submission_id}/cancel"))

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        """A request that may be repeated: it is, when the network or the server is busy."""
        for failures in range(1, TRIES + 1):
            try:
                return _checked(self.http.request(method, path, **more))
            except httpx.InvalidURL as error:
                raise SslBenchError(f"--server {self.server!r}: {error}") from None
            except (httpx.TransportError, ServerError) as error:
                busy = not isinstance(error, ServerError) or error.status in BUSY
                wait = _wait(error, failures)
                if not busy or failures == TRIES or wait > 60:
                    raise self._unreachable(error) from error
                self.pause(wait)
        raise AssertionError

    def _unreachable(self, error: Exception) -> SslBenchError:
        if isinstance(error, SslBenchError):
            return error
        return SslBenchError(
            f"{self.server} cannot be reached ({error or type(error).__name__}): check the address "
            "and the network; what was sent is kept, the same command goes on"
        )


def _checked(answer: httpx.Response) -> Any:
    """The answer's JSON.

    Raises:
        ServerError: a refusal, or something that is no leaderboard's answer.
    """
    try:
        found = answer.json() if answer.content else {}
    except ValueError:
        found = {}
    if answer.is_success and answer.content and found != {}:
        return found
    problem = found if isinstance(found, dict) else {}
    detail = str(problem.get("detail") or "")
    if not detail:
        where = f"{answer.status_code} to {answer.request.url}"
        detail = f"the server answered {where}: is it a leaderboard?"
    problem.setdefault("retry_after", answer.headers.get("retry-after"))
    raise ServerError(answer.status_code, " ".join(detail.split())[:1_000], problem)


def _wait(error: Exception, failures: int) -> float:
    """Seconds until the next try: as the server says, else longer every time."""
    given = error.problem.get("retry_after") if isinstance(error, ServerError) else None
    try:
        return max(0.5, float(given)) if given else min(30.0, 0.5 * 2**failures)
    except ValueError:
        return 5.0
