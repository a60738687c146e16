"""The records, labels and splits that MERL was scored on, as its authors publish them.

`finetune/data_split` of https://github.com/cheliu-computation/MERL-ICML2024 at a fixed commit.
"""

from __future__ import annotations

from benchmark.distribution import Download

BASE = (
    "https://raw.githubusercontent.com/cheliu-computation/MERL-ICML2024/"
    "38799b7deb1c9958f41badcfacc6a95192787cc4/finetune/data_split"
)
SHA256 = {
    "icbeb_train.csv": "013fa62513598e7a141d5ea810f73b6b75cdddbab25e11bcbbcdf84a18f000de",
    "icbeb_val.csv": "17fc4f6f95aa818e147ff3b6d5c314c9ae4301989469a0488aaa19638d3e44c8",
    "icbeb_test.csv": "ef85abba57aedba8bf857cf843457b5732f68adfd27b0f45af408870d4210a7f",
    "chapman_train.csv": "8cb268dd4a1e87ea527c4ad57f23baafc4ba72c08edf0ffe2d13cbf6aa299572",
    "chapman_val.csv": "2f611e3447008d36eaa10a33675127d57c90a156894577167a7932057a7ef8a8",
    "chapman_test.csv": "a51df50676226bd7697845fc15036356a56af9379c3efaa917f1dbff274d1236",
}


def merl_lists(name: str) -> tuple[Download, ...]:
    """The lists of `icbeb` or `chapman`."""
    return tuple(
        Download(f"{BASE}/{name}/{file}", sha256=sha256)
        for file, sha256 in SHA256.items()
        if file.startswith(f"{name}_")
    )
