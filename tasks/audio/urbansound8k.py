"""UrbanSound8K: ten urban sound sources in ten official folds.

Salamon, Jacoby & Bello 2014, "A Dataset and Taxonomy for Urban Sound Research", ACM Multimedia.
Layout of the archive at https://zenodo.org/record/1203745: `metadata/UrbanSound8K.csv` with the
columns slice_file_name, fsID, start, end, salience, fold, classID and class, and the excerpts (up
to 4 s, rate, depth and channels as uploaded to Freesound) in `audio/fold1` to `audio/fold10`.
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


class UrbanSound8K(Task):
    """`class` of every excerpt; the group is the Freesound recording it was cut from."""

    source = "urbansound8k"
    splits = folds(10)
    distribution = Distribution(
        folders=("urbansound8k", "UrbanSound8K"),
        layout=("metadata/UrbanSound8K.csv", "audio/fold*/*.*"),
        downloads=(
            Download(
                "https://zenodo.org/record/1203745/files/UrbanSound8K.tar.gz",
                md5="9aa69802bbf37fb986f71ec1483a196e",
                strip=1,
            ),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        index = self.path("metadata", "UrbanSound8K.csv")
        for row in read_csv(index, ["slice_file_name", "fsID", "fold", "class"]):
            with self.collecting():
                where = f"{index}, {row['slice_file_name']}"
                if f"fold-{row['fold']}" not in self.splits:
                    raise DatasetError(
                        f"{where}: there is no fold {row['fold']!r}: get the file again"
                    )
                if f"fold-{row['fold']}" != split:
                    continue
                yield {
                    "id": row["slice_file_name"].rpartition(".")[0],
                    "group": row["fsID"],
                    "class": self.label("class", row["class"], where),
                    "_file": self.folder / "audio" / f"fold{row['fold']}" / row["slice_file_name"],
                }

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": audio(in_any_type(row["_file"]))}
