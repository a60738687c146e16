"""USGRA-Seg: the real images, and a tiny copy with every kind of damage."""

import numpy as np
import pytest
from echo_files import cut
from PIL import Image

from benchmark.catalog import load_task
from benchmark.datacheck import check_task
from benchmark.prepare import read_row
from tasks.echo.usgra_seg import COMMIT

PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0]


def picture(folder, name, seed, colour=False, side=48):
    rng = np.random.default_rng(seed)
    mask = np.zeros((side, side + 8), np.uint8)
    mask[8:24, 8:24], mask[26:40, 26:44] = 1, 2
    grey = (40 + 60 * mask + rng.integers(0, 20, mask.shape)).astype(np.uint8)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(grey)
    (image.convert("RGB") if colour else image).save(folder / "images" / name)
    labels = Image.fromarray(mask)
    labels.putpalette(PALETTE)  # index-coloured, the indices unchanged
    labels.save(folder / "masks" / name)


@pytest.fixture
def root(tmp_path):
    data = tmp_path / "data"
    for i in range(10):
        picture(data / "USGRA-Seg", f"{i:04d}.png", i, colour=i % 2 == 0)
    for i in range(10, 14):
        picture(data / "USGRA-Seg" / "test", f"{i:04d}.png", i)
    return data


@pytest.mark.long
@pytest.mark.shared_data
def test_real_images(shared_data, findings, score):
    found = findings("usgra-seg", shared_data)
    assert all(finding.passed for finding in found.values())
    assert "94 train, 40 test" in found["examples"].detail
    data = load_task("usgra-seg", shared_data).load()
    row = read_row(data["test"], [str(i) for i in data["test"]["id"]].index("0132"))
    assert row["input"]["video"].shape == (1, 512, 534)  # RGB in the file
    assert row["target"].shape == (512, 534)
    assert set(np.unique(row["target"])) <= {0, 1, 2}
    assert 0.06 < score("usgra-seg", shared_data, "flow-statistics").score.value < 0.25


def test_a_small_copy_is_scored(root, findings, score):
    assert all(finding.passed for finding in findings("usgra-seg", root).values())
    assert score("usgra-seg", root, "flow-statistics").score.value > 0.5


def test_what_is_fetched_is_read(root, tmp_path, fetched, findings):
    copy = tmp_path / "archive" / "usgra-seg-1" / "dataset"
    (copy.parent / "models").mkdir(parents=True)
    (copy.parent / "README.md").write_text("not wanted")
    (root / "USGRA-Seg").rename(copy)
    address = f"https://github.com/tmkand/usgra-seg/archive/{COMMIT}.zip"
    fetched("usgra-seg", {address: copy.parents[1]}, tmp_path / "new")
    found = findings("usgra-seg", tmp_path / "new")
    assert all(finding.passed for finding in found.values())


def no_mask(folder):
    (folder / "masks" / "0003.png").unlink()


def no_image(folder):
    (folder / "test" / "images" / "0012.png").unlink()


def truncated(folder):
    cut(folder / "images" / "0001.png")


def other_class(folder):
    labels = Image.open(folder / "masks" / "0002.png")
    values = np.array(labels)
    values[0, 0] = 3
    Image.fromarray(values).save(folder / "masks" / "0002.png")


def other_size(folder):
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(folder / "masks" / "0002.png")


def in_colour(folder):
    labels = Image.open(folder / "masks" / "0002.png").convert("RGB")
    labels.save(folder / "masks" / "0002.png")


def twice(folder):
    picture(folder / "test", "0001.png", 1)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_mask, ["masks/0003.png", "is missing"]),
        (no_image, ["images/0012.png", "is missing"]),
        (truncated, ["images/0001.png", "get the file again"]),
        (other_class, ["masks/0002.png", "classes are 0 to 2"]),
        (other_size, ["masks/0002.png", "pixels"]),
        (in_colour, ["masks/0002.png", "not class numbers"]),
        (twice, ["0001"]),
    ],
)
def test_damage_is_told_by_name(root, refused, damage, words):
    damage(root / "USGRA-Seg")
    told = refused("usgra-seg", root)
    assert all(word in told for word in words), told


def test_every_lacking_file_is_told_by_the_check(root):
    no_mask(root / "USGRA-Seg")
    no_image(root / "USGRA-Seg")
    truncated(root / "USGRA-Seg")
    problems = [f.detail for f in check_task(load_task("usgra-seg", root)) if not f.passed]
    for words in ("masks/0003.png is missing", "images/0012.png is missing", "images/0001.png"):
        assert any(words in problem for problem in problems), (words, problems)


def test_without_the_test_images(root, refused):
    for path in (root / "USGRA-Seg" / "test").rglob("*.png"):
        path.unlink()
    assert "test/images/*.png" in refused("usgra-seg", root)
