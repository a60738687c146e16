"""Build furniture.npz and the computed columns of furniture.csv from the furniture models.

The models are the five libraries of Debian's package sweethome3d-furniture 1.8-1:

    apt-get download sweethome3d-furniture=1.8-1
    dpkg -x sweethome3d-furniture_1.8-1_all.deb FOLDER
    python tasks/pointcloud/data/build_furniture.py FOLDER/usr/share/sweethome3d/furniture

The first columns of furniture.csv are kept by hand: library, model, name, class, creator, licence,
rotation (row-major 3×3 that makes the model stand upright facing +z; empty: it does). This script
writes the others: original (what the model's own licence file says of its source), group, and the
split of each task. Everything is seeded; a second run gives the same bytes.
"""

from __future__ import annotations

import re
import sys
import zipfile
import zlib
from collections import Counter, defaultdict
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.pointcloud.near_duplicates import components, noise_ratios
from tasks.pointcloud.wavefront import read_triangles, sample_surface, unit_sphere

Floats = NDArray[np.float64]
HERE = Path(__file__).parent
POINTS = 1024
SAME_SHAPE = 1.2  # noise ratio, uniform scale
SAME_STRETCHED = 1.1  # noise ratio, every axis scaled to the same box
SAME_MESH = 500  # triangles from which an equal count in one library means one mesh, deformed
SHARES = {"train": 0.5, "validation": 0.15, "test": 0.35}
TRANSFER_TRAIN = ("BlendSwap-CC-0", "BlendSwap-CC-BY", "KatorLegaz")
TRANSFER_TEST = ("Scopia",)
TRANSFER_MINIMUM = 5  # groups that a class needs on either side


def original(library: zipfile.ZipFile, model: str, creator: str) -> str:
    """Title, author and address of a Blend Swap model, from the licence file beside it."""
    folder = f"{PurePosixPath(model).parent}/"
    for name in sorted(library.namelist()):
        if not name.startswith(folder):
            continue
        text = library.read(name).decode("latin-1") if name.endswith((".txt", ".html")) else ""
        page = re.search(r'Thank you for downloading "(.+?)" by (.+)', text)
        link = re.search(r"blendswap\.com/blends?/(?:view/)?(\d+)", text)
        if page and link:
            title, author, number = page[1], page[2].strip(), link[1]
        elif named := re.search(r"(.+?) by (.+?) - (\d+) - Creative Commons License", text):
            title, author, number = named[1].strip(), named[2], named[3]
        elif named := re.search(r"<title>(\d+) - (.+) - Downloaded from Blend Swap", text):
            title, author, number = named[2], creator, named[1]
        else:
            continue
        return f'"{title}" by {author}, https://www.blendswap.com/blend/{number}'
    return ""


def seed(*parts: str) -> int:
    """A seed that depends on the text alone."""
    return zlib.crc32("/".join(parts).encode())


def upright(library: zipfile.ZipFile, model: str, rotation: str) -> Floats:
    """The model's triangles (F, 3, 3), turned upright; y points up."""
    triangles = read_triangles(library.read(model).decode("latin-1"), model)
    if rotation:
        triangles = triangles @ np.array(rotation.split(), float).reshape(3, 3).T
    return triangles


def samplings(triangles: Floats, model: str) -> tuple[Floats, Floats]:
    """Two independent samplings (POINTS, 3) of one surface, in random order."""
    pair = []
    for take in ("first", "second"):
        rng = np.random.default_rng(seed(model, take))
        pair.append(rng.permutation(sample_surface(triangles, POINTS, rng)))
    return pair[0], pair[1]


def boxed(points: Floats, triangles: Floats, stretch: bool) -> Floats:
    """Points relative to the mesh's bounding box: its diagonal, or each of its sides, is 1."""
    corners = triangles.reshape(-1, 3)
    low, high = corners.min(0), corners.max(0)
    size = high - low if stretch else np.linalg.norm(high - low)
    scaled: Floats = (points - (low + high) / 2) / np.maximum(size, 1e-9)
    return scaled


