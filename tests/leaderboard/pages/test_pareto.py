"""The Pareto front against its definition."""

import numpy as np
import pytest

from leaderboard.pages.charts import pareto


@pytest.mark.parametrize("smaller", [True, False])
def test_the_front_is_what_nothing_beats(smaller: bool) -> None:
    rng = np.random.default_rng(0)
    points = [(float(x), float(y)) for x, y in rng.integers(0, 12, (60, 2))]

    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        cheaper = a[0] <= b[0] if smaller else a[0] >= b[0]
        return cheaper and a[1] >= b[1] and a != b

    expected = sorted({p for p in points if not any(beats(q, p) for q in points)})
    assert pareto(points, smaller) == expected
    assert pareto([], smaller) == []
