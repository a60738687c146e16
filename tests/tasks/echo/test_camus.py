"""CAMUS: tiny copies of both official releases, NIfTI with its lists and MetaImage without."""

import numpy as np
import pytest
from echo_files import beating, change, cut, write_meta, write_nifti

from benchmark.catalog import load_task
from benchmark.errors import DatasetError
from benchmark.prepare import read_row
from tasks.echo.volume_files import read_images

VIEWS = ("2CH", "4CH")
TASKS = ("camus-ef", "camus-view", "camus-lv")
PATIENTS = 30


def mask(seed):
    y, x = np.mgrid[:32, :32] - 16
    far = np.hypot(y, x) + (seed % 3)
    return (np.digitize(-far, [-14, -11, -7]) * [[1]] % 4).astype(np.uint8)


def share(patient):
    return (patient * 7 % PATIENTS) / PATIENTS


def make(data, write, suffix, inside):
    for i in range(1, PATIENTS + 1):
        name, bright = f"patient{i:04d}", 0.2 + 0.8 * share(i)
        folder = data / inside / name
        for v, view in enumerate(VIEWS):
            sequence = beating(10 * i + v, bright)
            sequence[:, :, : 6 * v] = 0  # what makes the view
            labels = [mask(i), mask(i + 1)]
            named = {"half_sequence": sequence}
            for moment, frame, labelled in zip(("ED", "ES"), (0, 3), labels, strict=True):
                named[f"{moment}_gt"] = labelled[None]
                named[moment] = labelled[None] * 60 + sequence[frame : frame + 1] // 8
            for title, voxels in named.items():
                write(folder / f"{name}_{view}_{title}{suffix}", voxels)
            (folder / f"Info_{view}.cfg").write_text(
                f"ED: 1\nES: 4\nNbFrame: 6\nSex: F\nAge: 50\nImageQuality: Good\n"
                f"EF: {40 + 30 * share(i):.1f}\nFrameRate: 52.5\n"
            )


def write_flat_nifti(path, voxels):
    write_nifti(path, voxels[0] if len(voxels) == 1 else voxels)


@pytest.fixture
def nifti(tmp_path):
    data = tmp_path / "data" / "camus"
    make(data, write_flat_nifti, ".nii.gz", "database_nifti")
    (data / "database_split").mkdir()
    numbers = {"training": range(1, 17), "validation": range(17, 23), "testing": range(23, 31)}
    for title, members in numbers.items():
        text = "".join(f"patient{i:04d}\n" for i in members)
        (data / "database_split" / f"subgroup_{title}.txt").write_text(text)
    return tmp_path / "data"


@pytest.fixture
def meta(tmp_path):
    data = tmp_path / "data" / "camus"
    make(data, write_meta, ".mhd", "training")
    for view in VIEWS:  # the old challenge's test set: no masks
        for title in ("ED", "ES", "half_sequence"):
            write_meta(
                data / "testing" / "patient0451" / f"patient0451_{view}_{title}.mhd", beating(1)
            )
        (data / "testing" / "patient0451" / f"Info_{view}.cfg").write_text("EF: 50\n")
    return tmp_path / "data"


@pytest.mark.long
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("release", ["nifti", "meta"])
def test_checks_and_scores(request, findings, score, task, release):
    root = request.getfixturevalue(release)
    assert all(finding.passed for finding in findings(task, root).values())
    assert score(task, root, "flow-statistics").score.value > 0.2


def test_the_universitys_archive_is_fetched_and_read(nifti, tmp_path, fetched, findings):
    address = "https://humanheart-project.creatis.insa-lyon.fr/database/api/v1/folder/"
    address += "63fde55f73e9f004868fb7ac/download"
    fetched("camus-view", {address: nifti / "camus"}, tmp_path / "new")
    found = findings("camus-view", tmp_path / "new")
    assert all(finding.passed for finding in found.values())
    assert "32 train, 12 validation, 16 test" in found["examples"].detail


def test_examples_follow_the_official_lists(nifti):
    data = load_task("camus-view", nifti).load()
    assert [part.num_rows for part in data.values()] == [32, 12, 16]
    assert list(data["test"]["id"][:2]) == ["patient0023-2CH", "patient0023-4CH"]
    first = read_row(data["test"], 0)
    assert first["input"]["fps"] == 52.5
    file = (
        nifti / "camus" / "database_nifti" / "patient0023" / "patient0023_2CH_half_sequence.nii.gz"
    )
    assert np.array_equal(first["input"]["video"], read_images(file))
    frames = load_task("camus-lv", nifti).load()
    assert frames["train"].num_rows == 64
    assert set(np.unique(read_row(frames["train"], 0)["target"])) == {0, 1, 2, 3}


