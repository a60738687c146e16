"""The lists of GiantSteps' recordings, from clones of its two repositories.

    git clone https://github.com/GiantSteps/giantsteps-key-dataset
    git clone https://github.com/GiantSteps/giantsteps-mtg-key-dataset
    python tasks/audio/data/build_giantsteps.py giantsteps-key-dataset giantsteps-mtg-key-dataset

`md5/<id>.LOFI.md5` holds the md5 of `<id>.LOFI.mp3`. Of the second only the recordings that the
task reads are listed: one key, confidence 2.
"""

import csv
import gzip
import sys
from pathlib import Path


def write(clone: Path, tracks: list[str], name: str) -> None:
    lines = ["name,md5\n"]
    for track in sorted(tracks):
        checksum = (clone / "md5" / f"{track}.LOFI.md5").read_text().strip()
        lines.append(f"{track}.LOFI.mp3,{checksum}\n")
    target = Path(__file__).with_name(name)
    with target.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
        file.write("".join(lines).encode())


def main(test: Path, train: Path) -> None:
    keys = (test / "annotations" / "key").glob("*.key")
    write(test, [path.name.partition(".")[0] for path in keys], "giantsteps_test.csv.gz")
    with (train / "annotations" / "annotations.txt").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    sure = [r["ID"].strip() for r in rows if r["C"].strip() == "2" and "/" not in r["MANUAL KEY"]]
    write(train, sure, "giantsteps_train.csv.gz")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
