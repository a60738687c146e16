"""Examples as Arrow record batches: checked, hashed and encoded, in whatever process decodes them.

An array is stored as a struct of flat `values` and its `shape`, so that reading it back is a view
on the mapped file and needs no decoding. Columns are built from whole arrays, never value by value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmark.errors import DatasetError

if TYPE_CHECKING:
    from benchmark.task import Task

MEASURED = ("fps", "sample_rate", "mpp")  # numbers that may be whole in one example only
Types = Mapping[str, Any]  # label column -> Arrow type


@dataclass(frozen=True)
class Encoded:
    """Some consecutive examples: Arrow's IPC message of them, and what the whole has to know."""

    message: bytes | memoryview
    ids: list[str]
    groups: list[str]
    inputs: list[bytes]  # sha256 of each input
    labels: dict[str, list[bytes]]  # column -> sha256 of each value, `group` and `bag` included


def array_type(item: pa.DataType) -> pa.DataType:
    """The stored type of arrays of `item`."""
    return pa.struct([("values", pa.list_(item)), ("shape", pa.list_(pa.int64()))])


def label_types(task: Task) -> dict[str, pa.DataType]:
    """The type of every label column that a task of the same source has, by the kind of target."""
    from benchmark.catalog import task_cards

    kinds = {
        "multiclass": pa.int64(),
        "bags": pa.int64(),
        "regression": pa.float64(),
        "multilabel": array_type(pa.int64()),
        "frames": array_type(pa.float64()),
        "pairs": array_type(pa.int64()),
        "segmentation": array_type(pa.uint8()),
    }
    module = task.card.implementation.partition(":")[0]
    cards = [c for c in task_cards() if c.implementation.partition(":")[0] == module]
    return {card.target.column: kinds[card.target.kind] for card in (*cards, task.card)}


def nbytes(example: Mapping[str, Any]) -> int:
    """Roughly the size of an example."""
    arrays = (v.nbytes if isinstance(v, np.ndarray) else 64 for v in example["input"].values())
    labels = (value.nbytes for value in example.values() if isinstance(value, np.ndarray))
    return sum(arrays) + sum(labels)


def update_hash(digest: Any, value: Any) -> None:
    """Feed one input or label to a hash, type and shape included."""
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).view(np.uint8).data)
    elif isinstance(value, Mapping):
        for key in sorted(value):
            digest.update(str(key).encode())
            update_hash(digest, value[key])
    else:
        digest.update(repr(value).encode())


def sha256(value: Any) -> bytes:
    """The digest of one input or label."""
    digest = hashlib.sha256()
    update_hash(digest, value)
    return digest.digest()


def encode(
    source: str, examples: Sequence[Mapping[str, Any]], types: Types, schema: pa.Schema | None
) -> tuple[Encoded, pa.Schema]:
    """Check, hash and encode examples; without a schema it is inferred from them and `types`.

    Raises:
        DatasetError: NaN in an input, or examples that differ in their fields or types.
    """
    rows = [
        {**example, "id": str(example["id"]), "group": str(example["group"])}
        for example in examples
    ]
    for row in rows:
        _check_finite(source, row["id"], row["input"])
    columns: dict[str, list[Any]] = {
        name: [row.get(name) for row in rows] for name in dict.fromkeys(k for r in rows for k in r)
    }
    columns["input"] = [_measured(row["input"]) for row in rows]
    try:
        if schema is None:
            found = {name: _array(values, types.get(name)) for name, values in columns.items()}
            schema = _typed(pa.schema({name: array.type for name, array in found.items()}), types)
        _check_fields(source, rows, schema)
        missing = [None] * len(rows)
        arrays = [_array(columns.get(field.name, missing), field.type) for field in schema]
        message = pa.RecordBatch.from_arrays(arrays, schema=schema).serialize().to_pybytes()
    except (pa.ArrowException, OverflowError) as error:
        raise DatasetError(
            f"{source}: examples differ in the type of a field ({error}); the task's code has to "
            "yield one type"
        ) from None
    names = [name for name in rows[0] if name not in ("id", "input")]
    encoded = Encoded(
        message,
        columns["id"],
        columns["group"],
        [sha256(row["input"]) for row in rows],
        {name: [sha256(value) for value in columns[name]] for name in names},
    )
    return encoded, schema


