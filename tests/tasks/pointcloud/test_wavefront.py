import numpy as np
import pytest

from benchmark.errors import DatasetError
from tasks.pointcloud.near_duplicates import chamfer, components, noise_ratios
from tasks.pointcloud.wavefront import read_triangles, sample_surface, triangle_areas, unit_sphere

SQUARE = "v 0 0 0\nv 2 0 0\nv 2 2 0\nv 0 2 0\n"


def test_polygons_become_fans_and_keep_their_area() -> None:
    triangles = read_triangles(SQUARE + "f 1/1/1 2/2/1 3/3/1 4/4/1\n")
    assert triangles.shape == (2, 3, 3)
    assert triangle_areas(triangles).sum() == pytest.approx(4)


def test_negative_indices_count_from_the_last_vertex() -> None:
    forward = read_triangles(SQUARE + "f 1 2 3\n")
    backward = read_triangles(SQUARE + "f -4 -3 -2\n")
    np.testing.assert_array_equal(forward, backward)


def test_faces_without_area_and_second_sides_are_left_out() -> None:
    faces = "f 1 2 3\nf 3 2 1\nf 1 1 2\nf 1 2 5\n"
    triangles = read_triangles(SQUARE + "v 4 0 0\nv 0 0 0\n" + faces + "f 6 2 3\n")
    assert len(triangles) == 1  # the last face repeats the first by another vertex at one place


@pytest.mark.parametrize("faces", ["f 1 2 9\n", "f 1 1 1\n", ""])
def test_a_damaged_mesh_is_named(faces: str) -> None:
    with pytest.raises(DatasetError, match="stool"):
        read_triangles(SQUARE + faces, "stool")


def test_points_lie_on_the_surface_in_proportion_to_area() -> None:
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 5\nv 3 0 5\nv 0 1 5\nf 1 2 3\nf 4 5 6\n"
    points = sample_surface(read_triangles(text), 4000, np.random.default_rng(0))
    heights = points[:, 2].round(9)
    assert set(np.unique(heights)) == {0.0, 5.0}
    assert (heights == 5).mean() == pytest.approx(0.75, abs=0.001)  # stratified
    low = points[heights == 0]
    # uniform over the right triangle: the mean is its centroid
    np.testing.assert_allclose(low[:, :2].mean(0), [1 / 3, 1 / 3], atol=0.02)
    assert (low[:, :2].sum(1) <= 1 + 1e-12).all()


def test_unit_sphere() -> None:
    points = unit_sphere(np.random.default_rng(0).normal(size=(50, 3)) * [1, 5, 2] + 7)
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1)
    np.testing.assert_allclose(points.min(0), -points.max(0))


def _box(rng: np.random.Generator, sides: tuple[float, float, float]) -> np.ndarray:
    x, y, z = sides
    corners = [(i * x, j * y, k * z) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    quads = ["1 2 4 3", "5 6 8 7", "1 2 6 5", "3 4 8 7", "1 3 7 5", "2 4 8 6"]
    text = "".join(f"v {a} {b} {c}\n" for a, b, c in corners) + "".join(f"f {q}\n" for q in quads)
    return unit_sphere(sample_surface(read_triangles(text), 512, rng))


def test_a_turned_copy_is_near_and_another_shape_is_not() -> None:
    rng = np.random.default_rng(1)
    sides = [(1, 2, 3), (3, 2, 1), (1, 1, 1), (1, 2, 3)]  # the second: the first, turned
    first = [_box(rng, s) for s in sides]
    second = [_box(rng, s) for s in sides]
    found = {(i, j): r for r, i, j in noise_ratios(first, second, ["a", "a", "a", "b"])}
    assert found[1, 0] < 1.2
    assert found.get((2, 0), 9) > 1.5
    assert not any(3 in pair for pair in found)  # another class is never compared


def test_chamfer_against_all_distances() -> None:
    a, b = np.random.default_rng(2).normal(size=(2, 30, 3))
    distances = np.linalg.norm(a[:, None] - b, axis=2)
    assert chamfer(a, b) == pytest.approx((distances.min(0).mean() + distances.min(1).mean()) / 2)


def test_components() -> None:
    assert components(6, [(4, 1), (1, 3), (5, 0)]) == [0, 1, 2, 1, 1, 0]
