"""Percussion sequences composed from single recordings, with the exact time of every onset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.audio.recordings import RATE, Recording
from tasks.audio.rendering import coloured_noise, quantise, repitch, reverberate, room

SECONDS = 5.0
EVENT = 0.08  # labelled span of an event from its onset, seconds
GAP = 0.15  # least time between two onsets of one class, seconds
JITTER = 0.02  # how far a player may be off the grid, seconds

# share of the sixteenth notes of a bar that a class strikes, weak and strong positions
STRONG = {"kick": 0.45, "snare": 0.25, "cymbal": 0.6, "tuned-drum": 0.3}
WEAK = {"kick": 0.08, "snare": 0.08, "cymbal": 0.25, "tuned-drum": 0.15}


def grid(rng: np.random.Generator, name: str, tempo: float) -> NDArray[np.float64]:
    """Onset times (n,) of one class: a random one-bar pattern, repeated with small changes."""
    step = 60 / tempo / 4
    steps = int(SECONDS / step)
    position = np.arange(16)
    chance = np.where(position % 4 == (0 if name != "snare" else 2), STRONG[name], WEAK[name])
    bar = rng.random(16) < chance
    played = np.resize(bar, steps) ^ (rng.random(steps) < 0.06)
    times = np.flatnonzero(played) * step + rng.uniform(-JITTER, JITTER, played.sum())
    times = times + rng.uniform(JITTER, step + JITTER)
    kept: list[float] = []
    for time in times:
        if time < SECONDS - EVENT and (not kept or time - kept[-1] >= GAP):
            kept.append(float(time))
    return np.array(kept)


def voices(choices: Sequence[Recording], rng: np.random.Generator) -> list[Recording]:
    """One or two recordings of a class, played by turns at random within a sequence."""
    picked = rng.choice(
        len(choices), size=min(len(choices), int(rng.integers(1, 3))), replace=False
    )
    return [choices[int(i)] for i in picked]


def bed(beds: Sequence[Recording], rng: np.random.Generator) -> NDArray[np.float32]:
    """Unlabelled accompaniment (T,): three to eight sustained sounds at random times."""
    track = np.zeros(round(SECONDS * RATE), np.float32)
    for _ in range(int(rng.integers(3, 9))):
        sound = repitch(beds[int(rng.integers(len(beds)))].wave, rng.uniform(-5, 5))
        start = int(rng.uniform(-0.5, SECONDS - 0.3) * RATE)
        sound = sound[max(-start, 0) :]
        start = max(start, 0)
        sound = sound[: len(track) - start]
        track[start : start + len(sound)] += sound * 10 ** (rng.uniform(-9, 0) / 20)
    return track


def compose(
    kit: Mapping[str, Sequence[Recording]],
    beds: Sequence[Recording],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int16], NDArray[np.float64], list[str]]:
    """One sequence of SECONDS: waveform (T,), events (n, 3) and the recordings used.

    Tempo 80 to 150 per minute on a grid of sixteenths, players up to 20 ms off it; pitch within 3
    semitones per voice; every stroke 14 to 0 dB under full strength; then accompaniment at 6 to 20
    dB and noise at 15 to 35 dB under the percussion's RMS, and one room for everything. An event is
    (onset s, offset s, index of its class in `kit`); it spans EVENT from the recording's onset.
    """
    drums = np.zeros(round((SECONDS + 3) * RATE), np.float32)
    tempo = rng.uniform(80, 150)
    events: list[tuple[float, float, float]] = []
    used: set[str] = set()
    for index, (name, choices) in enumerate(kit.items()):
        played = voices(choices, rng)
        pitch = rng.uniform(-3, 3, len(played))
        sounds = [repitch(r.wave, p) for r, p in zip(played, pitch, strict=True)]
        begins = [round(r.onset / 2 ** (p / 12)) for r, p in zip(played, pitch, strict=True)]
        balance = rng.uniform(-6, 0)
        for time in grid(rng, name, tempo):
            voice = int(rng.integers(len(played)))
            onset = round(time * RATE)
            start = onset - begins[voice]
            sound = sounds[voice][max(-start, 0) :] * 10 ** ((balance + rng.uniform(-8, 0)) / 20)
            drums[max(start, 0) : max(start, 0) + len(sound)] += sound
            events.append((onset / RATE, onset / RATE + EVENT, index))
            used.add(played[voice].name)
    dry = drums[: round(SECONDS * RATE)]
    level = float(np.sqrt((dry**2).mean()))
    accompaniment = bed(beds, rng)
    loudness = float(np.sqrt((accompaniment**2).mean()))
    mix = dry + accompaniment * level / loudness * 10 ** (-rng.uniform(6, 20) / 20)
    response = room(rng.uniform(0.15, 0.6), rng.uniform(5, 20), rng)
    wet = reverberate(mix, response, len(mix))
    noise = coloured_noise(len(wet), rng.uniform(0, 2), rng)
    wet = wet + noise * level * 10 ** (-rng.uniform(15, 35) / 20)
    order = sorted(events)
    return quantise(wet, rng.uniform(-12, -1)), np.array(order).reshape(-1, 3), sorted(used)
