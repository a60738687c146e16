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
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.files import read_csv
from benchmark.listings import PackagedList
from benchmark.task import Task
from tasks.audio.sound_files import audio

RATE = 16_000
COMMIT = "1658cd342dff90010aa843eaeebd53610a08b1dc"
# The authors' own mirror, which they recommend: GitHub limits what it gives out of Git LFS.
MIRROR = "https://gitlab.com/cs-cooper-lab/crema-d-mirror/-/raw/main/AudioWAV"
RECORDINGS = Path(__file__).parent / "data" / "crema_d.csv.gz"  # by data/build_crema_d.py
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
        downloads=(
            Download(
                f"https://raw.githubusercontent.com/CheyneyComputerScience/CREMA-D/{COMMIT}/"
                "SentenceFilenames.csv",
                sha256="d88cb50e84bbc30b2e159cdfc25e1cf87777ad97c7c41d6ab8f75d3383b8f740",
            ),
        ),
        listings=(PackagedList(RECORDINGS, MIRROR, into="AudioWAV"),),
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
