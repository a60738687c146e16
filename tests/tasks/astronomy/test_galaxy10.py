"""Galaxy10 DECaLS in a generated file of the official layout."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from benchmark.catalog import load_task
from benchmark.prepare import read_row
from tasks.astronomy import galaxy10

TASK = "galaxy10-decals"
FILE = "Galaxy10_DECals.h5"
COUNT = 50


def write(root: Path, **changes) -> Path:
    """Keys, shapes and types of the published file; sorted by class as that is."""
    rng = np.random.default_rng(0)
    answers = np.sort(np.arange(COUNT) % 10).astype(np.uint8)
    images = rng.integers(0, 40, (COUNT, 256, 256, 3), np.uint8)
    images[:, 100:150, 100:150] += (20 * answers)[:, None, None, None]
    columns = {
        "images": images,
        "ans": answers,
        "ra": rng.uniform(0, 360, COUNT),
        "dec": rng.uniform(-10, 30, COUNT),
        "redshift": np.full(COUNT, np.nan),
        "pxscale": np.full(COUNT, 0.262),
    }
    path = root / "galaxy10-decals" / FILE
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in {**columns, **changes}.items():
            if values is not None:
                packed = "lzf" if name == "images" else None
                file.create_dataset(name, data=values, compression=packed)
    return path


@pytest.mark.parametrize("block", [7, 256])
def test_images_and_folds(tmp_path, findings, monkeypatch, block):
    monkeypatch.setattr(galaxy10, "BLOCK", block)
    path = write(tmp_path)
    assert all(found.passed for found in findings(TASK, tmp_path).values())
    data = load_task(TASK, tmp_path).load()
    assert [len(split) for split in data.values()] == [10] * 5
    row = read_row(data["fold-2"], 3)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(row["input"]["image"], file["images"][int(row["id"])])
        assert row["target"] == file["ans"][int(row["id"])]


def galaxy(answer: int, seed: int) -> np.ndarray:
    """(256, 256, 3): round, cigar-shaped, barred or with arms, on noise; other classes two of
    these side by side."""
    rng = np.random.default_rng(seed)
    axis = np.arange(256) - 127.5
    turn = rng.uniform(0, np.pi)
    x = axis[None] * np.cos(turn) + axis[:, None] * np.sin(turn)
    y = axis[:, None] * np.cos(turn) - axis[None] * np.sin(turn)
    flat = (1, 1, 1, 0.6, 0.15, 0.8, 0.9, 0.9, 0.08, 0.2)[answer]
    radius, angle = np.hypot(x, y / flat), np.arctan2(y, x)
    light = np.exp(-radius / rng.uniform(18, 24))
    if answer in (5, 6, 7):  # barred, tight and loose arms
        winding = {5: 0.0, 6: 0.2, 7: 0.06}[answer]
        light *= 1 + 0.8 * np.cos(2 * angle + winding * radius)
    if answer in (0, 1):  # disturbed, merging
        light = np.maximum(light, 0.8 * np.exp(-np.hypot(x - 40 - 25 * answer, y) / 14))
    if answer == 9:  # bulge
        light += 0.8 * np.exp(-np.hypot(x, y) / 8)
    colour = np.array([1, 0.8, 0.6 + 0.02 * answer])
    image = 180 * light[..., None] * colour + rng.normal(12, 3, (256, 256, 3))
    return image.clip(0, 255).astype(np.uint8)


@pytest.mark.long
def test_images_score(tmp_path, score):
    answers = np.sort(np.arange(COUNT) % 10)
    write(tmp_path, images=np.stack([galaxy(a, i) for i, a in enumerate(answers)]))
    result = score(TASK, tmp_path, "astro-statistics")
    assert result.metrics["accuracy"].value > 0.6
    assert score(TASK, tmp_path, "random-astro-transformer").metrics["accuracy"].value > 0.1


CURVES = """
import torch
class Curves(torch.nn.Module):
    modality, input = "astronomy", {}
    def forward(self, photometry=None, lengths=None, spectrum=None, metadata=None):
        return photometry.mean(1)
"""


def test_encoders_that_ask_for_no_images_have_no_score(tmp_path, score):
    write(tmp_path)
    (tmp_path / "curves.py").write_text(CURVES)
    with pytest.raises(AssertionError, match="the encoder takes photometry, spectrum, metadata"):
        score(TASK, tmp_path, f"{tmp_path / 'curves.py'}:Curves")


def test_a_galaxy_that_is_in_it_twice_is_in_one_fold(tmp_path):
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, COUNT), rng.uniform(-10, 30, COUNT)
    ra[45:], dec[45:] = ra[:5] + 1e-4, dec[:5] - 1e-4  # half an arcsecond; of another class
    write(tmp_path, ra=ra, dec=dec)
    fold = {}
    for split, rows in load_task(TASK, tmp_path).load().items():
        fold |= dict.fromkeys(map(int, rows["id"]), split)
    assert [fold[i] for i in range(5)] == [fold[i + 45] for i in range(5)]
    assert len(fold) == COUNT


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ans": np.full(COUNT, 10, np.uint8)}, "label 10"),
        ({"ra": None}, "has no ra"),
        ({"dec": np.full(COUNT, np.nan)}, "NaN in ra or dec"),
        ({"images": np.zeros((COUNT, 69, 69, 3), np.uint8)}, "(50, 69, 69, 3)"),
        ({"ans": np.zeros(COUNT - 1, np.uint8)}, "ans (49,)"),
    ],
)
def test_wrong_content_is_told(tmp_path, refused, changes, told):
    write(tmp_path, **changes)
    message = refused(TASK, tmp_path)
    assert told in message
    assert FILE in message
    assert "get the file again" in message


def test_a_file_cut_short_is_told(tmp_path, refused):
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:-5000])
    assert f"{FILE} cannot be read" in refused(TASK, tmp_path)


def test_missing_data_says_how_to_get_it(tmp_path, refused):
    assert "`ssl-bench data fetch galaxy10-decals` downloads it" in refused(TASK, tmp_path)
