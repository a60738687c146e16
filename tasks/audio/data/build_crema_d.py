"""The list of CREMA-D's recordings, from the Git LFS pointers of a clone made without LFS.

    GIT_LFS_SKIP_SMUDGE=1 git clone https://github.com/CheyneyComputerScience/CREMA-D
    python tasks/audio/data/build_crema_d.py CREMA-D

A pointer names size and sha256 of the file that it stands for
(https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
"""

import gzip
import re
import sys
from pathlib import Path

POINTER = re.compile(r"oid sha256:([0-9a-f]{64})\nsize (\d+)")


def main(clone: Path) -> None:
    lines = ["name,size,sha256\n"]
    for path in sorted((clone / "AudioWAV").glob("*.wav")):
        found = POINTER.search(path.read_text())
        if found is None:
            sys.exit(f"{path} is no pointer: clone with GIT_LFS_SKIP_SMUDGE=1")
        lines.append(f"{path.name},{found[2]},{found[1]}\n")
    target = Path(__file__).with_name("crema_d.csv.gz")
    with target.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
        file.write("".join(lines).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
