"""Examples as Arrow record batches: checked, hashed and encoded, in whatever process decodes them.

An array is stored as a struct of flat `values` and its `shape`, so that reading it back is a view
on the mapped file and needs no decoding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from benchmark.errors import DatasetError

if TYPE_CHECKING:
    from benchmark.task import Task

MEASURED = ("fps", "sample_rate", "mpp")  # numbers that may be whole in one example only
Types = Mapping[str, Any]  # label column -> Arrow type


@dataclass(frozen=True)
class Encoded:
    """Some consecutive examples: an Arrow IPC stream of them, and what the whole has to know."""

    stream: bytes
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


def nbytes(value: Any) -> int:
    """Roughly the size of an example."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    return sum(map(nbytes, value.values())) if isinstance(value, Mapping) else 64


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
    plain = [
        {**example, "id": str(example["id"]), "group": str(example["group"])}
        for example in examples
    ]
    for row in plain:
        _check_finite(source, row["id"], row["input"])
    rows = [{key: _encoded(value, types.get(key)) for key, value in row.items()} for row in plain]
    for row in rows:
        for key in MEASURED:
            if row["input"].get(key) is not None:
                row["input"][key] = float(row["input"][key])
    try:
        if schema is None:
            schema = _typed(pa.Table.from_pylist(rows).schema, types)
        _check_fields(source, rows, schema)
        table = pa.Table.from_pylist(rows, schema=schema)
    except pa.ArrowException as error:
        raise DatasetError(
            f"{source}: examples differ in the type of a field ({error}); the task's code has to "
            "yield one type"
        ) from None
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(table)
    columns = [name for name in plain[0] if name not in ("id", "input")]
    encoded = Encoded(
        sink.getvalue().to_pybytes(),
        [row["id"] for row in plain],
        [row["group"] for row in plain],
        [sha256(row["input"]) for row in plain],
        {name: [sha256(row[name]) for row in plain] for name in columns},
    )
    return encoded, schema


def _encoded(value: Any, kind: Any = None) -> Any:
    if isinstance(value, np.ndarray):
        return {"values": value.reshape(-1), "shape": list(value.shape)}
    if isinstance(value, Mapping):
        return {key: _encoded(item) for key, item in value.items() if item is not None}
    if isinstance(value, np.generic):
        value = value.item()
    if kind == pa.float64() and isinstance(value, int):
        return float(value)
    return value


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
        surplus = (row.keys() - names) | (row["input"].keys() - inputs)
        if surplus:
            raise DatasetError(
                f"{source}: {row['id']!r} has {', '.join(sorted(surplus))}, which the examples "
                "before it lack; every example needs the same fields"
            )


def _check_finite(source: str, identity: str, arrays: Mapping[str, Any]) -> None:
    for name, value in arrays.items():
        if name == "metadata" or not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            continue  # catalogue values may be missing
        if not np.isfinite(value).all():
            raise DatasetError(
                f"{source}: {name} of {identity!r} holds NaN or infinite values; "
                "repair it or leave it out"
            )
