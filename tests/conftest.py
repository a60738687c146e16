"""Every test has its own cache; the mock plug-in is installed as a user's would be: on the path."""

import os
import sys
from pathlib import Path

import pytest

PLUGIN = str(Path(__file__).parent / "plugin")
SHARED = Path(__file__).resolve().parents[2] / "shared"
sys.path.insert(0, PLUGIN)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [PLUGIN, os.environ.get("PYTHONPATH")]))
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the tests use no network
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side, one to a core


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What may take longest comes first, so that no core waits for it in the end."""
    limits = {item: item.get_closest_marker("timeout") for item in items}
    items.sort(key=lambda item: -limits[item].args[0] if limits[item] else 0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, for this process and those it starts."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SSL_BENCH_CACHE", str(folder))
    monkeypatch.delenv("SSL_BENCH_DATA", raising=False)
    return folder


@pytest.fixture(autouse=True)
def decode_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small datasets start no helper processes, however busy the machine is."""
    monkeypatch.setattr("benchmark.decoding.ALONE_SECONDS", 60.0)


@pytest.fixture(scope="session")
def cache_of_shared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests of the real public data, so that each set is prepared once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-data-cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def shared_data(
    own_cache: Path, cache_of_shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The real public data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside the checkout: the real public data is not here")
    monkeypatch.setenv("SSL_BENCH_CACHE", str(cache_of_shared_data))
    return SHARED / "data"
