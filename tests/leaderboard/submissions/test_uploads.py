"""Uploads: what arrives stays, what is too much or wrong does not, and the disk may be full."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from leaderboard.app import create_app
from leaderboard.db import Upload, now
from leaderboard.settings import load_settings
from leaderboard.submissions import receiving, uploads
from leaderboard.submissions.storage import Storage


def stored(site: FastAPI) -> list[Path]:
    return [path for path in (site.state.settings.home / "uploads").rglob("*") if path.is_file()]


def partial(site: FastAPI) -> list[Path]:
    return list((site.state.settings.home / "partial").glob("*"))


def test_a_file_is_kept_by_its_content(ada: Any, open_site: FastAPI) -> None:
    data = os.urandom(3_000_000)
    upload = ada.upload(data)
    (path,) = stored(open_site)
    assert path.read_bytes() == data
    assert path.name == hashlib.sha256(data).hexdigest()
    assert path.stat().st_mode & 0o777 == 0o644, "the sandbox's user reads it"
    assert partial(open_site) == []
    shown = ada("GET", f"/uploads/{upload}").json()
    assert (shown["state"], shown["offset"]) == ("complete", len(data))
    assert ada.send(upload, b"", offset=len(data)).status_code == 200, "again changes nothing"


def test_an_upload_goes_on_where_it_stopped(ada: Any) -> None:
    data = os.urandom(100_000)
    upload = ada.announce(data).json()["id"]
    assert ada.send(upload, data[:40_000]).json()["offset"] == 40_000
    assert ada.announce(data).json() == ada("GET", f"/uploads/{upload}").json(), "found again"
    wrong = ada.send(upload, data[50_000:], offset=50_000)
    assert (wrong.status_code, wrong.json()["offset"]) == (409, 40_000)
    assert ada.send(upload, data[40_000:], offset=40_000).json()["state"] == "complete"


def drive(site: FastAPI, person: Any, upload: str, messages: list[Any]) -> list[Any]:
    """Send an upload's bytes as these ASGI messages; after the last one nothing comes any more."""

    async def run() -> list[Any]:
        answer: list[Any] = []

        async def receive() -> Any:
            if not messages:
                await asyncio.sleep(30)
            return messages.pop(0)

        async def send(message: Any) -> None:
            answer.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "PATCH",
            "scheme": "http", "path": f"/api/v1/uploads/{upload}", "raw_path": b"",
            "root_path": "", "query_string": b"", "client": ("192.0.2.9", 1),
            "server": ("testserver", 80),
            "headers": [
                (b"authorization", f"Bearer {person.token}".encode()), (b"upload-offset", b"0"),
                (b"host", b"testserver"),
            ],
        }  # fmt: skip
        await site(scope, receive, send)
        return answer

    found: list[Any] = person.client.portal.call(run)
    return found


def test_bytes_of_a_broken_request_stay(ada: Any, open_site: FastAPI) -> None:
    data = os.urandom(3 << 20)
    upload = ada.announce(data).json()["id"]
    first = {"type": "http.request", "body": data[:1_500_000], "more_body": True}
    drive(open_site, ada, upload, [first, {"type": "http.disconnect"}])
    assert ada("GET", f"/uploads/{upload}").json()["offset"] == 1_500_000
    rest = ada.send(upload, data[1_500_000:], offset=1_500_000)
    assert rest.json()["state"] == "complete"


def test_another_content_than_announced_is_rejected(ada: Any, open_site: FastAPI) -> None:
    upload = ada.announce(b"a" * 1000).json()["id"]
    answer = ada.send(upload, b"b" * 1000)
    assert answer.status_code == 422
    assert "sha256" in answer.json()["detail"]
    assert stored(open_site) == partial(open_site) == []
    assert ada.send(upload, b"a" * 1000).status_code == 409


def test_a_pickle_is_refused_at_its_first_bytes(ada: Any, open_site: FastAPI) -> None:
    data = pickle.dumps(list(range(500_000)))
    upload = ada.announce(data).json()["id"]
    answer = ada.send(upload, data[:1000])
    assert answer.status_code == 422
    assert "pickle" in answer.json()["detail"]
    assert partial(open_site) == []