def test_without_lists_the_last_digit_splits(meta):
    data = load_task("camus-ef", meta).load()
    assert {str(g) for g in data["test"]["group"]} == {"patient0010", "patient0020", "patient0030"}
    assert {str(g)[-1] for g in data["validation"]["group"]} == {"9"}
    everyone = {str(g) for part in data.values() for g in part["group"]}
    assert "patient0451" not in everyone  # it has no masks


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_is_read_as_itk_writes_it(tmp_path, order, suffix):
    voxels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    write_nifti(tmp_path / f"a{suffix}", voxels, order)
    assert np.array_equal(read_images(tmp_path / f"a{suffix}"), voxels)


def test_nifti_scaling_is_applied_and_fractions_are_refused(tmp_path):
    import struct

    path = tmp_path / "a.nii"
    write_nifti(path, np.full((3, 4), 7, np.uint8))
    data = bytearray(path.read_bytes())
    struct.pack_into("<2f", data, 112, 2.0, 1.0)
    path.write_bytes(data)
    assert (read_images(path) == 15).all()
    struct.pack_into("<2f", data, 112, 0.3, 0.0)
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="not whole numbers"):
        read_images(path)


def test_metaimage_in_one_compressed_file(tmp_path):
    import zlib

    voxels = np.arange(24, dtype=">u2").reshape(2, 3, 4)
    (tmp_path / "a.mha").write_bytes(
        b"ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nBinaryDataByteOrderMSB = True\n"
        b"CompressedData = True\nElementType = MET_USHORT\nElementDataFile = LOCAL\n"
        + zlib.compress(voxels.tobytes())
    )
    assert np.array_equal(read_images(tmp_path / "a.mha"), voxels)


def patient(root, name="patient0002"):
    return root / "database_nifti" / name


@pytest.mark.parametrize(
    ("task", "damage", "words"),
    [
        ("ef", lambda d: (patient(d) / "patient0002_4CH_half_sequence.nii.gz").unlink(),
         ["patient0002_4CH_half_sequence.nii.gz", "is missing"]),
        ("ef", lambda d: cut(patient(d) / "patient0002_4CH_half_sequence.nii.gz"),
         ["patient0002_4CH_half_sequence.nii.gz", "cut short"]),
        ("ef", lambda d: change(patient(d) / "Info_2CH.cfg", "EF:", "EX:"),
         ["Info_2CH.cfg", "'EF:'"]),
        ("ef", lambda d: change(patient(d) / "Info_2CH.cfg", "EF: ", "EF: ~"),
         ["Info_2CH.cfg", "'EF'"]),
        ("lv", lambda d: (patient(d) / "patient0002_2CH_ES_gt.nii.gz").unlink(),
         ["patient0002_2CH_ES_gt.nii.gz"]),
        ("lv", lambda d: write_nifti(patient(d) / "patient0002_2CH_ES_gt.nii.gz",
                                     np.full((32, 32), 4, np.uint8)),
         ["patient0002_2CH_ES_gt.nii.gz", "0 to 3"]),
        ("lv", lambda d: write_nifti(patient(d) / "patient0002_2CH_ES_gt.nii.gz",
                                     np.zeros((16, 32), np.uint8)),
         ["patient0002_2CH_ES_gt.nii.gz", "pixels"]),
        ("ef", lambda d: (d / "database_split" / "subgroup_testing.txt").unlink(),
         ["subgroup_testing.txt"]),
        ("ef", lambda d: change(d / "database_split" / "subgroup_testing.txt", "0023", "0001"),
         ["patient0001", "two lists"]),
        ("ef", lambda d: change(d / "database_split" / "subgroup_testing.txt", "0023", "0999"),
         ["patient0999", "subgroup_testing.txt"]),
    ],
)  # fmt: skip
def test_damage_is_told_by_name(nifti, refused, task, damage, words):
    damage(nifti / "camus")
    told = refused(f"camus-{task}", nifti)
    assert all(word in told for word in words), told


def test_damaged_metaimages_are_told_by_name(meta, refused):
    folder = meta / "camus" / "training" / "patient0003"
    cut(folder / "patient0003_2CH_half_sequence.raw")
    assert "patient0003_2CH_half_sequence.raw is cut short" in refused("camus-ef", meta)
    (folder / "patient0003_2CH_half_sequence.raw").unlink()
    assert "patient0003_2CH_half_sequence.raw" in refused("camus-ef", meta)
    change(folder / "patient0003_2CH_half_sequence.mhd", "ElementDataFile", "File")
    assert "names no ElementDataFile" in refused("camus-ef", meta)
