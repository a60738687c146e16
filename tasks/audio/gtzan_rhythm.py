"""GTZAN-Rhythm: beats of the GTZAN recordings (Marchand, Fresnel and Peeters 2015).

Layout: GTZAN's (see `gtzan.py`) and beside it the annotations, either the authors'
`GTZAN-Rhythm_v2_ismir2015_lbd/jams/<genre>.<number>.wav.jams` (JAMS: the annotation of namespace
`beat` whose `sandbox.annotation_type` is `beat`) or the same as text,
`beats/gtzan_<genre>_<number>.beats` of https://github.com/TempoBeatDownbeat/gtzan_tempo_beat (time
in s, then the position in the bar). The split is GTZAN's fault-filtered one, as in MARBLE; trackers
that are trained elsewhere are instead tested on all of GTZAN.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.distribution import Distribution, Download, matches
from benchmark.errors import DatasetError
from benchmark.files import reading
from benchmark.task import Task
from tasks.audio.gtzan import DOWNLOADS, LISTED, RATE, RECORDINGS, listed
from tasks.audio.sound_files import audio

BEATS = "https://github.com/TempoBeatDownbeat/gtzan_tempo_beat/archive"
JAMS, TEXT = "jams/*.jams|*/jams/*.jams", "beats/*.beats|*/beats/*.beats"


class GtzanRhythm(Task):
    source = "gtzan-rhythm"
    distribution = Distribution(
        folders=("gtzan", "gtzan-rhythm", "gtzan-genre"),
        layout=(*LISTED, f"{JAMS}|{TEXT}", RECORDINGS),
        downloads=(
            *DOWNLOADS,
            Download(f"{BEATS}/fd9cafdebb6426fee41c3718791be61306323dd7.tar.gz", strip=1),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        jams = {path.name: path for path in matches(self.folder, JAMS)}
        text = {path.name: path for path in matches(self.folder, TEXT)}
        for _, name, path in listed(self.folder, split):
            with self.collecting():
                file = f"{name}.wav.jams"
                beats = jams.get(file) or text.get(f"gtzan_{name.replace('.', '_')}.beats")
                if beats is None:
                    folder = next(iter((jams or text).values())).parent
                    missing = file if jams else f"gtzan_{name.replace('.', '_')}.beats"
                    raise DatasetError(f"{folder / missing} is missing: get the annotations again")
                yield {"id": name, "group": name, "_file": path, "_beats": beats}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        sound = audio(row["_file"], RATE)
        times = beat_times(row["_beats"])
        times = times[times < len(sound["waveform"]) / RATE]  # a few files annotate past the end
        beat = np.full(len(times), self.classes("beats").index("beat"))
        # a beat is a moment; 50 ms make it visible where onsets and ends are drawn
        return {"input": sound, "beats": np.column_stack((times, times + 0.05, beat))}


def beat_times(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Times of the beats in a JAMS or text file, s, ascending."""
    with reading(path):
        content = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".jams":
            times = _of_jams(json.loads(content))
        else:
            times = [float(line.split()[0]) for line in content.splitlines() if line.strip()]
    if not times or not np.isfinite(times).all() or min(times) < 0:
        raise DatasetError(f"{path} holds no beats, or no times: get the annotations again")
    return np.array(sorted(times), dtype=np.float64)


def _of_jams(document: Mapping[str, Any]) -> list[float]:
    for annotation in document["annotations"]:
        kind = (annotation.get("sandbox") or {}).get("annotation_type", "beat")
        if annotation["namespace"].startswith("beat") and kind == "beat":
            data = annotation["data"]  # a list of observations; JAMS 0.2 had a dict of lists
            times = data["time"] if isinstance(data, dict) else [item["time"] for item in data]
            return [float(time) for time in times]
    return []
