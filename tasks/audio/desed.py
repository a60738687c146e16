"""DESED: sound events in domestic recordings (Turpault et al. 2019, DCASE task 4).

Layout: `metadata/validation/validation.tsv` and `metadata/eval/public.tsv` (tab-separated:
`filename`, `onset`, `offset` in s, `event_label`; a recording without events has one row of empty
cells) with the recordings, 10 s each, in `audio/validation/` (or `audio/validation/validation/`)
and `audio/eval/public/`; the two folders here, in `dataset/` or in `real/`. Both sets are strongly
labelled recordings from AudioSet and YouTube.

The probe learns from the validation set and is tested on the public evaluation set. A recording is
named after its video (`Y<video>_<start>_<end>.wav`, on the evaluation set without the Y); clips of
the validation set whose video is in the evaluation set too are left out (there is one).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.distribution import Distribution, Download, matches
from benchmark.errors import DatasetError
from benchmark.files import number, read_csv
from benchmark.task import Task
from tasks.audio.file_types import in_any_type
from tasks.audio.sound_files import audio

BASES = ("", "dataset/", "real/", "data/real/")
INDEX = {"train": "validation/validation", "test": "eval/public"}
# tables at the last commit; the archive as in its desed/desed/download.py
REPOSITORY = (
    "https://raw.githubusercontent.com/turpaultn/DESED/0686178dd218b431ef1606e5a2139df7c543b07b"
)
ARCHIVE = "https://zenodo.org/record/4560759/files/DESED_public_eval.tar.gz"
COLUMNS = ("filename", "onset", "offset", "event_label")


def _somewhere(pattern: str) -> str:
    return "|".join(base + pattern for base in BASES)


class Desed(Task):
    source = "desed"
    splits = ("train", "test")
    distribution = Distribution(
        folders=("desed",),
        layout=(
            _somewhere("metadata/validation/validation.tsv"),
            _somewhere("metadata/eval/public.tsv"),
            f"{_somewhere('audio/validation/*.*')}|{_somewhere('audio/validation/validation/*.*')}",
            _somewhere("audio/eval/public/*.*"),
        ),
        downloads=(
            Download(
                f"{REPOSITORY}/data/real/metadata/validation/validation.tsv",
                into="metadata/validation",
                size=221316,
                sha256="aa137f17507407ff08fd245ba63c2af4383c0a8fff9e5a89938df7de0c363871",
            ),
            Download(ARCHIVE),
        ),
        apply=(
            "the recordings of the validation set are on YouTube: `pip install desed` and "
            "`desed.download_audioset_data(FOLDER, weak=False, unlabel_in_domain=False)`, where "
            "FOLDER is this dataset's, write them to audio/validation/validation/; those that are "
            "no longer online the authors send (FAQ of https://github.com/turpaultn/DESED)"
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        index, events = self._events(split)
        tested = {_video(name) for name in self._events("test")[1]} if split == "train" else set()
        folders = [
            index.parents[2] / "audio" / part
            for part in (INDEX[split], INDEX[split].partition("/")[0])
        ]
        for name, found in events.items():
            if _video(name) in tested:
                continue
            files = [in_any_type(folder / name) for folder in folders]
            yield {
                "id": name.rsplit(".", 1)[0],
                "group": _video(name),
                "events": np.array(found, dtype=np.float64).reshape(-1, 3),
                "_file": next((file for file in files if file.is_file()), files[0]),
            }

    def _events(self, split: str) -> tuple[Path, dict[str, list[tuple[float, float, int]]]]:
        """The index and the events of every recording in it, in its order."""
        index = next(matches(self.folder, _somewhere(f"metadata/{INDEX[split]}.tsv")))
        events: dict[str, list[tuple[float, float, int]]] = {}
        for row in read_csv(index, COLUMNS, delimiter="\t"):
            with self.collecting():
                of_recording = events.setdefault(row["filename"], [])
                if not row["event_label"].strip():
                    continue
                onset, offset = (number(row[name], index, name) for name in ("onset", "offset"))
                if not 0 <= onset < offset:
                    raise DatasetError(
                        f"{index}: an event of {row['filename']} lasts from {onset} to {offset} s: "
                        "get the file again, unchanged"
                    )
                of_recording.append(
                    (onset, offset, self.label("events", row["event_label"], index))
                )
        return index, events

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": audio(row["_file"])}


def _video(filename: str) -> str:
    """The video that a clip is from; the name itself where it does not tell."""
    named = re.match(r"Y?(.{11})_\d+(?:\.\d+)?_\d+(?:\.\d+)?\.\w+$", filename)
    return named[1] if named else filename
