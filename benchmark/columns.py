"""Arrow arrays of the fields of consecutive examples, built from whole buffers.

`pyarrow.array` imports pandas, which costs each process that decodes more than a second of CPU, so
what examples consist of (NumPy arrays, numbers, texts, lists and dicts of them) is laid out here by
the column format: https://arrow.apache.org/docs/format/Columnar.html. It serves for all else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def array_type(item: pa.DataType) -> pa.DataType:
    """The stored type of arrays of `item`."""
    return pa.struct([("values", pa.list_(item)), ("shape", pa.list_(pa.int64()))])


def column(values: Sequence[Any], kind: pa.DataType | None = None) -> pa.Array:
    """The Arrow array of one field of consecutive examples, null where one has none.

    An array of any shape becomes a struct of its flat values and its shape.

    Raises:
        pa.ArrowException: values of different types, or too many for one array.
        OverflowError: an integer of more than 64 bits.
    """
    present = [value for value in values if value is not None]
    if not present:
        return pa.nulls(len(values), kind)
    types = {type(value) for value in present}
    if any(issubclass(found, np.generic) for found in types):
        values = [value.item() if isinstance(value, np.generic) else value for value in values]
        return column(values, kind)
    if isinstance(present[0], np.ndarray):
        made = _stored_arrays(values, present)
    elif isinstance(present[0], Mapping):
        made = _structs(values, kind)
    elif types == {str}:
        made = _texts(values)
    elif types == {list}:
        made = _lists(values, present, kind)
    elif types <= {int, float}:
        number = np.float64 if float in types else np.int64
        full = np.array([0 if value is None else value for value in values], number)
        made = _flat(full, _validity(values))
    else:
        made = pa.array(values, kind)
    return made if kind is None or made.type == kind else made.cast(kind)


def _flat(values: NDArray[Any], validity: pa.Buffer | None = None) -> pa.Array:
    """(N,) numbers without a copy."""
    if values.dtype.kind not in "iuf":
        return pa.array(values)
    kind = pa.from_numpy_dtype(values.dtype)
    buffers = [validity, pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _validity(values: Sequence[Any]) -> pa.Buffer | None:
    """The bitmap of what is there; None where all is."""
    there = [value is not None for value in values]
    return None if all(there) else pa.py_buffer(np.packbits(there, bitorder="little"))


def _ends(sizes: Sequence[int]) -> NDArray[np.int32]:
    """Offsets of consecutive lists of these sizes, (N + 1,)."""
    if sum(sizes) > np.iinfo(np.int32).max:
        raise pa.ArrowCapacityError("an array of more than 2,147,483,647 values")
    return np.cumsum([0, *sizes]).astype(np.int32)


def _texts(values: Sequence[str | None]) -> pa.Array:
    encoded = [b"" if value is None else value.encode() for value in values]
    ends = _ends([len(text) for text in encoded])
    buffers = [_validity(values), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def _lists(values: Sequence[Any], present: Sequence[Any], kind: pa.DataType | None) -> pa.Array:
    item = kind.value_type if kind is not None and pa.types.is_list(kind) else None
    inside = column([item for value in present for item in value], item)
    ends = _ends([0 if value is None else len(value) for value in values])
    buffers = [_validity(values), pa.py_buffer(ends)]
    return pa.Array.from_buffers(pa.list_(inside.type), len(values), buffers, children=[inside])


def _stored_arrays(values: Sequence[Any], present: Sequence[Any]) -> pa.Array:
    strange = [value for value in present if not isinstance(value, np.ndarray)]
    kinds = {value.dtype for value in present if isinstance(value, np.ndarray)}
    if strange or len(kinds) > 1:
        told = " and ".join(sorted({str(k) for k in kinds} | {type(v).__name__ for v in strange}))
        raise pa.ArrowTypeError(f"arrays of {told}")
    flat = [value.reshape(-1) for value in present]
    ends = _ends([0 if value is None else value.size for value in values])
    joined = flat[0] if len(flat) == 1 else np.concatenate(flat)
    joined = joined.astype(joined.dtype.newbyteorder("="), copy=False)
    axes = _ends([0 if value is None else value.ndim for value in values])
    lengths = np.array([length for value in present for length in value.shape], np.int64)
    lists = pa.ListArray.from_arrays(_flat(ends), _flat(joined))
    shapes = pa.ListArray.from_arrays(_flat(axes), _flat(lengths))
    return _struct([lists, shapes], ["values", "shape"], values)


def _structs(values: Sequence[Any], kind: pa.DataType | None) -> pa.Array:
    known = {} if kind is None else {field.name: field.type for field in kind}
    names = known or dict.fromkeys(
        name for value in values if value for name in value if value[name] is not None
    )
    children = [
        column([None if value is None else value.get(name) for value in values], known.get(name))
        for name in names
    ]
    return _struct(children, list(names), values)


def _struct(children: Sequence[pa.Array], names: Sequence[str], values: Sequence[Any]) -> pa.Array:
    kind = pa.struct([(name, child.type) for name, child in zip(names, children, strict=True)])
    validity = [_validity(values)]
    return pa.Array.from_buffers(kind, len(values), validity, children=list(children))
