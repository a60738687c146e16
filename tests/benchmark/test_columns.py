"""Columns of examples are the arrays that Arrow itself makes, without what it imports for them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from benchmark.columns import array_type, column

BIG = 1 << 40


@pytest.mark.parametrize(
    "values",
    [
        [1, None, -BIG],
        [np.int64(3), np.int64(4)],
        [0.5, 2, None],
        [True, None, False],
        ["a", None, "", "grüße 测试"],
        [["I", "aVR"], None, [], ["V1"]],
        [[1.5], [2.5, 3.5]],
        [[], []],
        [[None, 1], [2]],
        [b"a", b"bc"],
        [None, None],
        [{"a": 1, "b": ["x"]}, None, {"a": 2, "b": []}],
    ],
)
def test_plain_values_are_as_arrow_lays_them_out(values: list[object]) -> None:
    made = column(values)
    made.validate(full=True)
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    assert made.equals(pa.array(plain))


@pytest.mark.parametrize("kind", ["i8", "u1", "f4", "f2", "?", ">i4"])
def test_arrays_keep_values_and_shape(kind: str) -> None:
    values = [np.arange(6).reshape(2, 3), None, np.zeros((0, 4)), np.array(7)]
    arrays = [None if value is None else value.astype(kind) for value in values]
    made = column(arrays, array_type(pa.from_numpy_dtype(np.dtype(kind.lstrip(">")))))
    made.validate(full=True)
    expected = [
        None if value is None else {"values": value.ravel().tolist(), "shape": list(value.shape)}
        for value in arrays
    ]
    assert made.to_pylist() == expected


def test_types_follow_the_schema_or_are_refused() -> None:
    assert column([1, 2], pa.float64()).equals(pa.array([1.0, 2.0]))
    assert column([None, None], pa.string()).type == pa.string()
    assert column([[]], pa.list_(pa.string())).type == pa.list_(pa.string())
    for wrong, kind in (([1.5], pa.int64()), (["a", 1], None), ([np.zeros(2), [1]], None)):
        with pytest.raises(pa.ArrowException):
            column(wrong, kind)
    with pytest.raises(OverflowError):
        column([1 << 70])


def test_decoding_processes_need_no_pandas() -> None:
    code = """
import sys
import numpy as np
from benchmark.encoding import encode
row = {"id": 1, "group": "g", "label": 2, "tags": np.zeros(3, np.int64), "score": 0.5, "none": None,
       "input": {"signal": np.ones((12, 5), np.float32), "leads": ["I", "II"], "sample_rate": 500}}
encode("example", [row, {**row, "id": 2, "label": None}], {}, None)
sys.exit("pandas" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