def test_more_bytes_than_announced_are_refused(ada: Any) -> None:
    upload = ada.announce(b"a" * 1000).json()["id"]
    assert ada.send(upload, b"a" * 1001).status_code == 413
    assert ada.send(upload, iter([b"a" * 600, b"a" * 600])).status_code == 413, "without a length"
    assert ada("GET", f"/uploads/{upload}").json()["offset"] <= 1000


@pytest.mark.long
@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("size", 0, 422),
        ("size", -1, 422),
        ("size", 2**45, 413),
        ("size", 2**80, 422),
        ("sha256", "x" * 64, 422),
        ("sha256", "../../etc/passwd", 422),
        ("kind", "pickle", 422),
        ("file_name", "x" * 1000, 422),
        ("surplus", 1, 422),
    ],
)
def test_announcements_are_checked(ada: Any, field: str, value: Any, status: int) -> None:
    body = {"kind": "onnx", "file_name": "m.onnx", "size": 10, "sha256": "0" * 64, field: value}
    assert ada("POST", "/uploads", json=body).status_code == status


@pytest.mark.parametrize(
    "name",
    ["../../../etc/passwd", "/etc/passwd", "..", "C:\\Windows\\system.ini", "<script>.onnx",
     "a\x00b", "\u202egnp.exe", "", "con\r\nSet-Cookie: a=b", "'; DROP TABLE upload; --"],
)  # fmt: skip
def test_a_file_name_is_never_a_path(ada: Any, open_site: FastAPI, name: str) -> None:
    data = b"x" * 100
    ada.upload(data, name=name)
    (path,) = stored(open_site)
    assert path.name == hashlib.sha256(data).hexdigest()
    with open_site.state.sessions() as session:
        kept = session.scalars(select(Upload.file_name)).one()
    assert kept
    assert not set(kept) & set("/\\<>\x00\r\n\u202e'\";")
    assert not kept.startswith(".")


def test_other_peoples_uploads_are_not_there(ada: Any, eve: Any, mia: Any) -> None:
    data = os.urandom(1000)
    upload = ada.announce(data).json()["id"]
    for other in (eve, mia):
        assert other("GET", f"/uploads/{upload}").status_code == 404
        assert other.send(upload, data).status_code == 404
        assert other("DELETE", f"/uploads/{upload}").status_code == 404
    ada.send(upload, data)
    assert eve.submit(upload).status_code == 404


def test_knowing_a_sha256_does_not_give_the_file(ada: Any, eve: Any) -> None:
    data = os.urandom(1000)
    ada.upload(data)
    claimed = eve.announce(data).json()
    assert (claimed["state"], claimed["offset"]) == ("open", 0)


def test_the_same_content_is_stored_once_and_kept_while_one_needs_it(
    ada: Any, eve: Any, open_site: FastAPI
) -> None:
    data = os.urandom(1000)
    mine, hers = ada.upload(data), eve.upload(data)
    assert len(stored(open_site)) == 1
    assert ada("DELETE", f"/uploads/{mine}").status_code == 204
    assert len(stored(open_site)) == 1
    assert eve("DELETE", f"/uploads/{hers}").status_code == 204
    assert stored(open_site) == []


def test_nobody_fills_the_disk(tmp_path: Path, person: Any, open_site: FastAPI) -> None:
    open_site.state.settings.__dict__["uploads_mib_per_user"] = 1
    ada = person("ada")
    ada.upload(os.urandom(700_000))
    answer = ada.announce(os.urandom(700_000))
    assert answer.status_code == 403
    assert "withdraw" in answer.json()["detail"]


def test_unfinished_uploads_are_bounded_and_expire(ada: Any, open_site: FastAPI) -> None:
    for index in range(uploads.MAX_OPEN):
        upload = ada.announce(f"file {index}".encode()).json()["id"]
        ada.send(upload, b"f")
    assert ada.announce(b"one more").status_code == 403
    with open_site.state.writing.begin() as session:
        for row in session.scalars(select(Upload)):
            row.created = now() - timedelta(hours=open_site.state.settings.upload_hours + 1)
    assert ada.announce(b"one more").status_code == 201
    assert partial(open_site) == []


