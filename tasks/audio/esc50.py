"""ESC-50 and ESC-10: environmental sounds in five official folds.

Piczak 2015, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia. The layout is
that of https://github.com/karolpiczak/ESC-50: `meta/esc50.csv` with the columns filename, fold,
target, category, esc10, src_file and take, and the clips (5 s, 44.1 kHz) in `audio/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.files import read_csv
from benchmark.task import Task, folds
from tasks.audio.file_types import in_any_type
from tasks.audio.sound_files import audio

RATE = 44_100
COLUMNS = ["filename", "fold", "category", "esc10", "src_file"]


class Esc50(Task):
    """`class` of every clip, `esc10` of those in the ten-class subset.

    The folds keep the clips of one Freesound recording (`src_file`) together.
    """

    source = "esc50"
    splits = folds(5)
    distribution = Distribution(
        folders=("esc50", "ESC-50", "ESC-50-master", "esc10", "ESC-10"),
        layout=("meta/esc50.csv", "audio/*"),
        downloads=(
            Download(
                "https://github.com/karoldvl/ESC-50/archive/master.zip",
                name="ESC-50-master.zip",
                strip=1,
            ),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        index = self.path("meta", "esc50.csv")
        for row in read_csv(index, COLUMNS):
            with self.collecting():
                where = f"{index}, {row['filename']}"
                if f"fold-{row['fold']}" not in self.splits:
                    raise DatasetError(
                        f"{where}: there is no fold {row['fold']!r}: get the file again"
                    )
                if f"fold-{row['fold']}" != split:
                    continue
                subset = row["esc10"].strip().lower() == "true"
                yield {
                    "id": row["filename"].rpartition(".")[0],
                    "group": row["src_file"],
                    "class": self.label("class", row["category"], where),
                    "esc10": self.label("esc10", row["category"], where) if subset else None,
                    "_file": self.folder / "audio" / row["filename"],
                }

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": audio(in_any_type(row["_file"]), RATE)}
