"""Objects that were observed more than once, found by their place on the sky."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def objects_at(ra: ArrayLike, dec: ArrayLike, within: float) -> list[str]:
    """Right ascensions and declinations in degrees -> the name of the object of each.

    Positions closer than `within` arcseconds are one object, and so are those that a chain of such
    positions joins. An object is named by the first of its positions.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    right, declination = np.asarray(ra, np.float64), np.asarray(dec, np.float64)
    alpha, delta = np.radians(right), np.radians(declination)
    points = np.stack([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)])
    chord = 2 * np.sin(np.radians(within / 3600) / 2)
    near = cKDTree(points.T).query_pairs(chord, output_type="ndarray")
    size = len(alpha)
    links = coo_array((np.ones(len(near)), (near[:, 0], near[:, 1])), shape=(size, size))
    members = connected_components(links, directed=False)[1]
    first = np.unique(members, return_index=True)[1][members]
    return [f"J{right[i]:010.6f}{declination[i]:+010.6f}" for i in first]