def test_a_full_disk_loses_nothing(
    ada: Any, open_site: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(3 << 20)
    upload = ada.announce(data).json()["id"]
    real = os.write
    left = [(1 << 20) + 12345]

    def short(handle: int, block: Any) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = real(handle, block[: left[0]])
        left[0] -= count
        return count

    monkeypatch.setattr(receiving.os, "write", short)
    answer = ada.send(upload, data)
    assert answer.status_code == 507
    assert answer.headers["content-type"] == "application/problem+json"
    assert "nothing is lost" in answer.json()["detail"]
    monkeypatch.undo()
    offset = ada("GET", f"/uploads/{upload}").json()["offset"]
    assert offset == (1 << 20) + 12345
    assert ada.send(upload, data[offset:], offset=offset).json()["state"] == "complete"
    (path,) = stored(open_site)
    assert path.read_bytes() == data


def test_a_full_store_keeps_the_upload(
    ada: Any, open_site: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(1000)
    upload = ada.announce(data).json()["id"]

    def full(*_: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Storage, "keep", full)
    assert ada.send(upload, data).status_code == 507
    monkeypatch.undo()
    assert ada.send(upload, b"", offset=len(data)).json()["state"] == "complete"


def test_a_file_that_will_not_fit_is_refused_before_it_is_sent(
    ada: Any, open_site: FastAPI
) -> None:
    open_site.state.settings.__dict__["free_mib"] = 2**30
    assert ada.announce(b"x" * 1000).status_code == 507


def test_a_slow_upload_is_cut_off_and_can_go_on(ada: Any, open_site: FastAPI) -> None:
    """A client that opens a request and sends next to nothing holds it only so long."""
    open_site.state.settings.__dict__["upload_stall_seconds"] = 0.2
    data = os.urandom(1000)
    upload = ada.announce(data).json()["id"]
    first = {"type": "http.request", "body": data[:100], "more_body": True}
    messages = drive(open_site, ada, upload, [first])
    assert messages[0]["status"] == 408
    assert ada("GET", f"/uploads/{upload}").json()["offset"] == 100
    assert ada.send(upload, data[100:], offset=100).json()["state"] == "complete"


def test_two_requests_do_not_write_at_once(ada: Any, open_site: FastAPI) -> None:
    data = os.urandom(1000)
    upload = ada.announce(data).json()["id"]
    path = receiving.partial_path(open_site.state.settings, upload)
    with receiving.sole_writer(path):
        assert ada.send(upload, data).status_code == 409
    assert ada.send(upload, data).status_code == 200


@pytest.mark.parametrize("upload", ["x", "0" * 24, "..%2F..%2F", "%00", "0" * 1000, "' OR 1=1 --"])
def test_an_upload_that_is_none_is_no_fault_of_ours(ada: Any, upload: str) -> None:
    assert ada("GET", f"/uploads/{upload}").status_code in (400, 404, 422)


def test_without_a_token_nothing_is_taken(web: Any) -> None:
    assert web.post("/api/v1/uploads", json={}).status_code == 401
    assert web.patch("/api/v1/uploads/" + "0" * 24, content=b"x").status_code == 401


def test_any_store_of_fsspec_will_do(tmp_path: Path, weights: Callable[[int], bytes]) -> None:
    site = create_app(
        load_settings(home=tmp_path, storage_url="memory://ssl-bench-test", _env_file=None)
    )
    storage: Storage = site.state.storage
    assert not storage.local
    local = tmp_path / "file"
    local.write_bytes(b"content")
    key = storage.keep(local, hashlib.sha256(b"content").hexdigest())
    assert storage.read(key) == b"content"
    assert storage.has(key, 7)
    assert not storage.has(key, 8)
    with storage.on_disk(key) as copy:
        assert copy.read_bytes() == b"content"
    storage.remove(key)
    assert not storage.has(key, 7)
