"""NSynth: single notes of sampled instruments (Engel et al. 2017).

Layout: `nsynth-train/`, `nsynth-valid/` and `nsynth-test/`, each with `examples.json` (note name ->
`instrument_str`, `instrument_family_str`, `pitch` as MIDI number, ...) and `audio/<note>.wav`, 4 s
at 16 kHz. The publisher keeps the instruments of train apart from those of valid and test, but not
those of valid and test from each other. Since the probe is refitted on train + validation, valid is
left out here: penalties are chosen within train, by instrument.

Pitch has the 88 classes of a piano, MIDI 21 to 108, as in HEAR's `nsynth_pitch`; other notes are no
part of that task.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.files import reading
from benchmark.task import Task
from tasks.audio.file_types import in_any_type
from tasks.audio.sound_files import audio

RATE = 16_000
PIANO = range(21, 109)
FIELDS = ("instrument_str", "instrument_family_str", "pitch")
SITE = "http://download.magenta.tensorflow.org/datasets/nsynth"


class NSynth(Task):
    source = "nsynth"
    splits = ("train", "test")
    distribution = Distribution(
        folders=("nsynth",),
        layout=(
            "nsynth-train/examples.json",
            "nsynth-test/examples.json",
            "nsynth-train/audio/*.*",
            "nsynth-test/audio/*.*",
        ),
        downloads=(
            Download(f"{SITE}/nsynth-train.jsonwav.tar.gz", md5="fde6665a93865503ba598b9fac388660"),
            Download(f"{SITE}/nsynth-test.jsonwav.tar.gz", md5="5e6f8719bf7e16ad0a00d518b78af77d"),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        path = self.path(f"nsynth-{split}", "examples.json")
        with reading(path):
            notes = dict(json.loads(path.read_text(encoding="utf-8-sig")))
        for name, note in notes.items():
            with self.collecting():
                lacking = [field for field in FIELDS if field not in note]
                if lacking:
                    raise DatasetError(
                        f"{path}: {name!r} has no {', '.join(lacking)}: get the file again, "
                        "unchanged"
                    )
                pitch = note["pitch"] if note["pitch"] in PIANO else None
                yield {
                    "id": name,
                    "group": note["instrument_str"],
                    "family": self.label("family", note["instrument_family_str"], path),
                    "pitch": pitch if pitch is None else self.label("pitch", f"midi{pitch}", path),
                    "_file": in_any_type(path.parent / "audio" / f"{name}.wav"),
                }

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": audio(row["_file"], RATE)}
