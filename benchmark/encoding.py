"""Examples as Arrow record batches: checked, hashed and encoded, in whatever process decodes them.

An array is stored as a struct of flat `values` and its `shape`, so that reading it back is a view
on the mapped file and needs no decoding. Columns are built from whole arrays, never value by value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmark.columns import array_type, column
from benchmark.errors import DatasetError

if TYPE_CHECKING:
    from benchmark.task import Task

MEASURED = ("fps", "sample_rate", "mpp")  # numbers that may be whole in one example only
PIXELS = {"image": "(height, width, 3)", "video": "(frames, height, width[, 3])"}
PLAIN = (str, int, float)  # values that stand in a fingerprint as they are
Types = Mapping[str, Any]  # label column -> Arrow type


@dataclass(frozen=True)
class Encoded:
    """Some consecutive examples: Arrow's IPC message of them, and what the whole has to know."""

    message: pa.Buffer | memoryview | bytes
    ids: list[str]
    groups: list[str]
    inputs: bytes  # what goes into the fingerprint: each id with the sha256 of its input
    labels: dict[str, bytes]  # the same of every label column, `group` and `bag` included


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
    size = 0
    for value in (*example["input"].values(), *example.values()):
        size += value.nbytes if isinstance(value, np.ndarray) else 16
    return size


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


def _told(ids: Sequence[str], values: Sequence[Any]) -> bytes:
    """What a fingerprint takes of some consecutive values: the same for any division of them."""
    return b"".join(
        f"{identity}\0{value!r}\n".encode()
        if value is None or isinstance(value, PLAIN)
        else f"{identity}\0".encode() + sha256(value)
        for identity, value in zip(ids, values, strict=True)
    )


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
        for problem in input_problems(row["id"], row["input"]):
            raise DatasetError(f"{source}: {problem}")
    columns: dict[str, list[Any]] = {
        name: [row.get(name) for row in rows] for name in dict.fromkeys(k for r in rows for k in r)
    }
    columns["input"] = [_measured(row["input"]) for row in rows]
    try:
        if schema is None:
            found = {name: column(values, types.get(name)) for name, values in columns.items()}
            schema = _typed(pa.schema({name: array.type for name, array in found.items()}), types)
        _check_fields(source, rows, schema)
        missing = [None] * len(rows)
        arrays = [column(columns.get(field.name, missing), field.type) for field in schema]
        message = pa.RecordBatch.from_arrays(arrays, schema=schema).serialize()
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
        _told(columns["id"], [row["input"] for row in rows]),
        {name: _told(columns["id"], columns[name]) for name in names},
    )
    return encoded, schema


def _measured(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """An input with its measured numbers as floats."""
    numbers = {k: float(stored[k]) for k in MEASURED if stored.get(k) is not None}
    return {**stored, **numbers} if numbers else stored


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
        if row.keys() <= names and row["input"].keys() <= inputs:
            continue
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


def input_problems(identity: str, arrays: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the input of an example, and the remedy: NaN (which catalogue values may
    be), or an `image` or `video` that is not as the input specifications know it."""
    for name, stored in arrays.items():
        value = np.asarray(stored) if name in PIXELS and stored is not None else stored
        if not isinstance(value, np.ndarray):
            continue
        if name in PIXELS and not _is_picture(name, value):
            yield (
                f"{identity!r}: {name} is {value.dtype} of shape {value.shape}, not uint8 of shape "
                f"{PIXELS[name]}: convert it in the task's code"
            )
        elif name != "metadata" and value.dtype.kind == "f" and not is_finite(value):
            yield (
                f"{name} of {identity!r} holds NaN or infinite values; repair it or leave it out"
            )


def _is_picture(name: str, value: NDArray[Any]) -> bool:
    colour = value.ndim == (3 if name == "image" else 4) and value.shape[-1] == 3
    grey = value.ndim == 3 and name == "video"
    return value.dtype == np.uint8 and (colour or grey)
