"""Matching of detected with annotated events."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ONSET_WINDOW = 0.05  # s, mir_eval.onset
BEAT_WINDOW = 0.07  # s, mir_eval.beat
COLLAR = 0.2  # s, DCASE
LENGTH_SHARE = 0.2


def match_events(
    truth: Array, found: Array, collar: float = ONSET_WINDOW, length_share: float | None = None
) -> Array:
    """Clips of the matched events, one entry per match of a maximum matching.

    `truth` (n, 3) and `found` (m, 3) hold onset s, offset s and clip index of the events of one
    class. Events of one clip may match if their onsets differ by at most `collar`; with
    `length_share`, offsets must also differ by at most max(collar, share of the true length).
    The definitions of `mir_eval.onset.f_measure` and of `sed_eval`'s event-based metrics
    (Mesaros et al. 2016, https://doi.org/10.3390/app6060162).
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    if not len(truth) or not len(found):
        return np.zeros(0, dtype=np.int64)
    # one time line for all clips: candidates by binary search, then the exact condition
    gap = max(truth[:, 0].max(), found[:, 0].max()) + 10 * collar + 1
    order = np.argsort(found[:, 2] * gap + found[:, 0], kind="stable")
    line = (found[:, 2] * gap + found[:, 0])[order]
    centre = truth[:, 2] * gap + truth[:, 0]
    first = np.searchsorted(line, centre - collar - 1e-6)
    number = np.searchsorted(line, centre + collar + 1e-6) - first
    i = np.repeat(np.arange(len(truth)), number)
    j = order[np.arange(number.sum()) - np.repeat(np.cumsum(number) - number - first, number)]
    near = (truth[i, 2] == found[j, 2]) & (abs(truth[i, 0] - found[j, 0]) <= collar)
    if length_share is not None:
        allowed = np.maximum(collar, length_share * (truth[:, 1] - truth[:, 0]))
        near &= abs(truth[i, 1] - found[j, 1]) <= allowed[i]
    graph = csr_matrix(
        (np.ones(near.sum(), dtype=np.int8), (i[near], j[near])), shape=(len(truth), len(found))
    )
    matched = maximum_bipartite_matching(graph, perm_type="column") >= 0
    clips: Array = truth[matched, 2].astype(np.int64)
    return clips
