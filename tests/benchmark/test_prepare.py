"""Preparing a task's data: once, shared between tasks of a source, refused when damaged."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.catalog import load_task, task_card
from benchmark.datacheck import check_task
from benchmark.distribution import Distribution
from benchmark.errors import DatasetError, SslBenchError
from benchmark.prepare import data_identity, fingerprints, prepare, prepared_folder, read_row
from benchmark.splits import read_targets
from benchmark.survey import survey_files
from benchmark.task import Task, TaskCard, read_card


class Faulty(Task):
    """Two examples a split, with the fault that a test puts in."""

    source = "faulty"
    changes: dict[str, Any] = {}

    def examples(self, split: str) -> Iterator[dict[str, Any]]:
        for index in range(2):
            wave = np.random.default_rng([len(split), index]).standard_normal(10).astype(np.float32)
            example = {
                "id": f"{split}{index}",
                "group": f"{split}{index}",
                "input": {"waveform": wave, "sample_rate": 10},
                "pitch_class": index,
            }
            yield {**example, **self.changes.get(f"{split}{index}", {})}


def faulty(**changes: dict[str, Any]) -> Faulty:
    task = Faulty(task_card("mock-pitch"))
    task.changes = changes
    return task


def test_a_dataset_has_the_four_columns_and_keeps_every_value() -> None:
    loaded = load_task("mock-onsets").load()
    assert set(loaded) == {"train", "validation", "test"}
    assert set(loaded["train"].column_names) == {"input", "target", "group", "id"}
    row = read_row(loaded["test"], 7)
    assert row["id"] == "test-7"
    assert row["input"]["waveform"].dtype == np.float32
    assert row["input"]["sample_rate"] == 4000
    assert row["target"].shape == (1, 3)
    assert set(load_task("mock-slides").load()["train"].column_names) >= {"bag"}


def test_tasks_of_one_source_share_one_copy_and_differ_in_their_rows() -> None:
    pitch, hertz = load_task("mock-pitch"), load_task("mock-hertz")
    assert prepare(pitch) == prepare(hertz)
    assert fingerprints(pitch) == fingerprints(hertz)
    assert data_identity(pitch) != data_identity(hertz)
    assert len(hertz.load()["train"]) == 48  # every fifth clip has no pitch
    assert len(pitch.load()["train"]) == 60


def test_a_killed_preparation_leaves_nothing_that_looks_whole(own_cache: Path) -> None:
    class Stopped(Faulty):
        def examples(self, split: str) -> Iterator[dict[str, Any]]:
            yield from super().examples(split)
            raise KeyboardInterrupt

    task = Stopped(task_card("mock-pitch"))
    with pytest.raises(KeyboardInterrupt):
        prepare(task)
    assert not prepared_folder(task).exists()
    assert list((own_cache / "datasets").iterdir()) == []


@pytest.mark.parametrize("damage", ["arrow bit", "arrow cut", "record cut", "record gone"])
def test_a_damaged_copy_is_announced_and_prepared_again(
    damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    task = load_task("mock-pitch")
    before = fingerprints(task)
    path = prepare(task) / ("test.arrow" if "arrow" in damage else "prepared.json")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content if "bit" in damage else content[:100])
    if "gone" in damage:
        path.unlink()
    with caplog.at_level("WARNING", "ssl_bench"):
        _, _, targets = read_targets(task, "test")
    assert "is damaged; it is prepared again" in caplog.text
    assert targets.tolist() == [index % 3 for index in range(45)]
    assert fingerprints(task) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test1": {"id": "test0"}}, "the id 'test0' stands twice"),
        (
            {"train1": {"input": {"waveform": np.array([np.nan], np.float32), "sample_rate": 1}}},
            "waveform of 'train1' holds NaN",
        ),
        (
            {"train1": {"input": {"image": np.zeros((8, 8, 3), np.float32)}}},
            r"'train1': image is float32 of shape \(8, 8, 3\), not uint8",
        ),
        (
            {"train1": {"input": {"video": np.zeros((4, 8, 8, 2), np.uint8)}}},
            r"'train1': video is uint8 of shape \(4, 8, 8, 2\), not uint8 of shape \(frames",
        ),
        ({"test1": {"pitch_class": 9}}, "label 9 of 'test1' is not one of the card's 3 classes"),
    ],
)
def test_damaged_examples_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_targets(faulty(**changes), "test")


def test_the_card_naming_a_missing_column_is_refused() -> None:
    card = task_card("mock-pitch")
    target = card.target.model_copy(update={"column": "colour"})
    with pytest.raises(DatasetError, match="'colour' is not among the labels"):
        read_targets(Faulty(card.model_copy(update={"target": target})), "test")


def test_the_check_names_leaks_copies_and_absent_classes() -> None:
    same = {"input": {"waveform": np.ones(5, np.float32), "sample_rate": 10}}
    task = faulty(train0=same, test0=same, test1={"group": "train1"})
    findings = {finding.check: finding for finding in check_task(task)}
    assert "train1 (train and test)" in findings["groups"].detail
    assert "train0 = test0 (train and test)" in findings["duplicates"].detail
    assert "high in train" in findings["labels"].detail
    assert findings["labels"].note
    assert findings["files"].passed


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("metric: accuracy", "metrik: accuracy", "metri"),
        ("modality: audio", "modality: smell", "modality"),
        ("chance: 0.333", "", "chance: Field required"),
        ("classes: [low, middle, high]", "classes: [low]", "needs its classes"),
        ("---\ntitle", "title", "a card begins with YAML"),
        ("title: Mock", "title: [Mock", "while parsing"),
    ],
)
def test_a_faulty_card_names_file_and_field(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    text = (Path(__file__).parents[1] / "plugin/cards/mock-pitch.md").read_text()
    path = tmp_path / "some-task.md"
    path.write_text(text.replace(old, new))
    with pytest.raises(SslBenchError, match=message) as caught:
        read_card(path)
    assert "some-task.md" in str(caught.value)


def test_a_task_on_disk_says_what_is_missing_and_where(tmp_path: Path) -> None:
    class OnDisk(Task):
        distribution = Distribution(folders=("pitches",), layout=("audio",))

    task = OnDisk(task_card("mock-pitch"))
    with pytest.raises(DatasetError, match="pass --data-dir or set SSL_BENCH_DATA"):
        task.path("audio")
    task.root = tmp_path
    with pytest.raises(DatasetError, match=f"no folder pitches with audio in {tmp_path}"):
        task.path("audio")
    (tmp_path / "pitches" / "audio").mkdir(parents=True)
    with pytest.raises(DatasetError, match=f"{tmp_path}/pitches/audio/a.wav is missing"):
        task.path("audio", "a.wav")


def test_every_card_of_the_project_is_valid_and_names_an_importable_task() -> None:
    from benchmark.catalog import import_target, task_cards

    for card in task_cards():
        assert isinstance(card, TaskCard)
        assert issubclass(import_target(card.implementation), Task)


def test_the_check_compares_files_with_their_checksums(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "data" / "a.bin"
    path.parent.mkdir()
    path.write_bytes(b"abc")
    (tmp_path / "SHA256SUMS.txt").write_text(f"{hashlib.sha256(b'abc').hexdigest()}  data/a.bin\n")
    task = faulty()
    task.files = lambda: [path]  # type: ignore[method-assign]
    findings = {finding.check: finding for finding in check_task(task)}
    assert findings["checksums"].passed
    path.write_bytes(b"abd")
    findings = {finding.check: finding for finding in check_task(task)}
    assert not findings["checksums"].passed
    assert str(path) in findings["checksums"].detail


def test_every_damaged_input_is_in_the_survey_of_the_files() -> None:
    nan = {"input": {"waveform": np.array([np.nan], np.float32), "sample_rate": 1}}
    grey = {"input": {"image": np.zeros((8, 8), np.uint8)}}
    errors = survey_files(faulty(train1=nan, test1=grey)).errors
    assert len(errors) == 2
    assert "waveform of 'train1' holds NaN" in errors[0]
    assert "'test1': image is uint8 of shape (8, 8), not uint8 of shape (height" in errors[1]
