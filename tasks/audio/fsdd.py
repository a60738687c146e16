"""Free Spoken Digit Dataset: leave one speaker out.

Layout of https://github.com/Jakobovski/free-spoken-digit-dataset:
`recordings/{digit}_{speaker}_{index}.wav`, mono, 8 kHz. Fold k tests the k-th speaker by name. The
repository's own test set (indices 0 to 4 of every speaker) tests speakers that were trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from benchmark.distribution import Distribution, Download, matches
from benchmark.errors import DatasetError
from benchmark.task import Task, folds
from tasks.audio.sound_files import audio

RATE = 8_000
SPEAKERS = 6


def _parts(path: Path) -> tuple[str, str, str]:
    """Digit, speaker, take; the name of a speaker may itself hold an underscore."""
    digit, _, rest = path.stem.partition("_")
    speaker, _, take = rest.rpartition("_")
    return digit, speaker, take


class FreeSpokenDigits(Task):
    """`digit`, spoken by one of six speakers."""

    source = "fsdd"
    splits = folds(SPEAKERS)
    distribution = Distribution(
        folders=("fsdd", "free-spoken-digit-dataset", "free-spoken-digit-dataset-master"),
        layout=("recordings/*_*_*.wav",),
        downloads=(
            Download(
                "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/master.zip",
                name="free-spoken-digit-dataset-master.zip",
                strip=1,
            ),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        paths = sorted(matches(self.folder, "recordings/*_*_*.wav"))
        speakers = sorted({_parts(path)[1] for path in paths})
        if len(speakers) != SPEAKERS:
            raise DatasetError(
                f"{self.card.name}: {self.folder / 'recordings'} has {len(speakers)} speakers "
                f"({', '.join(speakers)}) and not {SPEAKERS}: get the dataset again"
            )
        with self.collecting():
            self._check_takes(paths, speakers)
        tested = speakers[self.splits.index(split)]
        for path in paths:
            spoken, speaker, _ = _parts(path)
            if speaker == tested:
                with self.collecting():
                    digit = self.label("digit", spoken, path)
                    yield {"id": path.stem, "group": tested, "digit": digit, "_file": path}

    def _check_takes(self, paths: list[Path], speakers: list[str]) -> None:
        """There is no index, but every speaker said every digit equally often.

        Raises:
            DatasetError: a take is missing that others have; names some of the files.
        """
        there = {path.stem for path in paths}
        last = max((int(take) for *_, take in map(_parts, paths) if take.isdecimal()), default=-1)
        names = product(self.classes("digit"), speakers, range(last + 1))
        lacking = [name for parts in names if (name := "_".join(map(str, parts))) not in there]
        if lacking:
            some = ", ".join(f"{name}.wav" for name in lacking[:5])
            more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
            raise DatasetError(
                f"{self.card.name}: {self.folder / 'recordings'} lacks {some}{more}, while other "
                f"recordings go up to take {last}: `ssl-bench data fetch {self.card.name}` brings "
                f"what is missing, or remove the takes above those that every speaker and digit has"
            )

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": audio(row["_file"], RATE)}
