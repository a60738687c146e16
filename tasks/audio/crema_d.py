"""CREMA-D: acted emotions in speech, split by actor.

Cao et al. 2014, "CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset", IEEE Transactions on
Affective Computing 5(4). Layout of https://github.com/CheyneyComputerScience/CREMA-D:
`AudioWAV/<actor>_<sentence>_<emotion>_<level>.wav`, mono, 16 kHz, and `SentenceFilenames.csv`
(columns Stimulus_Number, Filename), the list of the clips.

There is no official split. This one is that of TensorFlow Datasets' `crema_d` 1.0.0: the 91 actors
in ascending order, shuffled by NumPy's legacy generator with seed 0, 70 / 10 / 20 per cent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchmark.distribution import Distribution
from benchmark.errors import DatasetError
from benchmark.files import read_csv
from benchmark.task import Task
from tasks.audio.sound_files import audio

RATE = 16_000
ACTORS = [str(number) for number in range(1001, 1092)]
EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
# Listed, but not in the repository (TensorFlow Datasets leaves them out for that).
UNPUBLISHED = {"1006_TIE_NEU_XX", "1013_WSI_DIS_XX", "1017_IWW_FEA_XX", "1040_ITH_SAD_XX"}


def actor_splits() -> dict[str, str]:
    """Actor -> split: 63 / 9 / 19 actors."""
    order = list(ACTORS)
    np.random.RandomState(0).shuffle(order)
    names = ["train"] * 63 + ["validation"] * 9 + ["test"] * 19
    return dict(zip(order, names, strict=True))


class CremaD(Task):
    """`emotion` that the actor was asked to show."""

    source = "crema-d"
    distribution = Distribution(
        folders=("crema-d", "CREMA-D", "CREMA-D-master"),
        layout=("AudioWAV/*_*_*_*.wav",),
        apply=(
            "the recordings are kept in Git LFS: `git lfs clone https://github.com/"
            "CheyneyComputerScience/CREMA-D.git crema-d` in the data directory"
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        splits = actor_splits()
        for name in self._names():
            with self.collecting():
                path = self.folder / "AudioWAV" / f"{name}.wav"
                actor, _, code, *_ = [*name.split("_"), "", ""]
                if actor not in splits:
                    raise DatasetError(
                        f"{path}: {actor!r} is not one of the actors 1001 to 1091: "
                        "remove the file or get it again, unchanged"
                    )
                if splits[actor] == split:
                    emotion = self.label("emotion", EMOTIONS.get(code, code), path)
                    yield {"id": name, "group": actor, "emotion": emotion, "_file": path}

    def _names(self) -> list[str]:
        index = self.folder / "SentenceFilenames.csv"
        there = sorted(path.stem for path in (self.folder / "AudioWAV").glob("*_*_*_*.wav"))
        if not index.is_file():
            return there
        absent = UNPUBLISHED.difference(there)
        listed = [row["Filename"] for row in read_csv(index, ["Filename"])]
        return [name for name in listed if name not in absent]

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": audio(row["_file"], RATE)}
