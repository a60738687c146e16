"""The embedded recordings and their table."""

import csv
import importlib.util
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from benchmark.catalog import task_card
from benchmark.errors import DatasetError
from tasks.audio import recordings as module
from tasks.audio.recordings import DATA, FILES, RATE, by_percussion, recordings


def builder():
    spec = importlib.util.spec_from_file_location("build_oneshots", DATA / "build_oneshots.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def table():
    with FILES[1].open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_all_recordings_are_there_and_small():
    names = [recording.name for recording in recordings()]
    assert len(names) == len(set(names)) == 206
    assert sum(path.stat().st_size for path in FILES) <= 3_000_000
    assert all(0 < len(r.wave) <= 2 * RATE for r in recordings())
    assert all(0.85 < np.abs(r.wave).max() <= 0.92 for r in recordings())


def test_every_recording_has_a_source():
    assert all(row["source"].startswith(("http", "Donated by")) for row in table())


def test_table_follows_the_rules_of_the_builder():
    build = builder()
    rows = table()
    for row in rows:
        assert row["family"] == build.first_match(row["name"], build.FAMILIES)
        assert row["percussion"] == build.first_match(row["name"], build.PERCUSSION)
        assert row["sound"] == build.sound(row["name"])
    assert {row["name"]: row["split"] for row in rows} == build.splits(rows)


@pytest.mark.parametrize(
    ("task", "column"), [("oneshot-family", "family"), ("percussion-onsets", "percussion")]
)
def test_classes_agree_with_the_card_and_every_split_has_several(task, column):
    classes = task_card(task).target.classes
    counts = defaultdict(int)
    for recording in recordings():
        if value := getattr(recording, column):
            counts[value, recording.split] += 1
    assert {value for value, _ in counts} == set(classes)
    for name in classes:
        assert counts[name, "train"] >= 5
        assert counts[name, "validation"] >= 2
        assert counts[name, "test"] >= 3


def test_takes_of_one_sound_share_a_split():
    splits = defaultdict(set)
    for row in table():
        splits[row["sound"]].add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    by_name = {row["name"]: row["split"] for row in table()}
    assert by_name["drum_snare_hard"] == by_name["drum_snare_soft"]
    assert by_name["tabla_tun2"] == by_name["tabla_tun3"]
    assert by_name["loop_amen"] == by_name["loop_amen_full"]


@pytest.mark.long
def test_no_two_recordings_of_different_splits_are_the_same_sound():
    chosen = [r for r in recordings() if r.family]
    spectra = np.stack([np.fft.rfft(r.wave / np.linalg.norm(r.wave), 4 * RATE) for r in chosen])
    spectra = spectra.astype(np.complex64)
    split = np.array([r.split for r in chosen])
    test = np.flatnonzero(split == "test")
    for i in np.flatnonzero(split != "test")[::3]:  # a third of them, to be quick
        correlation = np.abs(np.fft.irfft(spectra[i] * spectra[test].conj(), axis=1)).max(1)
        assert correlation.max() < 0.85, (chosen[i].name, chosen[test[correlation.argmax()]].name)


def test_onsets_begin_the_sound():
    for recording in recordings():
        if not recording.percussion:
            continue
        power = np.convolve(recording.wave**2, np.ones(32) / 32)
        assert power[: recording.onset].max(initial=0) < 0.011 * power.max()
        assert power[recording.onset : recording.onset + 480].max() > 0.03 * power.max()
        assert recording.onset <= round(0.011 * RATE)


def test_onset_of_a_known_signal():
    wave = np.zeros(RATE)
    wave[4000:] = np.sin(np.arange(RATE - 4000))
    assert abs(builder().onset(wave) - 4000) <= 16
    samples, begins = builder().shorten(wave)
    assert samples.dtype == np.int16
    assert abs(begins - 160) <= 16
    assert len(samples) <= RATE - 4000 + 176


def test_by_percussion_keeps_to_the_split():
    classes = task_card("percussion-onsets").target.classes
    for split in ("train", "validation", "test"):
        kit = by_percussion(split, classes)
        assert list(kit) == list(classes)
        assert all(r.split == split for found in kit.values() for r in found)


def test_missing_data_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(module, "FILES", (Path("nowhere.flac"), FILES[1]))
    with pytest.raises(DatasetError, match=r"nowhere\.flac is missing: reinstall"):
        module.data_files()
