"""NCT-CRC-HE: nine tissues in colorectal cancer.

Kather, Halama & Marx 2018, https://zenodo.org/records/1214456. Layout:
`NCT-CRC-HE-100K/<class>/*.tif` (stain-normalised) or `NCT-CRC-HE-100K-NONORM/<class>/*.tif` for
training, `CRC-VAL-HE-7K/<class>/*.tif` from 50 other patients as the test; tiles of 224 x 224
pixels at 0.5 micrometres.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from benchmark.distribution import Distribution, Download
from benchmark.task import Task
from tasks.histopathology.image_files import class_folders, read_image

TEST = "CRC-VAL-HE-7K"
FOLDERS = ("nct-crc-he", "nct-crc", "NCT-CRC-HE-100K_and_CRC-VAL-HE-7K", "CRC")
RECORD = "https://zenodo.org/records/1214456/files"
TEST_DOWNLOAD = Download(
    f"{RECORD}/{TEST}.zip", into=TEST, md5="2fd1651b4f94ebd818ebf90ad2b6ce06", strip=1
)


class NctCrc(Task):
    """`tissue` of every tile; the training tiles are stain-normalised."""

    source = "nct-crc"
    splits = ("train", "test")
    train: ClassVar[str] = "NCT-CRC-HE-100K"
    distribution = Distribution(
        FOLDERS,
        (f"{train}/*/*.tif", f"{TEST}/*/*.tif"),
        (
            Download(
                f"{RECORD}/{train}.zip",
                into=train,
                md5="035777cf327776a71a05c95da6d6325f",
                strip=1,
            ),
            TEST_DOWNLOAD,
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        folder = self.folder / (TEST if split == "test" else self.train)
        for name, path in class_folders(folder):
            yield {
                "id": f"{split}-{path.stem}",
                "group": f"{split}-{path.stem}",
                "tissue": self.label("tissue", name, path.parent),
                "_file": path,
            }

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": {"image": read_image(row["_file"], (224, 224)), "mpp": 0.5}}


class NctCrcNonorm(NctCrc):
    """The same training tiles as they were scanned."""

    source = "nct-crc-nonorm"
    train = "NCT-CRC-HE-100K-NONORM"
    distribution = Distribution(
        FOLDERS,
        (f"{train}/*/*.tif", f"{TEST}/*/*.tif"),
        (Download(f"{RECORD}/{train}.zip", into=train, strip=1), TEST_DOWNLOAD),
    )
