"""A Google Cloud Storage server (gcp-storage-emulator, over HTTP) that can be told to refuse."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import HTTPServer

import pytest
from faults import Faults


@dataclass
class Server(Faults):
    """A server at `endpoint`, whose faults are statuses, said in Google's words."""

    endpoint: str = ""


WORDS = {
    "401": "Anonymous caller does not have storage.objects.list access to the bucket.",
    "403": "someone@example.org does not have storage.objects.list access to the bucket.",
}


def google_server() -> Iterator[Server]:
    """For a fixture: a server with the bucket `bench`, known to gcsfs by the environment."""
    pytest.importorskip("gcsfs")
    pytest.importorskip("gcp_storage_emulator")
    from gcp_storage_emulator.handlers.buckets import create_bucket
    from gcp_storage_emulator.server import RequestHandler
    from gcp_storage_emulator.storage import Storage

    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    server = Server()

    class Handler(RequestHandler):
        def parse_request(self) -> bool:
            if not super().parse_request():
                return False
            status = server.taken(self.command, self.path)
            if status:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                words = {"code": int(status), "message": WORDS.get(status, "Backend Error")}
                content = json.dumps({"error": words}).encode()
                self.send_response(int(status))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            return not status

    storage = Storage(use_memory_fs=True)
    create_bucket("bench", storage)
    http = HTTPServer(("127.0.0.1", 0), partial(Handler, storage))
    server.endpoint = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
