"""An S3-compatible server (moto's, over HTTP) that can be told to misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Answer = Iterable[bytes]


@dataclass
class Server:
    """A server at `endpoint`; `faults` are taken one by one by the requests that match them."""

    endpoint: str
    faults: list[tuple[str, str, str]] = field(default_factory=list)  # kind, method, part of path
    seen: list[tuple[str, str]] = field(default_factory=list)
    slow: float = 3.0

    def fail(self, kind: str, method: str, part: str = "", times: int = 1) -> None:
        """Answer the next requests with a fault: `500`, `timeout`, `truncate`, `cut` (as long as
        stated, but less arrives) or `flip` (a bit of the content)."""
        self.faults += [(kind, method, part)] * times

    def _next(self, method: str, path: str) -> str:
        self.seen.append((method, path))
        for number, (kind, wanted, part) in enumerate(self.faults):
            if wanted == method and part in path:
                del self.faults[number]
                return kind
        return ""

    def wrap(self, app: Callable[..., Answer]) -> Callable[..., Answer]:
        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Answer:
            kind = self._next(environ["REQUEST_METHOD"], environ["PATH_INFO"])
            if kind == "500":
                start("500 Internal Server Error", [("Content-Length", "0")])
                return [b""]
            if kind == "timeout":
                time.sleep(self.slow)
            if kind not in ("truncate", "cut", "flip"):
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


@contextmanager
def serving() -> Iterator[Server]:
    """A server of its own, empty but for the bucket `bench`, until the block ends."""
    import logging

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = Server("")
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
