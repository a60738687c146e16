"""MagnaTagATune: tags of 29 s clips, from the game TagATune (Law et al. 2009).

Layout: `annotations_final.csv` (tab-separated: `clip_id`, a column of 0 / 1 for each of 188 tags,
`mp3_path`) and the clips `0/*.mp3` ... `f/*.mp3`, here or in `mp3/`. The target is the 50 most
frequent tags. Folders 0 to b are train, c validation, d to f test: the split of van den Oord et al.
(2014) and Choi et al. (2016), which MARBLE and Jukebox's probing use. Clips without any of the 50
tags stay in. An album is in one folder, an artist may be in several.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.files import read_csv
from benchmark.task import Task
from tasks.audio.file_types import in_any_type
from tasks.audio.sound_files import audio

SITE = "https://mirg.city.ac.uk/datasets/magnatagatune"
FOLDERS = {"train": "0123456789ab", "validation": "c", "test": "def"}
# Empty files in the published archive, all of the training folders.
EMPTY = {
    "6/norine_braun-now_and_zen-08-gently-117-146.mp3",
    "8/jacob_heringman-josquin_des_prez_lute_settings-19-gintzler__pater_noster-204-233.mp3",
    "9/american_baroque-dances_and_suites_of_rameau_and_couperin-25-le_petit_rien_xiveme_ordre_"
    "couperin-88-117.mp3",
}


class MagnaTagATune(Task):
    source = "magnatagatune"
    distribution = Distribution(
        folders=("magnatagatune", "MTT", "mtat"),
        layout=("annotations_final.csv", "mp3/[0-9a-f]/*.*|[0-9a-f]/*.*"),
        downloads=(
            Download(f"{SITE}/annotations_final.csv"),
            *(Download(f"{SITE}/mp3.zip.00{i}", into="mp3", joins="mp3.zip") for i in (1, 2, 3)),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        index = self.path("annotations_final.csv")
        tags = self.classes("tags")
        clips = self.folder / "mp3" if (self.folder / "mp3").is_dir() else self.folder
        for row in read_csv(index, ["clip_id", "mp3_path", *tags], delimiter="\t"):
            with self.collecting():
                name = row["mp3_path"]
                if not re.fullmatch(r"[0-9a-f]/[^/]+-\d+-\d+\.mp3", name):
                    raise DatasetError(
                        f"{index}: {name!r} in column 'mp3_path' is not like "
                        "0/artist-album-01-song-0-29.mp3: get the file again, unchanged"
                    )
                if name[0] not in FOLDERS[split] or name in EMPTY:
                    continue
                values = [row[tag] for tag in tags]
                if not set(values) <= {"0", "1"}:
                    raise DatasetError(
                        f"{index}: a tag of clip {row['clip_id']} is neither 0 nor 1: "
                        "get the file again, unchanged"
                    )
                yield {
                    "id": row["clip_id"],
                    "group": name[2:].rsplit("-", 2)[0],  # without start and end: the song
                    "tags": np.array(values, dtype=np.int64),
                    "_file": in_any_type(clips / name),
                }

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": audio(row["_file"])}
