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


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, for this process and those it starts."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SSL_BENCH_CACHE", str(folder))
    monkeypatch.delenv("SSL_BENCH_DATA", raising=False)
    return folder


@pytest.fixture
def shared_data() -> Path:
    """The real public data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside the checkout: the real public data is not here")
    return SHARED / "data"
