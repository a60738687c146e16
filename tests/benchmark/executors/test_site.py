"""A worker that does not see what the driver sees says what it lacks."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.errors import SslBenchError
from benchmark.events import RunOptions
from benchmark.executors import site
from benchmark.executors.site import this_site
from benchmark.executors.worker import Worker
from benchmark.plan import EncoderRef


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "LATE_SECONDS", 0.0)


def test_what_is_the_same_passes_and_leaves_nothing_behind(own_cache: Path) -> None:
    with this_site([EncoderRef("mock-net", "audio")], RunOptions(None)) as seen:
        seen.verify()
    assert not list(own_cache.glob(".run-*"))


def test_each_difference_has_its_own_words(tmp_path: Path) -> None:
    encoder = tmp_path / "encoder.py"
    encoder.write_text("one")
    options = RunOptions(None, data_dir=tmp_path)
    with this_site([EncoderRef(f"{encoder}:Mine", "audio")], options) as seen:
        seen.verify()
        with pytest.raises(SslBenchError, match="another version of ssl-bench"):
            replace(seen, code="other").verify()
        with pytest.raises(SslBenchError, match="does not see the folder"):
            replace(seen, secret="of another run").verify()
        with pytest.raises(SslBenchError, match="does not see the data folder"):
            replace(seen, data_dir=tmp_path / "elsewhere").verify()
        encoder.write_text("two")
        with pytest.raises(SslBenchError, match=r"sees another file as .*encoder\.py"):
            seen.verify()
        encoder.unlink()
        with pytest.raises(SslBenchError, match=r"sees no file .*encoder\.py"):
            seen.verify()


def test_which_folders_have_to_be_shared(tmp_path: Path, own_cache: Path) -> None:
    def shared(store: str | None) -> set[Path]:
        with this_site([], RunOptions(None, store=store)) as seen:
            return {token.parent for token in seen.tokens}

    assert shared(None) == {own_cache}
    assert shared(str(tmp_path / "store")) == {own_cache, tmp_path / "store"}
    assert shared("s3://bucket/embeddings") == set()


def test_a_worker_goes_to_the_drivers_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "encoder.py").write_text("one")
    monkeypatch.chdir(tmp_path)
    with this_site([EncoderRef("encoder.py", "audio")], RunOptions(None)) as seen:
        os.chdir("/")
        Worker(RunOptions(None), seen).hello()
        assert Path.cwd() == tmp_path
