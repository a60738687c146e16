"""Composed percussion sequences: exact times, labels and no recording in two splits."""

import numpy as np
import pytest

from benchmark.catalog import task_card
from tasks.audio import composing
from tasks.audio.composing import EVENT, GAP, SECONDS, bed, compose, grid
from tasks.audio.recordings import RATE, Recording

CLASSES = task_card("percussion-onsets").target.classes


def click(name: str, percussion: str, onset: int = 0) -> Recording:
    wave = np.zeros(onset + 200, np.float32)
    wave[onset] = 0.9
    return Recording(name, wave, onset, "", percussion, "train")


def hum() -> Recording:
    wave = (0.9 * np.sin(np.arange(RATE) * 2 * np.pi * 60 / RATE)).astype(np.float32)
    return Recording("hum", wave, 0, "bass", "", "train")


def test_the_patterns_know_exactly_the_classes_of_the_card():
    assert set(composing.STRONG) == set(composing.WEAK) == set(CLASSES)


def test_grid_keeps_apart_and_inside():
    for seed in range(30):
        times = grid(np.random.default_rng(seed), "cymbal", 120.0)
        assert (times >= 0).all()
        assert (times < SECONDS - EVENT).all()
        assert (np.diff(times) >= GAP).all()


@pytest.mark.parametrize("seed", range(3))
def test_every_event_is_where_its_sound_begins(seed):
    kit = {"kick": [click("a", "kick"), click("b", "kick", 150)], "cymbal": [click("c", "cymbal")]}
    wave, events, used = compose(kit, [hum()], np.random.default_rng(seed))
    assert wave.dtype == np.int16
    assert wave.shape == (SECONDS * RATE,)
    assert set(used) <= {"a", "b", "c"}
    assert len(events) > 5
    assert (np.diff(events[:, 0]) >= 0).all()
    np.testing.assert_allclose(events[:, 1] - events[:, 0], EVENT)
    assert set(events[:, 2]) <= {0.0, 1.0}
    # a click stands out of noise and room at its own sample and not shortly before
    edges = np.abs(np.diff(wave.astype(float), prepend=0))
    for onset in np.round(events[:, 0] * RATE).astype(int):
        others = np.abs(events[:, 0] * RATE - onset)
        if others[others > 0].min(initial=RATE) < 400:
            continue
        before = edges[max(onset - 200, 0) : max(onset - 12, 1)].max()
        assert edges[max(onset - 2, 0) : onset + 3].max() > 1.5 * before


def test_no_onset_means_no_event():
    kit = {"kick": [click("a", "kick")]}
    counts = [len(compose(kit, [hum()], np.random.default_rng(s))[1]) for s in range(5)]
    assert min(counts) > 0
    assert len(set(counts)) > 1


def test_bed_fills_the_sequence_with_finite_sound():
    track = bed([hum()], np.random.default_rng(0))
    assert track.shape == (SECONDS * RATE,)
    assert np.isfinite(track).all()
    assert track.any()


def test_compose_depends_on_its_generator_only():
    kit = {"kick": [click("a", "kick")]}
    first, again = (compose(kit, [hum()], np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
