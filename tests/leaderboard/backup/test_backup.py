"""A backup brings everything back, or says why not and changes nothing."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from benchmark.errors import SslBenchError
from benchmark.results import Result as ResultFile
from leaderboard.accounts.people import create_token, create_user
from leaderboard.app import create_app
from leaderboard.backup.restoring import restore
from leaderboard.backup.saving import save
from leaderboard.db import Base, Result, ResultState, Submission, SubmissionState, Token, Upload
from leaderboard.db.engine import make_engine
from leaderboard.evaluation.signing import Signer
from leaderboard.results.publish import publish
from leaderboard.settings import Settings, load_settings

CONTENT = b"weights" * 1000


@pytest.fixture
def full(site: FastAPI, tmp_path: Path, make_result: Callable[..., ResultFile]) -> FastAPI:
    """A site with people, an upload, a running submission, results and a key."""
    Signer.load(site.state.settings.signing_key_file)
    file = tmp_path / "upload"
    file.write_bytes(CONTENT)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    key = site.state.storage.keep(file, sha256)
    with site.state.writing.begin() as session:
        ada = create_user(session, "ada", password="correct horse battery")
        create_token(session, ada, "t", ["submit"], 1)
        upload = Upload(
            owner_id=ada.id, kind="checkpoint", state="complete", size=len(CONTENT), sha256=sha256,
            storage_key=key, facts={"a": [1, 2.5, None, "ü"]},
        )  # fmt: skip
        session.add(upload)
        session.flush()
        first = Submission(
            owner_id=ada.id, upload_id=upload.id, kind="checkpoint", name="m", modality="audio",
            state=SubmissionState.RUNNING, workflow_id="w-1",
        )  # fmt: skip
        session.add(first)
        session.flush()
        session.add(
            Submission(
                owner_id=ada.id, kind="checkpoint", name="m", modality="audio", verifies_id=first.id
            )
        )
        publish(session, [make_result("mfcc")], ResultState.VERIFIED)
    return site


def rows(engine: Any) -> dict[str, list[Any]]:
    with engine.connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table))]
            for table in Base.metadata.sorted_tables
        }


def empty(folder: Path) -> tuple[Any, Settings]:
    settings = load_settings(home=folder, _env_file=None)
    return make_engine(settings), settings


def test_a_backup_brings_everything_back(full: FastAPI, tmp_path: Path) -> None:
    file = tmp_path / "site.tar"
    told = save(full.state.engine, full.state.settings, file)
    assert file.stat().st_mode & 0o777 == 0o600, "it holds the key and the hashes of passwords"
    engine, settings = empty(tmp_path / "other")
    assert restore(engine, settings, file) == told
    before, after = rows(full.state.engine), rows(engine)
    running = before.pop("submission"), after.pop("submission")
    assert after == before
    assert len(running[1]) == len(running[0]) == 2
    other = create_app(settings)
    with other.state.sessions() as session:
        first, again = session.scalars(select(Submission).order_by(Submission.id)).all()
        assert (first.state, first.workflow_id) == ("queued", None), "evaluated anew"
        assert again.verifies_id == first.id
        assert session.scalars(select(Result)).one().payload.replicates
        assert session.scalars(select(Token)).one().expires is not None
    assert other.state.storage.read(other.state.storage.key_of(
        hashlib.sha256(CONTENT).hexdigest())) == CONTENT  # fmt: skip
    key = full.state.settings.signing_key_file
    assert settings.signing_key_file.read_bytes() == key.read_bytes()
    assert settings.signing_key_file.stat().st_mode & 0o777 == 0o600
    with other.state.writing.begin() as session:
        create_user(session, "grace", password="correct horse battery")


def test_a_site_that_is_not_empty_is_left_alone(full: FastAPI, tmp_path: Path) -> None:
    file = tmp_path / "site.tar"
    save(full.state.engine, full.state.settings, file)
    before = rows(full.state.engine)
    with pytest.raises(SslBenchError, match="into an empty site only"):
        restore(full.state.engine, full.state.settings, file)
    assert rows(full.state.engine) == before


def altered(file: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> Path:
    """A copy of a backup with entries changed, renamed or left out."""
    target = file.with_name("altered.tar")
    with tarfile.open(file) as source, tarfile.open(target, "w") as out:
        for entry in source:
            held = source.extractfile(entry)
            assert held is not None
            made = change(entry.name, held.read())
            if made is not None:
                info = tarfile.TarInfo(made[0])
                info.size = len(made[1])
                out.addfile(info, io.BytesIO(made[1]))
    return target


CHANGES: dict[str, tuple[Callable[[str, bytes], tuple[str, bytes] | None], str]] = {
    "a changed row": (
        lambda name, data: (name, data.replace(b"ada", b"eve") if "user" in name else data),
        "tables/user.jsonl is missing or damaged",
    ),
    "a changed upload": (
        lambda name, data: (name, data + b"x" if name.startswith("uploads/") else data),
        "is missing or damaged",
    ),
    "a missing table": (
        lambda name, data: None if name == "tables/result.jsonl" else (name, data),
        "tables/result.jsonl is missing",
    ),
    "a path out of the folder": (
        lambda name, data: ("../../evil" if name.startswith("uploads/") else name, data),
        "'../../evil'",
    ),
    "no manifest": (
        lambda name, data: None if name == "manifest.json" else (name, data),
        "lacks its manifest",
    ),
    "a newer format": (
        lambda name, data: (
            name,
            json.dumps({**json.loads(data), "format": 99}).encode()
            if name == "manifest.json"
            else data,
        ),
        "newer version",
    ),
    "an unknown revision": (
        lambda name, data: (
            name,
            json.dumps({**json.loads(data), "revision": "9999"}).encode()
            if name == "manifest.json"
            else data,
        ),
        "does not know",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("case", CHANGES)
def test_a_damaged_backup_is_refused(case: str, full: FastAPI, tmp_path: Path) -> None:
    file = tmp_path / "site.tar"
    save(full.state.engine, full.state.settings, file)
    change, words = CHANGES[case]
    engine, settings = empty(tmp_path / "other")
    with pytest.raises(SslBenchError) as caught:
        restore(engine, settings, altered(file, change))
    assert words in str(caught.value)
    assert not (tmp_path.parent / "evil").exists()
    assert restore(engine, settings, file)["rows"] > 0, "the whole one can still be restored"


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    engine, settings = empty(tmp_path / "other")
    (tmp_path / "text").write_text("hello" * 1000)
    with pytest.raises(SslBenchError, match="not a whole backup"):
        restore(engine, settings, tmp_path / "text")
    with pytest.raises(SslBenchError, match="no such backup"):
        restore(engine, settings, tmp_path / "none.tar")


def test_a_damaged_store_is_told_and_no_half_backup_stays(full: FastAPI, tmp_path: Path) -> None:
    (path,) = (p for p in (full.state.settings.home / "uploads").rglob("*") if p.is_file())
    path.write_bytes(b"rotten")
    target = tmp_path / "out" / "site.tar"
    target.parent.mkdir()
    with pytest.raises(SslBenchError, match="is damaged"):
        save(full.state.engine, full.state.settings, target)
    assert list(target.parent.iterdir()) == []
    assert save(full.state.engine, full.state.settings, target, uploads=False)["uploads"] == 0
