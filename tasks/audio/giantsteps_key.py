"""GiantSteps key (Knees et al. 2015) with GiantSteps-MTG-keys as training data.

Layout: the two repositories `giantsteps-key-dataset` and `giantsteps-mtg-key-dataset` of
https://github.com/GiantSteps side by side, each with the recordings that its `audio_dl.sh` fetches
(`audio/<id>.LOFI.mp3`, 2 min; or all of them in one `audio/` beside both). The test split is every
`annotations/key/<id>.LOFI.key` of the first ("Eb minor"). The training data are the rows of
`annotations/annotations.txt` (tab-separated: `ID`, `MANUAL KEY`, `C`) of the second with confidence
2 and one key (Korzeniowski and Widmer 2018).

Artists (`annotations/beatport_metadata.txt`: `ID`, `ARTIST`, several separated by commas) are the
groups of the training tracks, together with all those that joint tracks connect to them. Penalties
are chosen by cross-validation over them; Jukebox's probing (Castellon et al. 2021) and MARBLE hold
236 of the 1,159 tracks out instead, by artist too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmark.distribution import Distribution, Download, matches
from benchmark.errors import DatasetError
from benchmark.files import read_csv, reading
from benchmark.listings import PackagedList
from benchmark.task import Task
from tasks.audio.file_types import in_any_type
from tasks.audio.sound_files import audio

TEST, TRAIN = "giantsteps-key-dataset*", "giantsteps-mtg-key-dataset*"
REPOSITORIES = {  # folder -> commit
    "giantsteps-key-dataset": "6bcd492c825ac9b8597bc650a5f6fd18b6c43d2b",
    "giantsteps-mtg-key-dataset": "fd7b8c584f7bd6d720d170c325a6d42c9bf75a6b",
}
RECORDINGS = Path(__file__).parent / "data"  # lists by data/build_giantsteps.py
# the authors' own copies, which each repository's audio_dl.sh reads from
SITE = "https://www.cp.jku.at/datasets/giantsteps"
SHARP = {"db": "C#", "eb": "D#", "gb": "F#", "ab": "G#", "bb": "A#", "cb": "B", "fb": "E"}


class GiantStepsKey(Task):
    source = "giantsteps-key"
    splits = ("train", "test")
    distribution = Distribution(
        folders=("giantsteps", "giantsteps-key", "GS"),
        layout=(
            f"{TEST}/annotations/key/*.key",
            f"{TRAIN}/annotations/annotations.txt",
            f"{TRAIN}/annotations/beatport_metadata.txt",
            f"audio/*.*|{TEST}/audio/*.*",
            f"audio/*.*|{TRAIN}/audio/*.*",
        ),
        downloads=tuple(
            Download(
                f"https://github.com/GiantSteps/{name}/archive/{commit}.zip",
                name=f"{name}.zip",
                into=name,
                strip=1,
            )
            for name, commit in REPOSITORIES.items()
        ),
        listings=(
            PackagedList(
                RECORDINGS / "giantsteps_test.csv.gz",
                f"{SITE}/backup",
                into="giantsteps-key-dataset/audio",
            ),
            PackagedList(
                RECORDINGS / "giantsteps_train.csv.gz",
                f"{SITE}/mtg_key_backup",
                into="giantsteps-mtg-key-dataset/audio",
            ),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        yield from self._test() if split == "test" else self._train()

    def _test(self) -> Iterator[Mapping[str, Any]]:
        for path in matches(self.folder, f"{TEST}/annotations/key/*.key"):
            with self.collecting():
                with reading(path):
                    key = path.read_text(encoding="utf-8-sig")
                track = path.name.partition(".")[0]
                yield self._row(track, f"track {track}", key, path, path.parents[2])

    def _train(self) -> Iterator[Mapping[str, Any]]:
        path = next(matches(self.folder, f"{TRAIN}/annotations/annotations.txt"))
        metadata = path.with_name("beatport_metadata.txt")
        artists = {
            row["ID"].strip(): [name.strip() for name in row["ARTIST"].split(",")]
            for row in read_csv(metadata, ["ID", "ARTIST"], delimiter="\t")
        }
        circle = circles(list(artists.values()))
        for row in read_csv(path, ["ID", "MANUAL KEY", "C"], delimiter="\t"):
            with self.collecting():
                track = row["ID"].strip()
                if row["C"].strip() != "2" or "/" in row["MANUAL KEY"]:
                    continue
                if track not in artists:
                    raise DatasetError(f"{metadata} has no track {track}: get the file again")
                group = f"artist {circle[artists[track][0]]}"
                yield self._row(track, group, row["MANUAL KEY"], path, path.parents[1])

    def _row(
        self, track: str, group: str, text: str, where: Path, repository: Path
    ) -> Mapping[str, Any]:
        tonic, _, mode = " ".join(text.split()).partition(" ")
        key = f"{SHARP.get(tonic.lower(), tonic.capitalize())} {mode.lower()}"
        own = in_any_type(repository / "audio" / f"{track}.LOFI.mp3")
        return {
            "id": track,
            "group": group,
            "key": self.label("key", key, where),
            "_file": own if own.is_file() else in_any_type(self.folder / "audio" / own.name),
        }

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": audio(row["_file"])}


def circles(tracks: list[list[str]]) -> dict[str, str]:
    """For every artist the one who stands for all those that joint tracks connect: their first."""
    members: dict[str, list[str]] = {}
    for names in tracks:
        joined: dict[int, list[str]] = {}
        for name in names:
            known = members.get(name, [name])
            joined[id(known)] = known
        together = [name for known in joined.values() for name in known]
        members.update(dict.fromkeys(together, together))
    return {name: known[0] for name, known in members.items()}
