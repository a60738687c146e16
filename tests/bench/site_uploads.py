"""Submissions to a leaderboard while readers read: several web processes, workers, S3-compatible
storage. Part of `site.py --uploads N`.

Every person sends checkpoints of the mock architecture in pieces, each over a new connection (so
that pieces of one file reach different processes), drops a connection now and then and goes on
where the server says; submits each file twice at once with one Idempotency-Key; and asks for one
submission more than a day allows. When the workers are done, `verify` looks at the database and
the storage.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import multiprocessing
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Engine, func, select

from leaderboard.accounts.people import create_token, create_user
from leaderboard.db import (
    Result,
    ResultState,
    Submission,
    SubmissionState,
    Upload,
    UploadState,
    User,
)
from leaderboard.db.engine import make_sessions, writing_sessions
from leaderboard.submissions.storage import Storage

TESTS = Path(__file__).resolve().parents[1]
PLUGIN = TESTS / "plugin"
SUITE, CELLS = "mock-one", 2
PASSWORD = "correct horse battery staple"  # of a leaderboard that lives for a minute
PIECES = 5  # of a file
WRONG = 40  # tokens tried at the end, from one address
ENDED = (SubmissionState.DONE, SubmissionState.FAILED, SubmissionState.CANCELLED)


def use_mock_plugin() -> None:
    """The mock encoders and tasks of the tests, for this process and those it starts."""
    sys.path.insert(0, str(PLUGIN))
    known = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PLUGIN), known]))


@contextmanager
def own_postgres() -> Iterator[str]:
    """The URL of an empty database on Debian's PostgreSQL, on a free loopback port."""
    sys.path.insert(0, str(TESTS / "leaderboard" / "evaluation"))
    from own_postgres import Postgres, binaries

    programs = binaries()
    if programs is None:
        raise SystemExit("PostgreSQL is not installed: apt-get install postgresql")
    server = Postgres(programs)
    try:
        yield server.url
    finally:
        server.remove()


@contextmanager
def object_storage() -> Iterator[str]:
    """The URL of a bucket of moto's S3 server, which runs in a process of its own."""
    sys.path.insert(0, str(PLUGIN))
    told: Any = multiprocessing.Queue()
    process = multiprocessing.Process(target=_serve_objects, args=(told,), daemon=True)
    process.start()
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_ENDPOINT_URL": told.get(timeout=60), "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    import s3fs

    s3fs.S3FileSystem().mkdir("uploads")
    try:
        yield "s3://uploads/site"
    finally:
        process.terminate()
        process.join(10)


def _serve_objects(told: Any) -> None:
    from s3_server import serving

    with serving() as server:
        told.put(server.endpoint)
        threading.Event().wait()


