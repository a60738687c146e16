"""Build `oneshots.flac` and `oneshots.csv` from the npm package `supersonic-scsynth-samples`.

The package (version 0.84.2, CC0-1.0) holds the 206 recordings that come with Sonic Pi; one of them
also stands there a second time as AIFF, which is left out. Get it and run:

    npm pack supersonic-scsynth-samples@0.84.2
    tar xzf supersonic-scsynth-samples-0.84.2.tgz
    python tasks/audio/data/build_oneshots.py package

Every recording is mixed to mono, resampled to 16 kHz, cut to the two seconds that follow its onset
(10 ms before it are kept), scaled to a peak of 0.9 and rounded to 12 bits (its quantisation noise
lies 76 dB below the peak, under the noise that the tasks add; FLAC packs the four empty bits away).
All of them stand one after the other in one lossless file, so that they decode to the same samples
on every machine; the table says where each begins.
"""

from __future__ import annotations

import csv
import hashlib
import re
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

RATE = 16_000
SECONDS = 2.0
LEAD = 0.010  # kept before the onset, seconds
FADE = 0.005  # at the cut, seconds
PEAK = 0.9
BITS = 12
QUOTAS = {"train": 0.5, "validation": 0.2, "test": 0.3}

# (regular expression on the recording's name, family); the first match counts
FAMILIES = (
    (r"bd_|drum_bass_|drum_heavy_kick|elec_(soft|hollow)_kick", "kick"),
    (r"sn_|drum_snare_|elec_(\w+_)?snare", "snare"),
    (r"hat_|ride_|drum_cymbal_|drum_splash_|elec_cymbal|tbd_perc_hat", "cymbal"),
    (r"tabla_", "tabla"),
    (r"ambi_|tbd_pad_", "ambient"),
    (r"bass_|glitch_bass_", "bass"),
    (r"loop_|arovane_beat_|tbd_fxbed_loop", "loop"),
    (r"glitch_|mehackit_", "glitch"),
    (r"elec_fuzz_tom", ""),
    (r"elec_|tbd_perc_blip", "electronic"),
)
PERCUSSION = (
    (r"bd_|drum_bass_|drum_heavy_kick|elec_(soft|hollow)_kick", "kick"),
    (r"sn_|drum_snare_|elec_(\w+_)?snare", "snare"),
    (r"hat_|ride_|drum_cymbal_|drum_splash_|elec_cymbal|tbd_perc_hat", "cymbal"),
    (r"drum_tom_|elec_fuzz_tom|tabla_(ghe|na|tun|dhec)", "tuned-drum"),
)
# recordings of one sound (takes, strokes, dynamics, an excerpt of the other) share a split
SOUNDS = (
    (r"(drum_\w+)_(hard|soft)", r"\1"),
    (r"tabla_([a-z]+?)(\d+|_[a-z]+)?", r"tabla_\1"),
    (r"(arovane_beat)_[a-e]", r"\1"),
    (r"(loop_amen)_full", r"\1"),
    (r"(elec_blip|perc_bell|perc_impact)\d", r"\1"),
)


def first_match(name: str, table: tuple[tuple[str, str], ...]) -> str:
    """The value of the first pattern that `name` begins with, or ''."""
    return next((value for pattern, value in table if re.match(pattern, name)), "")


def sound(name: str) -> str:
    """What the recording is a take of."""
    for pattern, whole in SOUNDS:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(whole)
    return name


def onset(wave: NDArray[np.float64]) -> int:
    """First sample where the 2 ms RMS comes within 20 dB of its maximum over the first 2 s."""
    half = RATE // 1000
    power = np.convolve(wave[: int(SECONDS * RATE)] ** 2, np.ones(2 * half) / (2 * half), "full")
    return int(np.argmax(power >= 0.01 * power.max()))


def shorten(wave: NDArray[np.float64]) -> tuple[NDArray[np.int16], int]:
    """Cut, scale and round one recording at RATE; int16 samples and the onset's index in them."""
    start = max(onset(wave) - round(LEAD * RATE), 0)
    piece = wave[start : start + round(SECONDS * RATE)].copy()
    if start + len(piece) < len(wave):
        fade = round(FADE * RATE)
        piece[-fade:] *= np.linspace(1, 0, fade)
    steps = 2 ** (BITS - 1)
    rounded = np.round(piece * PEAK / np.abs(piece).max() * steps).astype(np.int16)
    last = int(np.flatnonzero(rounded)[-1]) + 1  # silence at the end is dropped
    return rounded[:last] * np.int16(32768 // steps), onset(wave) - start


def splits(rows: list[dict[str, str]]) -> dict[str, str]:
    """Recording -> split: sounds, largest first, go to the split that lacks most of its quota.

    Done within every (family, percussion class); equally large sounds in the order of the SHA-256
    of their names.
    """
    strata: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        strata[row["family"], row["percussion"]][row["sound"]].append(row["name"])
    chosen: dict[str, str] = {}
    for sounds in strata.values():
        total = sum(map(len, sounds.values()))
        lacking = {split: quota * total for split, quota in QUOTAS.items()}
        order = sorted(sounds, key=lambda s: (-len(sounds[s]), hashlib.sha256(s.encode()).digest()))
        for name in order:
            split = max(lacking, key=lambda key: lacking[key])
            lacking[split] -= len(sounds[name])
            chosen.update(dict.fromkeys(sounds[name], split))
    return chosen


def sources(provenance: str) -> dict[str, str]:
    """Recording (name without underscores: they vary) -> where PROVENANCE.md says it is from."""
    found = re.findall(r"^\* `:?(\w+)`\s*-\s*(.+?)\s*$", provenance, re.MULTILINE)
    return {name.replace("_", ""): re.split(r" \*\*| under ", text)[0] for name, text in found}


def main(package: Path, target: Path) -> None:
    """Write both files to `target` from the unpacked npm package."""
    origin = sources((package / "PROVENANCE.md").read_text(encoding="utf-8"))
    waves, rows = [], []
    for path in sorted((package / "samples").glob("*.flac")):
        wave, rate = soundfile.read(path, always_2d=True)
        samples, begins = shorten(soxr.resample(wave.mean(1), rate, RATE, "VHQ"))
        waves.append(samples)
        rows.append(
            {
                "name": path.stem,
                "samples": str(len(samples)),
                "onset": str(begins),
                "family": first_match(path.stem, FAMILIES),
                "percussion": first_match(path.stem, PERCUSSION),
                "sound": sound(path.stem),
                "source": origin[path.stem.replace("_", "")],
            }
        )
    split = splits(rows)
    with (target / "oneshots.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, [*rows[0], "split"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "split": split[row["name"]]} for row in rows)
    soundfile.write(target / "oneshots.flac", np.concatenate(waves), RATE, subtype="PCM_16")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent)
