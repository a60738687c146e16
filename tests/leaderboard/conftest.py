"""A site on a fresh SQLite database, and results for it."""

import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
import uvicorn
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, sync_playwright

from benchmark.catalog import task_card
from benchmark.results import Result, pack
from leaderboard.accounts import passwords
from leaderboard.app import create_app
from leaderboard.db import ResultState
from leaderboard.db.engine import make_engine, writing_sessions
from leaderboard.db.migrate import migrate
from leaderboard.results.plausible import protocol_version
from leaderboard.results.publish import publish
from leaderboard.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same algorithm at the least cost."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(1, 8, 1))
    passwords._nobody.cache_clear()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of the newest schema, to be copied."""
    home = tmp_path_factory.mktemp("migrated")
    engine = make_engine(load_settings(home=home, _env_file=None))
    migrate(engine)
    engine.dispose()
    return home / "site.db"


structlog.configure(processors=[structlog.processors.KeyValueRenderer()])  # no pretty tracebacks


@pytest.fixture
def settings(tmp_path: Path, migrated: Path, request: pytest.FixtureRequest) -> Settings:
    """Of a new site; of a copy of the filled one for tests that use `filled`."""
    home = tmp_path / "site"
    home.mkdir()
    filled = "filled" in request.fixturenames
    start = request.getfixturevalue("filled_home") / "site.db" if filled else migrated
    shutil.copy(start, home / "site.db")
    return load_settings(home=home, cache_seconds=0, _env_file=None)


@pytest.fixture
def site(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def client(site: FastAPI) -> Iterator[TestClient]:
    with TestClient(site) as client:
        yield client


@pytest.fixture(scope="session")
def listening() -> Callable[[FastAPI], AbstractContextManager[str]]:
    """`with listening(app) as address`: the application behind a real server, in a thread."""
    return _listening


@contextmanager
def _listening(app: FastAPI) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium without a head."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium: apt-get install chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


TASKS = {
    "audio": "oneshot-family", "pointcloud": "furniture20", "echo": "echo-sim-view",
    "ecg": "ecg-sim-rhythm", "histopathology": "he-sim-tissue", "astronomy": "asteroid-spectrum",
}  # fmt: skip
SCORES = {"alpha": 0.9, "beta": 0.895, "gamma": 0.6}  # the first two cannot be told apart


@pytest.fixture(scope="session")
def filled_home(
    tmp_path_factory: pytest.TempPathFactory, make_result: Callable[..., Result]
) -> Path:
    """The folder of a site with three encoders on a task of each domain, and one with a single
    result, which is self-reported and has a name that tries to be a script. Copy it."""
    home = tmp_path_factory.mktemp("filled")
    engine = make_engine(load_settings(home=home, _env_file=None))
    migrate(engine)
    files = [
        make_result(encoder, task, "linear-probe", score)
        for encoder, score in SCORES.items()
        for task in TASKS.values()
    ]
    files += [
        make_result(encoder, "oneshot-family", protocol, score - 0.1)
        for encoder, score in SCORES.items()
        for protocol in ("knn", "label-efficiency")
    ]
    with writing_sessions(engine).begin() as session:
        publish(session, files, ResultState.VERIFIED)
        odd = make_result("<script>alert(1)</script>", "oneshot-family", "linear-probe", 0.3)
        publish(session, [odd], ResultState.SELF_REPORTED)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return home


@pytest.fixture
def filled(client: TestClient) -> TestClient:
    """A client of a copy of that site."""
    return client


@pytest.fixture(scope="session")
def make_result() -> Callable[..., Result]:
    """`make_result(encoder, task, protocol, score)`: a result that schema and catalogue allow, with
    noise drawn at random."""
    return _generated_result


def _generated_result(
    encoder: str = "mfcc",
    task: str = "oneshot-family",
    protocol: str = "linear-probe",
    score: float = 0.7,
    *,
    spread: float = 0.02,
    seed: int = 0,
    metric: str | None = None,
    **changes: Any,
) -> Result:
    """A result of `encoder`; tests on one task share their noise, as real resamples do."""
    card = task_card(task)
    noise = np.random.default_rng(len(task)).normal(0, spread, 1000)
    own = np.random.default_rng(sum(encoder.encode())).normal(0, spread / 4, 1000)
    drawn = np.clip(score + noise + own, 0, 1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    name = metric or card.metric
    classes = card.target.classes[:10]
    fields: dict[str, Any] = {
        "identity": hashlib.sha256(f"{encoder}{task}{protocol}{score}{seed}".encode()).hexdigest(),
        "encoder": {
            "name": encoder, "title": f"{encoder}, generated for a test", "kind": "control",
            "modality": card.modality, "weights": "random", "parameters": 1_000_000,
            "digest": hashlib.sha256(encoder.encode()).hexdigest(), "dimension": 64,
            "licence": "Apache-2.0",
        },
        "task": {
            "name": task, "title": card.title, "version": card.version, "modality": card.modality,
            "target": card.target.kind, "classes": card.target.classes,
            "simulated": card.simulated, "chance": card.chance, "ceiling": card.ceiling,
            "published": card.published, "examples": card.published,
            "fingerprint": {"train": "a" * 64, "test": "b" * 64},
        },
        "protocol": {"name": protocol, "version": protocol_version(protocol)},
        "metric": name,
        "metrics": {name: {"value": score, "low": float(low), "high": float(high)}},
        "per_class": {label: {"recall": score, "support": 30} for label in classes},
        "curve": [
            {"fraction": f, "value": score * w, "low": score * w - 0.02, "high": score * w + 0.02}
            for f, w in ((0.01, 0.6), (0.1, 0.8), (1.0, 1.0))
        ] if protocol == "label-efficiency" else [],
        "counts": {"train": 100, "test": 300, "test_groups": 50},
        "seed": seed,
        "replicates": pack(drawn),
        "environment": {
            "device": "cpu", "precision": "float32", "threads": 1, "batch_size": 32,
            "python": "3.11", "platform": "linux", "packages": {"torch": "2.14"}, "revision": None,
        },
        "cost": {
            "embed_seconds": 1.5, "samples_per_second": 200.0, "probe_seconds": 0.5,
            "peak_memory_mib": 300.0, "finished": "2026-11-01T12:00:00+00:00",
        },
    }  # fmt: skip
    return Result(**{**fields, **changes})
