"""MAESTRO v3: piano performances recorded as sound and MIDI (Hawthorne et al. 2019).

Layout: `maestro-v3.0.0.csv` (`canonical_composer`, `canonical_title`, `split`, `year`,
`midi_filename`, `audio_filename`, `duration` in s; paths relative to it) and the files,
`<year>/*.midi` and `<year>/*.wav`, 44.1 or 48 kHz stereo. v2 has the same layout. The column
`split` is the split; no composition is in two.

A performance lasts up to 45 min. Of each, four excerpts of 10 s are taken, in the middle of its
quarters; of one shorter than 40 s as many as it holds, one at least. A note begins at its note-on
message and ends when its key is released (the pedal does not lengthen it). Its class is its pitch,
MIDI 21 to 108.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.files import number, read_csv, reading
from benchmark.task import Task
from tasks.audio.file_types import in_any_type

SECONDS = 10.0  # of an excerpt
EXCERPTS = 4
COLUMNS = (
    "canonical_composer",
    "canonical_title",
    "split",
    "midi_filename",
    "audio_filename",
    "duration",
)


class Maestro(Task):
    source = "maestro"
    distribution = Distribution(
        folders=("maestro-v3.0.0", "maestro"),
        layout=("maestro-v*.csv", "*/*.mid*", "*/*.*"),
        downloads=(
            Download(
                "https://storage.googleapis.com/magentadata/datasets/maestro/v3.0.0/"
                "maestro-v3.0.0.zip",
                md5="41941abdcd786c8066d532002e3b79b9",
                strip=1,
            ),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        index = max(self.folder.glob("maestro-v*.csv"))
        for row in read_csv(index, COLUMNS):
            with self.collecting():
                if row["split"] not in self.splits:
                    raise DatasetError(
                        f"{index}: {row['split']!r} in column 'split' is not one of "
                        f"{', '.join(self.splits)}: get the file again, unchanged"
                    )
                if row["split"] == split:
                    yield {
                        "id": row["audio_filename"].rpartition(".")[0],
                        "group": f"{row['canonical_composer']}: {row['canonical_title']}",
                        "_midi": self.folder / row["midi_filename"],
                        "_file": in_any_type(self.folder / row["audio_filename"]),
                        "_seconds": number(row["duration"], index, "duration"),
                    }

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        played = notes(row["_midi"])
        played[:, 2] = [
            self.classes("notes").index(f"midi{pitch:.0f}") if 21 <= pitch <= 108 else -2
            for pitch in played[:, 2]
        ]
        played = played[played[:, 2] >= 0]
        for start, stop in excerpts(row["_seconds"]):
            inside = played[(played[:, 0] >= start) & (played[:, 0] < stop)]
            inside[:, :2] = np.minimum(inside[:, :2], stop) - start
            yield {
                "id": f"{row['id']}@{start:.2f}",
                "group": row["group"],
                "notes": inside,
                "input": _excerpt(row["_file"], start, stop),
            }


def excerpts(seconds: float) -> list[tuple[float, float]]:
    """Start and end of the excerpts of a performance, s."""
    many = int(min(max(seconds // SECONDS, 1), EXCERPTS))
    length = min(SECONDS, seconds)
    starts = [(part + 0.5) * seconds / many - length / 2 for part in range(many)]
    return [(start, start + length) for start in starts]


def notes(path: Path) -> NDArray[np.float64]:
    """Onset s, end s and MIDI pitch of every note of a MIDI file, (n, 3), by onset."""
    import mido

    found: list[tuple[float, float, float]] = []
    sounding: dict[tuple[int, int], float] = {}
    now = 0.0
    with reading(path):
        for message in mido.MidiFile(path):
            now += message.time
            if message.type not in ("note_on", "note_off"):
                continue
            key = message.channel, message.note
            if key in sounding:  # a second note-on of a sounding note ends the first
                found.append((sounding.pop(key), now, message.note))
            if message.type == "note_on" and message.velocity > 0:
                sounding[key] = now
    found += [(onset, now, key[1]) for key, onset in sounding.items()]
    if not found:
        raise DatasetError(f"{path} holds no notes: get the file again")
    return np.array(sorted(found), dtype=np.float64)


def _excerpt(path: Path, start: float, stop: float) -> dict[str, Any]:
    """A part of a recording, read without the rest of it."""
    import soundfile

    with reading(path):
        if not path.is_file():
            raise FileNotFoundError(2, "no such file", str(path))
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            first, last = round(start * rate), round(stop * rate)
            samples = np.zeros((0, 1), np.float32)
            if file.frames >= last:
                file.seek(first)
                samples = file.read(last - first, dtype="float32", always_2d=True)
    if len(samples) < last - first:
        raise DatasetError(f"{path} ends before {stop:.1f} s, which its MIDI file reaches: get it "
                           "again")  # fmt: skip
    if not np.isfinite(samples).all():
        raise DatasetError(f"{path} holds NaN or infinite samples: get the file again")
    mono = np.rint(samples.mean(1, dtype=np.float64) * 32768)
    return {"waveform": np.clip(mono, -32768, 32767).astype(np.int16), "sample_rate": rate}
