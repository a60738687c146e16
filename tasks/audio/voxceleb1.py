"""VoxCeleb1: who speaks, and are two recordings of one speaker.

Nagrani, Chung & Zisserman 2017, Interspeech, https://www.robots.ox.ac.uk/~vgg/data/voxceleb/.
Recordings `<speaker>/<video>/<n>.wav` (mono, 16 kHz) of the archives vox1_dev_wav (1,211 speakers)
and vox1_test_wav (40), both of which unpack to `wav/`: into one folder `wav`, or `dev/wav` and
`test/wav`. `iden_split.txt` has a line `<1, 2 or 3> <recording>` for train, validation and test of
identification; the trial lists have a line `<1 same or 0> <recording> <recording>`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.distribution import Distribution
from benchmark.errors import DatasetError
from benchmark.files import reading
from benchmark.task import SPLITS, Task
from tasks.audio.sound_files import audio

RATE = 16_000
ROOTS = ("wav", "dev/wav", "test/wav", "vox1_dev_wav/wav", "vox1_test_wav/wav", "dev", "test")
RECORDINGS = "|".join(f"{root}/id*/*/*.wav" for root in ROOTS)
TRIALS = ("veri_test2.txt", "veri_test.txt", "voxceleb1_test_v2.txt")
FOLDERS = ("voxceleb1", "VoxCeleb1", "vox1")
APPLY = (
    "ask for access at https://mm.kaist.ac.kr/datasets/voxceleb/ (the former page, "
    "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/, asks for a password by now), then put "
    "vox1_dev_wav (its parts joined) and vox1_test_wav, unpacked, into voxceleb1/wav, or into "
    "voxceleb1/dev/wav and voxceleb1/test/wav, and {} of that page beside them"
)


def fields(path: Path, columns: int) -> list[list[str]]:
    """The lines of an official list, split at spaces.

    Raises:
        DatasetError: a line with another number of entries, or no lines.
    """
    with reading(path):
        rows = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    rows = [row for row in rows if row]
    bad = next((number for number, row in enumerate(rows, 1) if len(row) != columns), None)
    if bad is not None or not rows:
        raise DatasetError(
            f"{path}: line {bad or 1} has not {columns} entries: get the file again, unchanged"
        )
    return rows


class _VoxCeleb1(Task):
    def _locate(self, names: list[str]) -> Iterator[Path]:
        """The file of each recording, by the folder that its speaker is in."""
        roots = [self.folder / root for root in ROOTS if (self.folder / root).is_dir()]
        speakers = {path.name: root for root in reversed(roots) for path in root.glob("id*")}
        for name in names:
            yield speakers.get(name.partition("/")[0], self.folder / "wav") / name

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": audio(row["_file"], RATE)}


class VoxCeleb1Identification(_VoxCeleb1):
    """`speaker`, one of 1,251. All speakers are in all splits, so the group is the video."""

    source = "voxceleb1-identification"
    distribution = Distribution(
        folders=FOLDERS,
        layout=("iden_split.txt", RECORDINGS),
        apply=APPLY.format("iden_split.txt"),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        index = self.path("iden_split.txt")
        number = str(SPLITS.index(split) + 1)
        lines = fields(index, 2)
        unknown = {part for part, _ in lines} - {"1", "2", "3"}
        if unknown:
            raise DatasetError(f"{index}: no split is called {min(unknown)!r}: get the file again")
        names = [name for part, name in lines if part == number]
        for name, path in zip(names, self._locate(names), strict=True):
            speaker, _, rest = name.partition("/")
            yield {
                "id": name.removesuffix(".wav"),
                "group": f"{speaker}/{rest.partition('/')[0]}",
                "speaker": self.label("speaker", speaker, index),
                "_file": path,
            }


class VoxCeleb1Verification(_VoxCeleb1):
    """`trials` of VoxCeleb1-O: the cleaned list where it is there, else the original one."""

    source = "voxceleb1-verification"
    splits = ("test",)
    distribution = Distribution(
        folders=FOLDERS,
        layout=("|".join(TRIALS), RECORDINGS),
        apply=APPLY.format("veri_test2.txt (the cleaned list of trials)"),
    )

    def files(self) -> list[Path]:
        # Only what is read: the recordings of the development speakers may lie there too.
        super().files()
        lines = fields(self._index(), 3)
        named = sorted({name for line in lines for name in line[1:]})
        return [self._index(), *(path for path in self._locate(named) if path.is_file())]

    def _index(self) -> Path:
        found = [self.folder / name for name in TRIALS if (self.folder / name).is_file()]
        return found[0] if found else self.path(TRIALS[0])

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        lines = fields(self._index(), 3)
        wrong = {same for same, *_ in lines} - {"0", "1"}
        if wrong:
            raise DatasetError(
                f"{self._index()}: a trial is marked {min(wrong)!r} and not 0 or 1: "
                "get the file again, unchanged"
            )
        names = sorted({name for line in lines for name in line[1:]})
        place = {name: position for position, name in enumerate(names)}
        trials: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
        for same, first, second in lines:
            trials[first].append((place[second], int(same)))
        for name, path in zip(names, self._locate(names), strict=True):
            yield {
                "id": name.removesuffix(".wav"),
                "group": name.partition("/")[0],
                "trials": np.array(trials[name], np.int64).reshape(-1, 2),
                "_file": path,
            }