def _measured(stored: Mapping[str, Any]) -> dict[str, Any]:
    """An input with its measured numbers as floats."""
    numbers = {k: float(stored[k]) for k in MEASURED if stored.get(k) is not None}
    return {**stored, **numbers}


def _array(values: Sequence[Any], kind: pa.DataType | None = None) -> pa.Array:
    """The Arrow array of one field of consecutive examples, null where one has none."""
    present = [value for value in values if value is not None]
    if not present:
        return pa.nulls(len(values), kind)
    if isinstance(present[0], np.ndarray):
        made = _stored_arrays(values, present)
    elif isinstance(present[0], Mapping):
        made = _structs(values, kind)
    else:
        made = pa.array([v.item() if isinstance(v, np.generic) else v for v in values], kind)
    return made if kind is None or made.type == kind else made.cast(kind)


def _stored_arrays(values: Sequence[Any], present: Sequence[Any]) -> pa.Array:
    strange = [value for value in present if not isinstance(value, np.ndarray)]
    kinds = {value.dtype for value in present if isinstance(value, np.ndarray)}
    if strange or len(kinds) > 1:
        told = " and ".join(sorted({str(k) for k in kinds} | {type(v).__name__ for v in strange}))
        raise pa.ArrowTypeError(f"arrays of {told}")
    flat = [value.reshape(-1) for value in present]
    sizes = [0 if value is None else value.size for value in values]
    if sum(sizes) > np.iinfo(np.int32).max:
        raise pa.ArrowCapacityError("an array of more than 2,147,483,647 values")
    ends = np.cumsum([0, *sizes]).astype(np.int32)
    joined = flat[0] if len(flat) == 1 else np.concatenate(flat)
    lists = pa.ListArray.from_arrays(pa.array(ends), pa.array(joined))
    shapes = pa.array([[] if v is None else v.shape for v in values], pa.list_(pa.int64()))
    return pa.StructArray.from_arrays([lists, shapes], ["values", "shape"], mask=_mask(values))


def _structs(values: Sequence[Any], kind: pa.DataType | None) -> pa.Array:
    known = {} if kind is None else {field.name: field.type for field in kind}
    names = known or dict.fromkeys(
        name for value in values if value for name in value if value[name] is not None
    )
    children = [
        _array([None if value is None else value.get(name) for value in values], known.get(name))
        for name in names
    ]
    return pa.StructArray.from_arrays(children, list(names), mask=_mask(values))


def _mask(values: Sequence[Any]) -> pa.Array | None:
    """True where a value is missing."""
    missing = [value is None for value in values]
    return pa.array(missing) if any(missing) else None


def _typed(schema: pa.Schema, types: Types) -> pa.Schema:
    """The schema to write with: columns that were all None so far get the type of their target."""
    fields = []
    for found in schema:
        kind = found.type
        if pa.types.is_null(kind):
            kind = types.get(found.name, pa.float64())
        fields.append(pa.field(found.name, kind))
    return pa.schema(fields)


def _check_fields(source: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Arrow would drop what the schema does not name."""
    names = set(schema.names)
    inputs = {field.name for field in schema.field("input").type}
    for row in rows:
        given = {name for name, value in row["input"].items() if value is not None}
        surplus = (row.keys() - names) | (given - inputs)
        if surplus:
            raise DatasetError(
                f"{source}: {row['id']!r} has {', '.join(sorted(surplus))}, which the examples "
                "before it lack; every example needs the same fields"
            )


def is_finite(value: NDArray[Any]) -> bool:
    """Whether an array of floats holds neither NaN nor infinity; makes no array of its size."""
    return not value.size or bool(np.isfinite(value.min()) and np.isfinite(value.max()))


def _check_finite(source: str, identity: str, arrays: Mapping[str, Any]) -> None:
    for name, value in arrays.items():
        if name == "metadata" or not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            continue  # catalogue values may be missing
        if not is_finite(value):
            raise DatasetError(
                f"{source}: {name} of {identity!r} holds NaN or infinite values; "
                "repair it or leave it out"
            )
