"""A task's examples, prepared once into memory-mapped Arrow files.

One folder per (source, version, code, files): `<split>.arrow` in Arrow's stream format and
`prepared.json` with the counts and the fingerprint of every split's inputs, written last. An array
is stored as a struct of flat `values` and its `shape`, so that reading it back is a view on the
mapped file and needs no decoding.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmark.errors import DatasetError
from benchmark.paths import cache_root, explained, file_sha256

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from benchmark.task import Task

log = logging.getLogger("ssl_bench")
FORMAT = 2  # of the prepared files
BATCH_BYTES = 32 << 20  # rows are buffered up to this size


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"values": value.reshape(-1), "shape": list(value.shape)}
    if isinstance(value, Mapping):
        return {key: _encode(item) for key, item in value.items() if item is not None}
    if isinstance(value, np.generic):
        return value.item()
    return value


def decode(value: pa.Scalar) -> Any:
    """A stored Arrow scalar as Python: arrays as read-only numpy views on the mapped file."""
    if isinstance(value, pa.StructScalar) and value.is_valid:
        names = [f.name for f in value.type]
        if names == ["values", "shape"]:
            return value["values"].values.to_numpy().reshape(value["shape"].as_py())
        return {name: decode(value[name]) for name in names if value[name].is_valid}
    return value.as_py()


def read_rows(dataset: Dataset, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Rows of a prepared dataset: `input` (dict), labels or `target`, `group`, `id`, `bag` if any.

    Arrays are read-only views on the mapped file.
    """
    arrow = dataset.with_format("arrow")
    for index in rows:
        row = arrow[index]
        yield {name: decode(row.column(name)[0]) for name in row.column_names}


def read_row(dataset: Dataset, index: int) -> dict[str, Any]:
    """One row, as `read_rows` gives it."""
    return next(read_rows(dataset, [index]))


def _nbytes(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    return sum(map(_nbytes, value.values())) if isinstance(value, Mapping) else 64


def update_hash(digest: Any, value: Any) -> None:
    """Feed one input to a hash, type and shape included."""
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).view(np.uint8).data)
    elif isinstance(value, Mapping):
        for key in sorted(value):
            digest.update(str(key).encode())
            update_hash(digest, value[key])
    else:
        digest.update(repr(value).encode())


def _code_hash(task: Task) -> str:
    """Hash of the modules that make the examples: the task's class and its bases outside here."""
    digest = hashlib.sha256()
    for base in type(task).__mro__:
        if base.__module__.startswith("benchmark.") or base is object:
            continue
        with suppress(OSError, TypeError):
            digest.update(Path(inspect.getfile(base)).read_bytes())
    return digest.hexdigest()[:16]


