"""GTZAN music genres (Tzanetakis and Cook 2002) with the fault-filtered split.

Layout (that of the MARBLE benchmark): `genres/<genre>/<genre>.<00000 to 00099>.wav`, 30 s at
22,050 Hz (`genres/` is `genres_original/` in copies of the set; the first edition has .au files),
beside `train_filtered.txt`, `valid_filtered.txt` and `test_filtered.txt`: one `genre/file` a line.
The lists are those of Kereliuk, Sturm and Larsen (2015, https://github.com/coreyker/dnn-mgr),
without the repetitions, mislabelled and distorted excerpts that Sturm (2013) found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.files import reading
from benchmark.task import Task
from tasks.audio.file_types import in_any_type
from tasks.audio.sound_files import audio

RATE = 22_050
LISTS = {"train": "train", "validation": "valid", "test": "test"}
DAMAGED = "jazz.00054"  # in the training list, but unreadable in the copies in circulation
GENRES = ("genres", "genres_original", "Data/genres_original", ".")
RECORDINGS = "|".join(f"{folder}/*/*.*" for folder in GENRES[:-1]) + "|[bcdhjmpr]*/*.*.*"
LISTED = tuple(f"{name}_filtered.txt" for name in LISTS.values())
# The archive of Marsyas, from whose makers GTZAN is, at the commit that added it to the hub; the
# lists at the last commit of their authors' repository.
HUB = (
    "https://huggingface.co/datasets/marsyas/gtzan/resolve/7031b102fce5383cfdfa12714eaf42065e82b855"
)
FILTERED = "https://raw.githubusercontent.com/coreyker/dnn-mgr/bdad579ea6cb37b665ea6019fe1026a6ce20cbc7/gtzan"
SHA256 = (
    "2b04966cef1486f1a7767b74271533fa23e220388db804a1937835e1fc4fa3fa",
    "f8fbee7c52397a0e0f3a91dc54fedecb2e27f5bdc9a9daeab8cb10d077e26956",
    "09cafa6a89ce0a27f30ed250d56ecb4d03c22fffb5a693f96c7ae655ee02ac72",
)
DOWNLOADS = (
    *(
        Download(f"{FILTERED}/{name}", sha256=sha256)
        for name, sha256 in zip(LISTED, SHA256, strict=True)
    ),
    Download(f"{HUB}/data/genres.tar.gz"),
)


def listed(folder: Path, split: str) -> Iterator[tuple[str, str, Path]]:
    """Genre, name (`blues.00029`) and file of every recording of a split, in the list's order.

    Raises:
        DatasetError: a line that is no `genre/genre.number.wav`, or no recordings.
    """
    path = folder / f"{LISTS[split]}_filtered.txt"
    with reading(path):
        lines = path.read_text(encoding="utf-8-sig").split()
    root = next((folder / name for name in GENRES if any(folder.glob(f"{name}/*/*.*.*"))), None)
    if root is None:
        raise DatasetError(
            f"{folder} has no {GENRES[0]}/<genre>/<genre>.<number>.wav: "
            "`ssl-bench data fetch gtzan-genre` downloads them"
        )
    for line in lines:
        file = PurePosixPath(line.replace("\\", "/"))
        genre, _, number = file.stem.partition(".")
        if not number.isdigit() or file.parent.name not in ("", genre):
            raise DatasetError(
                f"{path}: {line!r} is not like blues/blues.00000.wav: get the list again, unchanged"
            )
        if file.stem != DAMAGED:
            yield genre, file.stem, in_any_type(root / genre / f"{file.stem}.wav")


class Gtzan(Task):
    source = "gtzan"
    distribution = Distribution(
        folders=("gtzan", "gtzan-genre"), layout=(*LISTED, RECORDINGS), downloads=DOWNLOADS
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        for genre, name, path in listed(self.folder, split):
            label = self.label("genre", genre, path)
            yield {"id": name, "group": name, "genre": label, "_file": path}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": audio(row["_file"], RATE)}
