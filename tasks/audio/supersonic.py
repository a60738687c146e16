"""Tasks on the CC0 recordings of npm's `supersonic-scsynth-samples` (the sounds of Sonic Pi)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.inputs import Example
from benchmark.task import SPLITS, Task
from tasks.audio import composing, recordings, rendering
from tasks.audio.recordings import RATE

SEED = 20_240


class OneShotFamily(Task):
    """Several renderings of every recording that belongs to a family; group = recording."""

    source = "supersonic-oneshots"
    renderings = 6

    def files(self) -> list[Path]:
        return [*recordings.data_files(), *map(source_file, (recordings, rendering))]

    def examples(self, split: str) -> Iterator[Mapping[str, Any]]:
        classes = self.card.target.classes
        for recording in recordings.recordings():
            if recording.split != split or not recording.family:
                continue
            for take in range(self.renderings):
                rng = np.random.default_rng([SEED, zlib.crc32(recording.name.encode()), take])
                wave = rendering.one_shot(recording.wave, rng)
                yield {
                    "id": f"{recording.name}-{take}",
                    "group": recording.name,
                    "input": audio(wave),
                    "family": classes.index(recording.family),
                }


class PercussionOnsets(Task):
    """Sequences composed from the percussive recordings of one split; group = sequence."""

    source = "supersonic-sequences"
    sequences: Mapping[str, int] = {"train": 64, "validation": 20, "test": 40}
    beds = ("ambient", "bass", "electronic")  # families of the unlabelled accompaniment

    def files(self) -> list[Path]:
        return [*recordings.data_files(), *map(source_file, (recordings, rendering, composing))]

    def examples(self, split: str) -> Iterator[Mapping[str, Any]]:
        kit = recordings.by_percussion(split, self.card.target.classes)
        beds = [r for r in recordings.recordings() if r.split == split and r.family in self.beds]
        for number in range(self.sequences[split]):
            rng = np.random.default_rng([SEED, SPLITS.index(split), number])
            wave, events, _ = composing.compose(kit, beds, rng)
            name = f"{split}-{number:03d}"
            yield {"id": name, "group": name, "input": audio(wave), "events": events}


def source_file(module: ModuleType) -> Path:
    """The file a module was read from."""
    return Path(str(module.__file__))


def audio(wave: NDArray[np.int16]) -> Example:
    """The `input` of an audio example from (T,) samples at RATE."""
    return {"waveform": wave, "sample_rate": RATE}
