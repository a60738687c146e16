"""Datasets on disk: found, decoded by several processes, folds, refused, surveyed."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark import decoding
from benchmark.catalog import load_task
from benchmark.commands.fetch import fetch_command
from benchmark.datacheck import check_task, task_state
from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.events import Event, RunOptions
from benchmark.plan import EncoderRef, Unit
from benchmark.prepare import fingerprints, prepare, read_row
from benchmark.results import Result
from benchmark.run import run_unit

SPLITS = ("train", "validation", "test")
PITCHES = ("low", "middle", "high")


def write(
    root: Path, name: str = "mock-disk", splits: tuple[str, ...] = SPLITS, size: int = 30
) -> Path:
    """A mock dataset; every speaker has three recordings, one of each class."""
    folder = root / name
    (folder / "audio").mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (folder / "meta.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "speaker", "pitch", "split"])
        for split in splits:
            for index in range(size):
                tone = np.sin(np.arange(2000) * 0.05 * 4 ** (index % 3))
                wave = (tone + 0.5 * rng.standard_normal(2000)).astype(np.float32)
                np.save(folder / "audio" / f"{split}-{index}.npy", wave)
                speaker = f"{split}-s{index // 3}"
                table.writerow([f"{split}-{index}.npy", speaker, PITCHES[index % 3], split])
    return folder


def edit(folder: Path, old: str, new: str, count: int = 1) -> None:
    path = folder / "meta.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def evaluate(task: str, root: Path, out: Path, protocols: tuple[str, ...]) -> list[Result]:
    told: list[Event] = []
    unit = Unit(EncoderRef("mock-spectrum", "audio"), ((task, protocols),))
    run_unit(unit, RunOptions(out=out, data_dir=root), told.append)
    assert not [event.detail for event in told if event.phase == "failure"]
    return [event.result for event in told if event.result is not None]


@pytest.mark.long
def test_helper_processes_give_the_same_copy_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    write(tmp_path)
    alone = fingerprints(load_task("mock-disk", tmp_path))
    shutil.rmtree(own_cache / "datasets")
    monkeypatch.setattr(decoding, "ALONE_SECONDS", 0.0)
    monkeypatch.setattr(decoding, "MAX_ROWS", 4)
    task = load_task("mock-disk", tmp_path)
    told: list[tuple[str, int]] = []
    prepare(task, lambda *step: told.append(step), workers=2)
    assert fingerprints(task) == alone
    assert told[-1] == ("test", 30)
    loaded = task.load()
    assert loaded["train"]["id"] == [f"train-{index}.npy" for index in range(30)]
    stored = np.load(tmp_path / "mock-disk" / "audio" / "train-29.npy")
    assert (read_row(loaded["train"], 29)["input"]["waveform"] == stored).all()


def test_what_is_prepared_is_not_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    first = read_row(load_task("mock-disk", tmp_path).load()["test"], 5)
    again = load_task("mock-disk", tmp_path)
    for method in ("rows", "read"):
        monkeypatch.setattr(type(again), method, None)
    second = read_row(again.load()["test"], 5)
    assert (second["input"]["waveform"] == first["input"]["waveform"]).all()
    assert not second["input"]["waveform"].flags.owndata  # a view on the mapped file


LONG = """
import numpy as np
from benchmark.task import Task

class Long(Task):
    source, splits = "long", ("train",)

    def rows(self, split):
        for index in range(60):
            yield {"id": index, "group": index, "pitch_class": 0}

    def read(self, row):
        wave = np.random.default_rng(row["id"]).integers(-9, 9, 2_000_000).astype(np.int16)
        return {"input": {"waveform": wave, "sample_rate": 4000}}
"""
PEAK = """
import resource
from benchmark import decoding, prepare
from benchmark.catalog import task_card
from long import Long

def peak(who):
    return resource.getrusage(who).ru_maxrss >> 10