def find_groups(
    table: pd.DataFrame, meshes: list[Floats], takes: list[tuple[Floats, Floats]]
) -> list[int]:
    """For every model the index of the first model of its family (see the task card)."""
    labels = list(table["class"])
    links: list[tuple[int, int]] = []
    for stretch, limit in ((False, SAME_SHAPE), (True, SAME_STRETCHED)):
        pairs = [
            (boxed(a, mesh, stretch), boxed(b, mesh, stretch))
            for (a, b), mesh in zip(takes, meshes, strict=True)
        ]
        first, second = zip(*pairs, strict=True)
        links += [(i, j) for ratio, i, j in noise_ratios(first, second, labels) if ratio < limit]
    for key in (
        [(c, o) if o else None for c, o in zip(labels, table["original"], strict=True)],
        [
            (c, lib, len(m)) if len(m) >= SAME_MESH else None
            for c, lib, m in zip(labels, table["library"], meshes, strict=True)
        ],
    ):
        seen: dict[object, int] = {}
        links += [(seen.setdefault(k, i), i) for i, k in enumerate(key) if k is not None]
    return components(len(table), links)


def assign(groups: list[int], names: list[str], shares: dict[str, float]) -> dict[int, str]:
    """Split the groups of one class: the largest first, each to the split that lacks most.

    Groups of equal size come in the order of a hash of their first model's name.
    """
    sizes = Counter(groups)
    placed = dict.fromkeys(shares, 0.0)
    chosen: dict[int, str] = {}
    for group in sorted(sizes, key=lambda g: (-sizes[g], seed(names[g], "split"))):
        empty = [s for s in shares if not placed[s]]
        open_groups = len(sizes) - len(chosen)
        among = empty if len(empty) >= open_groups else list(shares)
        split = max(among, key=lambda s: shares[s] * len(groups) - placed[s])
        placed[split] += sizes[group]
        chosen[group] = split
    return chosen


def split_all(table: pd.DataFrame) -> list[str]:
    """furniture20: every class split by groups."""
    column = [""] * len(table)
    names = list(table["model"])
    for _, rows in table.groupby("class"):
        chosen = assign(list(rows["group"]), names, SHARES)
        for index, group in rows["group"].items():
            column[int(str(index))] = chosen[group]
    return column


def split_transfer(table: pd.DataFrame) -> list[str]:
    """furniture-transfer: whole libraries are tested; classes too small on a side stay out."""
    column = [""] * len(table)
    names = list(table["model"])
    for _, rows in table.groupby("class"):
        test = rows[rows["library"].isin(TRANSFER_TEST)]
        train = rows[rows["library"].isin(TRANSFER_TRAIN) & ~rows["group"].isin(test["group"])]
        if min(train["group"].nunique(), test["group"].nunique()) < TRANSFER_MINIMUM:
            continue
        chosen = assign(list(train["group"]), names, {"train": 0.8, "validation": 0.2})
        for index, group in train["group"].items():
            column[int(str(index))] = chosen[group]
        for index in test.index:
            column[int(str(index))] = "test"
    return column


def main(folder: Path) -> None:
    """Read the libraries in `folder`, write furniture.npz and furniture.csv."""
    table = pd.read_csv(HERE / "furniture.csv", dtype=str, keep_default_na=False)
    libraries = {name: zipfile.ZipFile(folder / f"{name}.sh3f") for name in set(table["library"])}
    rows = list(zip(table["library"], table["model"], table["rotation"], strict=True))
    meshes = [upright(libraries[library], model, turn) for library, model, turn in rows]
    takes = [samplings(mesh, model) for mesh, (_, model, _) in zip(meshes, rows, strict=True)]
    points = np.stack([np.round(unit_sphere(first) * 32767) for first, _ in takes])
    np.savez_compressed(HERE / "furniture.npz", points=points.astype(np.int16))

    table["original"] = [
        original(libraries[library], model, creator)
        for (library, model, _), creator in zip(rows, table["creator"], strict=True)
    ]
    table["group"] = find_groups(table, meshes, takes)
    table["split"] = split_all(table)
    table["transfer_split"] = split_transfer(table)
    table.to_csv(HERE / "furniture.csv", index=False, lineterminator="\n")

    families: dict[int, list[str]] = defaultdict(list)
    for group, name in zip(table["group"], table["model"], strict=True):
        families[group].append(PurePosixPath(name).stem)
    print(*(" ".join(members) for members in families.values() if len(members) > 1), sep="\n")
    print(pd.crosstab(table["class"], [table["split"]], margins=True).to_string())
    print(pd.crosstab(table["class"], [table["transfer_split"]], margins=True).to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
