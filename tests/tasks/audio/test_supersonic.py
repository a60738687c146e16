"""The two audio tasks as users load them, with fewer renderings and sequences."""

import numpy as np
import pytest

from benchmark.catalog import load_task
from benchmark.prepare import read_row
from tasks.audio import composing
from tasks.audio.recordings import RATE, recordings
from tasks.audio.supersonic import OneShotFamily, PercussionOnsets

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def oneshots(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(OneShotFamily, "renderings", 2)
        yield load_task("oneshot-family").load()


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(PercussionOnsets, "sequences", {"train": 6, "validation": 3, "test": 4})
        yield load_task("percussion-onsets").load()


def rows(dataset):
    return [read_row(dataset, i) for i in range(len(dataset))]


@pytest.mark.long
def test_oneshot_labels_are_the_families_of_the_recordings(oneshots):
    classes = load_task("oneshot-family").card.target.classes
    known = {r.name: r for r in recordings()}
    for split in SPLITS:
        found = rows(oneshots[split])
        for row in found:
            assert classes[row["target"]] == known[row["group"]].family
            assert known[row["group"]].split == split
            assert row["input"]["sample_rate"] == RATE
            assert row["input"]["waveform"].dtype == np.int16
        assert {row["target"] for row in found} == set(range(len(classes)))
        assert len(found) == 2 * len({row["group"] for row in found})


@pytest.mark.parametrize("name", ["oneshots", "sequences"])
def test_no_group_and_no_input_in_two_splits(name, request):
    splits = request.getfixturevalue(name)
    groups, inputs = {}, {}
    for split in SPLITS:
        for row in rows(splits[split]):
            assert groups.setdefault(row["group"], split) == split
            content = row["input"]["waveform"].tobytes()
            assert content not in inputs
            inputs[content] = split


def test_renderings_of_one_recording_differ(oneshots):
    first, second = rows(oneshots["test"])[:2]
    assert first["group"] == second["group"]
    assert len(first["input"]["waveform"]) != len(second["input"]["waveform"])


def test_sequences_have_every_class_at_valid_times(sequences):
    for split in SPLITS:
        events = [row["target"] for row in rows(sequences[split])]
        assert set(np.concatenate(events)[:, 2]) == {0, 1, 2, 3}
        for found in events:
            assert (found[:, 0] >= 0).all()
            assert (found[:, 1] <= composing.SECONDS + 1e-9).all()


def test_sequences_of_a_split_use_only_its_recordings(monkeypatch):
    seen = {}
    original = composing.compose

    def spy(kit, beds, rng):
        made = original(kit, beds, rng)
        names = set(made[2]) | {bed.name for bed in beds}
        seen.setdefault(split, set()).update(names)
        return made

    monkeypatch.setattr(composing, "compose", spy)
    monkeypatch.setattr(PercussionOnsets, "sequences", dict.fromkeys(SPLITS, 4))
    task = load_task("percussion-onsets")
    for split in SPLITS:
        list(task.examples(split))
    known = {r.name: r.split for r in recordings()}
    for split in SPLITS:
        assert len(seen[split]) > 5
        assert {known[name] for name in seen[split]} == {split}


def test_examples_are_the_same_every_time():
    task = load_task("oneshot-family")
    first, again = (next(iter(task.examples("test"))) for _ in range(2))
    assert first["id"] == again["id"]
    np.testing.assert_array_equal(first["input"]["waveform"], again["input"]["waveform"])