@dataclass
class Uploads:
    """`people` persons with `each` files."""

    people: int
    each: int
    tokens: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)  # seconds from announcement to submission
    threads: list[threading.Thread] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def prepare(self, engine: Engine) -> None:
        """Accounts and tokens."""
        with writing_sessions(engine).begin() as session:
            for number in range(self.people):
                user = create_user(session, f"person-{number}", password=PASSWORD)
                self.tokens.append(create_token(session, user, "bench", ["submit"], 1)[1])

    def start(self, port: int) -> None:
        for number in range(self.people):
            thread = threading.Thread(target=self._person, args=(port, number))
            thread.start()
            self.threads.append(thread)

    def join(self) -> None:
        for thread in self.threads:
            thread.join()

    def report(self) -> None:
        """What happened."""
        mean = sum(self.times) / max(1, len(self.times))
        print(f"{len(self.times)} files sent, checked and queued in {mean:.1f} s each on average")
        print(", ".join(f"{name}: {count}" for name, count in sorted(self.seen.items())))

    def _person(self, port: int, number: int) -> None:
        try:
            for index in range(self.each):
                self._submit(port, number, index)
            status, _ = self._send(port, number, self.each)
            self.seen[f"one more than a day allows: {status}"] += 1
        except Exception as error:  # told at the end, with the others' results
            self.errors.append(f"person {number}: {error!r}")

    def _submit(self, port: int, number: int, index: int) -> None:
        began = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            upload = self._upload(port, number, index)
            tries = [pool.submit(self._order, port, number, index, upload) for _ in range(2)]
            answers = [found.result() for found in tries]
        self.times.append(time.perf_counter() - began)
        assert {status for status, _ in answers} <= {200, 201}, answers
        assert len({found["id"] for _, found in answers}) == 1, answers
        self.seen["submitted"] += 1

    def _send(self, port: int, number: int, index: int) -> tuple[int, Any]:
        return self._order(port, number, index, self._upload(port, number, index))

    def _order(self, port: int, number: int, index: int, upload: str) -> tuple[int, Any]:
        body = {
            "upload": upload, "name": f"Net {number} {index}", "architecture": "mock-net",
            "suite": SUITE,
        }  # fmt: skip
        key = {"Idempotency-Key": f"bench-{number:04}-{index:04}"}
        while True:
            status, found = ask(port, "POST", "submissions", self.tokens[number], body, key)
            if status != 503:  # busy with others' files
                return status, found
            self.seen["asked to come back"] += 1
            time.sleep(1)

    def _upload(self, port: int, number: int, index: int) -> str:
        """Send a file over many connections; gives the id of the upload."""
        rng, token = random.Random(f"{number} {index}"), self.tokens[number]
        content = checkpoint(number, index)
        body = {
            "kind": "checkpoint", "file_name": "net.safetensors", "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }  # fmt: skip
        status, state = ask(port, "POST", "uploads", token, body)
        assert status in (200, 201), state
        path = f"uploads/{state['id']}"
        while state["state"] == "open":
            begin = state["offset"]
            piece = content[begin : begin + -(-len(content) // PIECES)]
            if rng.random() < 0.2:
                drop(port, path, token, begin, piece)
                self.seen["dropped connections"] += 1
                status, state = ask(port, "GET", path, token)
                assert status == 200, state
                continue
            status, found = ask(port, "PATCH", path, token, piece, {"Upload-Offset": str(begin)})
            if status == 200:
                state = found
            else:  # a request that was dropped may still be at it
                assert status == 409, (status, found)
                self.seen["told where to go on"] += 1
                time.sleep(0.1)
                status, state = ask(port, "GET", path, token)
        assert state["state"] == "complete", state
        return str(state["id"])


def checkpoint(number: int, index: int) -> bytes:
    """Weights of the mock architecture that nobody else sends."""
    import torch
    from safetensors.torch import save
    from ssl_bench_mock_parts import Net

    with torch.random.fork_rng():
        torch.manual_seed(1000 * number + index)
        return save(Net().state_dict())


def ask(
    port: int, method: str, path: str, token: str, body: Any = None, more: Any = None
) -> tuple[int, Any]:
    """Status and JSON of a request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Authorization": f"Bearer {token}", "Connection": "close", **(more or {})}
    if isinstance(body, dict):
        body, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    try:
        connection.request(method, f"/api/v1/{path}", body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")
    finally:
        connection.close()


def drop(port: int, path: str, token: str, offset: int, piece: bytes) -> None:
    """Half of a piece, and then nothing."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        head = (
            f"PATCH /api/v1/{path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
            f"Upload-Offset: {offset}\r\nContent-Length: {len(piece)}\r\n"
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        connection.sendall(head.encode() + piece[: len(piece) // 2])


def start_workers(number: int, environment: dict[str, str], home: Path) -> list[Any]:
    """Evaluation workers; what they say is in the home."""
    workers = []
    for index in range(number):
        log = (home / f"worker-{index}.log").open("wb")
        command = [sys.executable, "-m", "benchmark.cli", "worker", "--device", "cpu"]
        workers.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    return workers


def verify(uploads: Uploads, engine: Engine, storage: str, port: int, wait: float) -> list[str]:
    """What is wrong once all submissions have ended: nothing, it is hoped."""
    uploads.join()
    wrong = list(uploads.errors)
    sessions = make_sessions(engine)
    expected = uploads.people * uploads.each
    theirs = select(User.id).where(User.name.like("person-%"))
    until = time.monotonic() + wait
    while True:
        with sessions() as session:
            states = Counter(
                session.scalars(select(Submission.state).where(Submission.owner_id.in_(theirs)))
            )
        if sum(states[state] for state in ENDED) >= expected or time.monotonic() > until:
            break
        time.sleep(0.5)
    if states != {SubmissionState.DONE: expected}:
        wrong.append(f"{expected} submissions, and their states are {dict(states)}")
    files = Storage(storage)
    with sessions() as session:
        names = Counter(
            session.scalars(select(Submission.name).where(Submission.owner_id.in_(theirs)))
        )
        wrong += session.scalars(
            select(Submission.reason)
            .where(Submission.owner_id.in_(theirs), Submission.state == SubmissionState.FAILED)
            .distinct()
        )
        wrong += [f"{name} is there {count} times" for name, count in names.items() if count > 1]
        for upload in session.scalars(select(Upload).where(Upload.owner_id.in_(theirs))):
            content = files.read(upload.storage_key) if upload.storage_key else b""
            whole = hashlib.sha256(content).hexdigest() == upload.sha256
            if upload.state != UploadState.COMPLETE or not whole:
                wrong.append(f"upload {upload.public_id} is {upload.state}, {len(content)} bytes")
        cells = session.execute(
            select(Result.submission_id, func.count(), func.count(Result.task.distinct()))
            .where(Result.submission_id.is_not(None), Result.state == ResultState.VERIFIED)
            .group_by(Result.submission_id)
        ).all()
    if len(cells) != expected or any(count != CELLS for _, count, _ in cells):
        wrong.append(f"results of {len(cells)} submissions: {Counter(c for _, c, _ in cells)}")
    return wrong + _shared(port)


def _shared(port: int) -> list[str]:
    """Whether all processes know a browser's session, and wrong tokens are limited over all."""
    wrong = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    status, page, cookies = _browse(connection, "GET", "/login")
    found = re.search(rb'name="csrf" value="([^"]*)"', page)
    assert found is not None
    form = {"csrf": found[1].decode(), "name": "person-0", "password": PASSWORD}
    status, _, more = _browse(connection, "POST", "/login", urlencode(form), cookies)
    cookies |= more
    connection.close()
    statuses: Counter[int] = Counter()
    for _ in range(20):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        statuses[_browse(connection, "GET", "/account/tokens", None, cookies)[0]] += 1
        connection.close()
    if statuses != {200: 20}:
        wrong.append(f"signed in ({status}), and 20 connections were answered {dict(statuses)}")
    tried = Counter(ask(port, "GET", "me", "sslb_wrong")[0] for _ in range(WRONG))
    print(f"{WRONG} wrong tokens from one address: {dict(tried)}")
    if tried[401] > 20 or not tried[429]:
        wrong.append(f"wrong tokens are not limited to 20 in all: {dict(tried)}")
    return wrong


def _browse(
    connection: http.client.HTTPConnection, method: str, path: str,
    body: str | None = None, cookies: dict[str, str] | None = None,
) -> tuple[int, bytes, dict[str, str]]:  # fmt: skip
    headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in (cookies or {}).items())}
    if body is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    page = answer.read()
    given = [value.split(";")[0] for value in answer.headers.get_all("Set-Cookie") or []]
    return answer.status, page, dict(pair.split("=", 1) for pair in given)
