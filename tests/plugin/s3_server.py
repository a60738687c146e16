"""An S3-compatible server (moto's, over HTTP) that can be told to misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from faults import Faults

Answer = Iterable[bytes]


@dataclass
class Server(Faults):
    """A server at `endpoint`, with the faults `500`, `timeout`, `truncate`, `cut` (as long as
    stated, but less arrives), `flip` (a bit of the content), and `pass`: no fault."""

    endpoint: str = ""
    slow: float = 3.0

    def wrap(self, app: Callable[..., Answer]) -> Callable[..., Answer]:
        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Answer:
            kind = self.taken(environ["REQUEST_METHOD"], environ["PATH_INFO"])
            if kind == "500":
                start("500 Internal Server Error", [("Content-Length", "0")])
                return [b""]
            if kind == "timeout":
                time.sleep(self.slow)
            if kind == "pass" or kind not in ("truncate", "cut", "flip"):
                return app(environ, start)
            held: list[Any] = []
            content = b"".join(app(environ, lambda *given: held.append(given)))
            status, headers, *_ = held[0]
            if kind == "flip":
                middle = len(content) // 2
                content = content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
            else:
                content = content[: len(content) // 2]
            plain = [(k, v) for k, v in headers if "checksum" not in k.lower()]
            if kind == "truncate":
                plain = [(k, v) for k, v in plain if k.lower() != "content-length"]
                plain.append(("Content-Length", str(len(content))))
            start(status, plain)
            return [content]

        return answer


def bench_server() -> Iterator[Server]:
    """For a fixture: a server with the bucket `bench`, known to s3fs by the environment."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    import s3fs

    from benchmark import objects

    with serving() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        patch.setattr(objects, "READ_SECONDS", 0.5)
        s3fs.S3FileSystem.clear_instance_cache()
        files = s3fs.S3FileSystem()
        if not files.exists("bench"):  # what a server holds is kept by its process
            files.mkdir("bench")
        yield server
    s3fs.S3FileSystem.clear_instance_cache()


def upload(folder: Path, url: str) -> None:
    """Every file of a folder, as an object below a URL."""
    from benchmark.objects import Bucket

    for path in folder.rglob("*"):
        if path.is_file():
            Bucket(url).write(path.relative_to(folder).as_posix(), path.read_bytes())


@contextmanager
def serving() -> Iterator[Server]:
    """A server of its own, empty but for the bucket `bench`, until the block ends."""
    import logging

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = Server()
    app = server.wrap(DomainDispatcherApplication(create_backend_app))
    http = make_server("127.0.0.1", 0, app, threaded=True)
    server.endpoint = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