if __name__ == "__main__":
    decoding.ALONE_SECONDS = 0.0
    task = Long(task_card("mock-pitch"))
    prepare.prepared_folder(task)
    before = peak(resource.RUSAGE_SELF)
    folder = prepare.prepare(task, workers=2)
    assert not list(folder.glob("part-*"))
    print(peak(resource.RUSAGE_SELF) - before, peak(resource.RUSAGE_CHILDREN))
"""


@pytest.mark.long
def test_memory_does_not_grow_with_the_dataset(tmp_path: Path) -> None:
    """240 MB in recordings of 4 MB; a process holds a few of them, whatever their number."""
    (tmp_path / "long.py").write_text(LONG)
    (tmp_path / "peak.py").write_text(PEAK)
    told = subprocess.run(
        [sys.executable, str(tmp_path / "peak.py")], capture_output=True, text=True, check=True
    )
    more, helper = map(int, told.stdout.split())  # MiB
    assert more < 100
    assert helper < 250


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("damage", ["cut", "gone", "nan"])
def test_a_damaged_recording_is_named_whichever_process_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path, workers: int, damage: str
) -> None:
    path = write(tmp_path) / "audio" / "validation-17.npy"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "nan":
        np.save(path, np.full(2000, np.nan, np.float32))
    else:
        path.unlink()
    monkeypatch.setattr(decoding, "ALONE_SECONDS", 0.0)
    with pytest.raises(DatasetError, match=r"validation-17\.npy") as caught:
        prepare(load_task("mock-disk", tmp_path), workers=workers)
    assert "again" in str(caught.value) or "repair" in str(caught.value)
    assert list((own_cache / "datasets").iterdir()) == []


@pytest.mark.long
def test_ctrl_c_leaves_no_process_and_no_half_copy(tmp_path: Path, own_cache: Path) -> None:
    write(tmp_path, size=3000)
    code = (
        "from pathlib import Path; from benchmark import decoding, prepare;"
        "from benchmark.catalog import load_task; decoding.ALONE_SECONDS = 0.0;"
        "decoding.MAX_ROWS = 1;"
        f"prepare.prepare(load_task('mock-disk', Path({str(tmp_path)!r})),"
        " lambda split, done: print(done, flush=True), workers=2)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )  # fmt: skip
    assert process.stdout is not None
    while int(process.stdout.readline()) < 50:
        pass
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert list((own_cache / "datasets").iterdir()) == []
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    "name", ["mock-disk", "Mock_Disk", "MOCKDISK"], ids=["plain", "underscore", "capitals"]
)
def test_the_folder_is_found_whatever_its_punctuation(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, name)
    assert load_task("mock-disk", tmp_path).folder == folder
    assert load_task("mock-disk", folder).folder == folder  # the dataset itself


def test_a_layout_may_have_alternatives_and_folders_of_any_depth(tmp_path: Path) -> None:
    published = Distribution(("set",), ("a.csv|b.csv", "**/*.wav"))
    (tmp_path / "set" / "x" / "y").mkdir(parents=True)
    assert published.find(tmp_path) == tmp_path / "set"
    assert published.missing(tmp_path / "set") == ["a.csv|b.csv", "**/*.wav"]
    for name in ("b.csv", "x/y/1.wav", "0.wav"):
        (tmp_path / "set" / name).touch()
    found = [path.name for path in published.files(tmp_path / "set")]
    assert sorted(found) == ["0.wav", "1.wav", "b.csv"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pitch,", "colour,", "has no column 'pitch'"),
        (",low,", ",purple,", "'purple' is not one of the 3 classes"),
        ("test-1.npy", "test-0.npy", "the id 'test-0.npy' stands twice"),
        ("test-s0", "train-s0", "speaker 'train-s0' is in train and in test"),
    ],
)
def test_a_faulty_table_is_one_error(tmp_path: Path, old: str, new: str, message: str) -> None:
    edit(write(tmp_path), old, new)
    with pytest.raises(DatasetError, match=message):
        prepare(load_task("mock-disk", tmp_path))


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    write(tmp_path, splits=("train", "test"))
    with pytest.raises(DatasetError, match="the split 'validation' is empty"):
        prepare(load_task("mock-disk", tmp_path))


def test_the_check_lists_every_problem_at_once(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "audio" / "train-3.npy").unlink()
    (folder / "audio" / "test-4.npy").write_bytes(b"no array")
    np.save(folder / "audio" / "test-5.npy", np.full(9, np.inf, np.float32))
    shutil.copy(folder / "audio" / "train-0.npy", folder / "audio" / "test-0.npy")
    edit(folder, "test-6.npy,test-s2,low", "test-6.npy,test-s2,purple")
    edit(folder, "test-s5", "train-s5")
    edit(folder, "validation-2.npy,", "validation-1.npy,")
    problems = [f.detail for f in check_task(load_task("mock-disk", tmp_path)) if not f.passed]
    for words in (
        "train-3.npy", "test-4.npy", "test-5.npy", "train-0.npy = test-0.npy", "purple",
        "train-s5 (train and test)", "'validation-1.npy' stands twice",
    ):  # fmt: skip
        assert any(words in problem for problem in problems), (words, problems)


def test_the_state_tells_absent_partial_present_and_prepared(tmp_path: Path) -> None:
    def state() -> str:
        return task_state(load_task("mock-disk", tmp_path)).name

    assert state() == "absent"
    folder = write(tmp_path)
    (folder / "meta.csv").rename(tmp_path / "kept")
    assert state() == "partial"
    assert "meta.csv" in task_state(load_task("mock-disk", tmp_path)).detail
    (tmp_path / "kept").rename(folder / "meta.csv")
    assert state() == "present"
    prepare(load_task("mock-disk", tmp_path))
    assert state() == "prepared"
    time.sleep(0.01)
    os.utime(folder / "meta.csv")
    assert state() == "present"  # changed files are prepared anew


def test_fetching_what_has_to_be_applied_for_says_how(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        fetch_command(["mock-disk"], tmp_path, 1)
    assert caught.value.code == 2
    told = " ".join(capsys.readouterr().out.split())
    assert "Ask the mock." in told
    assert "meta.csv" in told
    write(tmp_path)
    fetch_command(["mock-disk"], tmp_path, 1)
    assert "is there" in capsys.readouterr().out


def test_terms_of_use_come_before_the_download_and_instructions_after_a_failed_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = Download("file:///nowhere/mock.zip")
    kind = type(load_task("mock-disk"))
    assert kind.distribution is not None
    gated = replace(kind.distribution, downloads=(refused,), terms="agree to the mock's terms")
    monkeypatch.setattr(kind, "distribution", gated)

    def told(*accept: bool) -> str:
        with pytest.raises(SystemExit) as caught:
            fetch_command(["mock-disk"], tmp_path, 1, *accept)
        assert caught.value.code == 2
        return " ".join(capsys.readouterr().out.split())

    assert "agree to the mock's terms, then run the command again with --accept-terms" in told()
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("benchmark.download.ATTEMPTS", 1)
    assert "mock.zip: no connection" in (text := told(True))
    assert "--accept-terms says that you did this: agree to the mock's terms" in text
    assert "Ask the mock." in text
    assert "still lacks meta.csv" in text


def test_scores_of_official_folds_are_means_over_folds(tmp_path: Path) -> None:
    folds = tuple(f"fold-{number}" for number in (1, 2, 3))
    write(tmp_path, "mock-folds", folds)
    found = evaluate("mock-folds", tmp_path, tmp_path / "run", ("linear-probe", "knn", "retrieval"))
    probe, knn, retrieval = found
    assert probe.counts["folds"] == 3
    assert probe.counts["train"] == 60
    assert probe.counts["test"] == 90
    assert np.sum(probe.confusion or []) == 90
    right = np.trace(np.asarray(probe.confusion)) / 90
    assert probe.metrics["accuracy"].value == pytest.approx(right)
    assert right > 0.9
    assert len(probe.hyperparameters["folds"]) == 3
    for result in (probe, knn, retrieval):
        score = result.metrics[result.metric]
        assert score.low <= score.value <= score.high
