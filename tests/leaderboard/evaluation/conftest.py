"""Leaderboards with real workers, for the tests of the evaluation."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from evaluation_lab import Lab, make_lab


@pytest.fixture(scope="session")
def prepared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workers' cache: the mock tasks are prepared once."""
    return tmp_path_factory.mktemp("worker-cache")


@pytest.fixture
def lab(tmp_path: Path, prepared_cache: Path) -> Iterator[Lab]:
    found = make_lab(tmp_path / "site", prepared_cache)
    yield found
    found.stop_all()
    found.engine.dispose()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, prepared_cache: Path) -> Iterator[Lab]:
    """A leaderboard with one worker, for the tests of a module that leave it running."""
    found = make_lab(tmp_path_factory.mktemp("served") / "site", prepared_cache)
    found.start_worker()
    yield found
    found.stop_all()
    found.engine.dispose()


@pytest.fixture(scope="session")
def checkpoint() -> bytes:
    """Weights for the mock architecture `mock-net`."""
    import torch
    from safetensors.torch import save
    from ssl_bench_mock_parts import Net

    torch.manual_seed(7)
    return save(Net().state_dict())