def _files_hash(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        stat = path.stat()
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _class_lists(task: Task) -> str:
    """The classes of every task of the same source file: labels are indices into them."""
    from benchmark.catalog import task_cards

    module = type(task).__module__
    cards = [card for card in task_cards() if card.implementation.startswith(f"{module}:")]
    return json.dumps([[card.name, card.target.classes] for card in cards or [task.card]])


def prepared_folder(task: Task) -> Path:
    """Where the prepared copy of the task's dataset belongs."""
    identity = f"{FORMAT} {task.version} {_code_hash(task)} {_files_hash(task.files())}"
    identity += f" {_class_lists(task)}"
    name = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return cache_root() / "datasets" / f"{task.source}-{name}"


def _batches(task: Task, split: str, digest: Any, ids: set[str]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    size = 0
    for example in task.examples(split):
        row = {**example, "id": str(example["id"]), "group": str(example["group"])}
        if row["id"] in ids:
            raise DatasetError(
                f"{task.source}: the id {row['id']!r} stands twice; ids must be unique"
            )
        ids.add(row["id"])
        _check_finite(task.source, row["id"], row["input"])
        update_hash(digest, {"id": row["id"], "input": row["input"]})
        rows.append({key: _encode(value) for key, value in row.items()})
        size += _nbytes(example)
        if size >= BATCH_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _check_finite(source: str, identity: str, arrays: Mapping[str, Any]) -> None:
    for name, value in arrays.items():
        if name == "metadata" or not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            continue  # catalogue values may be missing
        if not np.isfinite(value).all():
            raise DatasetError(
                f"{source}: {name} of {identity!r} holds NaN or infinite values; "
                "repair it or leave it out"
            )


def _writable(schema: pa.Schema) -> pa.Schema:
    """The schema to write with; columns that were all None in the first batch become floats."""
    fields = [pa.field(f.name, pa.float64()) if pa.types.is_null(f.type) else f for f in schema]
    return pa.schema(fields)


def _write_split(task: Task, split: str, path: Path, ids: set[str]) -> dict[str, Any]:
    digest, count, writer = hashlib.sha256(), 0, None
    labels: dict[str, Any] = {}
    with pa.OSFile(str(path), "wb") as sink:
        for rows in _batches(task, split, digest, ids):
            if writer is None:
                schema = _writable(pa.Table.from_pylist(rows).schema)
                writer = pa.ipc.new_stream(sink, schema)
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            count += len(rows)
            for row in rows:
                for name in row.keys() - {"input", "id"}:
                    update_hash(labels.setdefault(name, hashlib.sha256()), {row["id"]: row[name]})
        if writer is None:
            raise DatasetError(f"{task.source}: the split {split!r} is empty")
        writer.close()
    return {
        "examples": count,
        "fingerprint": digest.hexdigest(),
        "labels": {name: column.hexdigest() for name, column in sorted(labels.items())},
        "sha256": file_sha256(path),
    }


def prepare(task: Task) -> Path:
    """Write the prepared copy unless it is there whole; safe against kills and concurrent runs.

    Raises:
        DatasetError: the dataset is missing or damaged.
        SslBenchError: the cache folder is full or unusable.
    """
    folder = prepared_folder(task)
    if _record_in(folder) is not None:
        return folder
    with explained(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            ids: set[str] = set()
            splits = {
                split: _write_split(task, split, scratch / f"{split}.arrow", ids)
                for split in task.splits
            }
            record = {"source": task.source, "format": FORMAT, "splits": splits}
            (scratch / "prepared.json").write_text(json.dumps(record, indent=1))
            if folder.exists() and _record_in(folder) is None:
                log.warning("the prepared copy %s is damaged; it is prepared again", folder)
                shutil.rmtree(folder)
            try:
                os.rename(scratch, folder)
            except OSError:
                if _record_in(folder) is None:  # else another process was first: the same copy
                    raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _record_in(folder: Path) -> dict[str, Any] | None:
    """The record of a prepared copy; None where there is none, or a damaged one."""
    try:
        record: dict[str, Any] = json.loads((folder / "prepared.json").read_text())
        whole = all(
            {"fingerprint", "labels", "sha256"} <= s.keys() for s in record["splits"].values()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if whole else None


def fingerprints(task: Task) -> dict[str, str]:
    """Hash of the inputs of every split: what embeddings depend on (targets are not in it)."""
    return {name: split["fingerprint"] for name, split in _record(task)["splits"].items()}


def data_identity(task: Task) -> dict[str, str]:
    """Hash of the inputs, the target column, the groups and the bags of every split."""
    identity = {}
    for name, split in _record(task)["splits"].items():
        parts = [split["labels"].get(key, "") for key in (task.card.target.column, "group", "bag")]
        identity[name] = hashlib.sha256(
            " ".join([split["fingerprint"], *parts]).encode()
        ).hexdigest()
    return identity


def _record(task: Task) -> dict[str, Any]:
    record = _record_in(prepare(task))
    if record is None:
        raise DatasetError(f"{task.source}: its prepared copy vanished; run the command again")
    return record


@cache
def _is_whole(path: Path, sha256: str, changed: int) -> bool:
    """Whether a prepared file has its checksum; asked once per process and state of the file."""
    return file_sha256(path) == sha256


def open_source(task: Task, split: str) -> Dataset:
    """One split of the task's source, memory-mapped: every row, every label column.

    The file's checksum is verified; a damaged copy is prepared again.
    """
    import datasets

    stated = _record(task)["splits"][split]["sha256"]
    folder = prepared_folder(task)
    path = folder / f"{split}.arrow"
    if not path.is_file() or not _is_whole(path, stated, path.stat().st_mtime_ns):
        log.warning("the prepared file %s is damaged; it is prepared again", path)
        (folder / "prepared.json").unlink(missing_ok=True)
        prepare(task)
    return datasets.Dataset.from_file(str(path))


def labelled_rows(task: Task, split: str, data: Dataset) -> NDArray[np.intp]:
    """Indices of the source's rows that belong to the task: those with a label.

    Raises:
        DatasetError: no such label column, or no labelled row.
    """
    column = task.card.target.column
    if column not in data.column_names:
        raise DatasetError(
            f"{task.card.name}: the card's target column {column!r} is not among the labels "
            f"of {task.source} ({', '.join(data.column_names)}): correct the card"
        )
    rows = np.flatnonzero(np.asarray(data.data.column(column).is_valid()))
    if not len(rows):
        raise DatasetError(f"{task.card.name}: the split {split!r} has no labelled example")
    return rows


def load_prepared(task: Task) -> DatasetDict:
    """Memory-map the prepared files and put the task's own label column in place as `target`."""
    import datasets

    column = task.card.target.column
    loaded = datasets.DatasetDict()
    for split in task.splits:
        data = open_source(task, split)
        rows = labelled_rows(task, split, data)
        if len(rows) < len(data):
            data = data.select(rows)
        keep = {"input", "group", "id", "bag", column}
        data = data.remove_columns([name for name in data.column_names if name not in keep])
        loaded[split] = data.rename_column(column, "target") if column != "target" else data
    return loaded
