"""emoMusic, the 1000 songs emotion database (Soleymani et al. 2013, MediaEval 2013).

Layout: `clips_45seconds/<song_id>.mp3` (45 s) and, here or in `annotations/`, `songs_info.csv`
(`song_id`, `Artist`, `Mediaeval 2013 set`, ...) and `static_annotations.csv` (`song_id`,
`mean_arousal`, `mean_valence`, ...: means of ratings from 1 to 9). The development set of MediaEval
2013 is training data, the evaluation set is tested, as in Jukebox's probing, MARBLE and MERT. Those
hold a fifth of the development artists out as validation; here penalties are chosen by
cross-validation over artists, and all of it is trained on in the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.files import number, read_csv
from benchmark.task import Task
from tasks.audio.file_types import in_any_type
from tasks.audio.sound_files import audio

SITE = "http://cvml.unige.ch/databases/emoMusic"
CLIPS = ("clips_45seconds", "clips_45sec")
SET = "Mediaeval 2013 set"
SPLITS = {"development": "train", "evaluation": "test"}


class EmoMusic(Task):
    source = "emomusic"
    splits = ("train", "test")
    distribution = Distribution(
        folders=("emomusic", "emo"),
        layout=(
            "static_annotations.csv|annotations/static_annotations.csv",
            "songs_info.csv|annotations/songs_info.csv",
            "|".join(f"{clips}/*.*" for clips in CLIPS),
        ),
        downloads=(
            Download(f"{SITE}/clips_45sec.tar.gz"),
            Download(f"{SITE}/annotations.tar.gz"),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        folder = self.folder
        if not (folder / "songs_info.csv").is_file():
            folder = self.path("annotations")
        info = folder / "songs_info.csv"
        songs = {
            int(number(row["song_id"], info, "song_id")): row
            for row in read_csv(info, ["song_id", "Artist", SET])
        }
        clips = next((c for c in CLIPS if (self.folder / c).is_dir()), CLIPS[0])
        path = folder / "static_annotations.csv"
        for row in read_csv(path, ["song_id", "mean_arousal", "mean_valence"]):
            with self.collecting():
                song = int(number(row["song_id"], path, "song_id"))
                if song not in songs:
                    raise DatasetError(f"{info} has no song {song}: get the file again, unchanged")
                official = songs[song][SET].strip()
                if official not in SPLITS:
                    raise DatasetError(
                        f"{info}: {official!r} in column {SET!r} is not one of "
                        f"{', '.join(SPLITS)}: get the file again, unchanged"
                    )
                if SPLITS[official] != split:
                    continue
                artist = " ".join(songs[song]["Artist"].lower().split())
                yield {
                    "id": str(song),
                    # the publisher keeps songs apart, not artists
                    "group": f"artist {artist}" if split == "train" else f"song {song}",
                    "arousal": number(row["mean_arousal"], path, "mean_arousal"),
                    "valence": number(row["mean_valence"], path, "mean_valence"),
                    "_file": in_any_type(self.folder / clips / f"{song}.mp3"),
                }

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": audio(row["_file"])}
