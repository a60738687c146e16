"""A task's examples, prepared once into memory-mapped Arrow files.

One folder per (source, version, code, files): `<split>.arrow` in Arrow's stream format and
`prepared.json` with the counts and the fingerprint of every split's inputs, written last.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmark.encoding import Encoded, label_types
from benchmark.errors import DatasetError
from benchmark.identity import local_code
from benchmark.paths import cache_root, explained, file_checksum

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from benchmark.decoding import Decoders
    from benchmark.task import Task

log = logging.getLogger("ssl_bench")
FORMAT = 5  # of the prepared files
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"  # of Arrow's IPC stream format
ROWS_TOGETHER = 32  # consecutive rows looked up at once
TRUSTED_BYTES = 256 << 20  # larger files are not read anew while size and time are as recorded
Progress = Callable[[str, int], None]  # split, examples done


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
    arrow = in_arrow(dataset)
    for span in _consecutive(rows):
        table = arrow[span.start : span.stop]
        columns = {name: table.column(name) for name in table.column_names}
        for place in range(len(span)):
            yield {name: decode(column[place]) for name, column in columns.items()}


def in_arrow(dataset: Dataset) -> Dataset:
    """The dataset with rows as Arrow tables; to ask for once where rows are read bit by bit."""
    return dataset if dataset.format["type"] == "arrow" else dataset.with_format("arrow")


def _consecutive(rows: Sequence[int]) -> Iterator[range]:
    """Runs of rows that are looked up together."""
    if isinstance(rows, range) and rows.step == 1:
        yield from (rows[i : i + ROWS_TOGETHER] for i in range(0, len(rows), ROWS_TOGETHER))
    else:
        yield from (range(row, row + 1) for row in rows)


def read_row(dataset: Dataset, index: int) -> dict[str, Any]:
    """One row, as `read_rows` gives it."""
    return next(read_rows(dataset, [index]))


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
    if task.prepared is None:
        identity = f"{FORMAT} {task.version} {local_code(type(task))} {_files_hash(task.files())}"
        identity += f" {_class_lists(task)}"
        name = hashlib.sha256(identity.encode()).hexdigest()[:16]
        task.prepared = f"{task.source}-{name}"
    return cache_root() / "datasets" / task.prepared


class _Writer:
    """Writes the splits of a source and refuses what cannot be a sound dataset."""

    def __init__(self, task: Task, decoders: Decoders, progress: Progress) -> None:
        self.task, self.decoders, self.progress = task, decoders, progress
        self.types = label_types(task)
        self.ids: set[str] = set()
        self.holders: dict[str, str] = {}  # group -> split

    def write(self, split: str, path: Path) -> dict[str, Any]:
        """One split to one file; its part of the record."""
        inputs, labels = hashlib.sha256(), dict[str, Any]()
        count = 0
        with path.open("wb") as file, _Summed(file) as sink:
            for encoded, schema in self.decoders.encoded(split, self.types, path.parent):
                if not count:
                    sink.write(schema.serialize())
                self._accept(encoded, split)
                sink.write(encoded.message)
                inputs.update(encoded.inputs)
                for name, column in encoded.labels.items():
                    labels.setdefault(name, hashlib.sha256()).update(column)
                count += len(encoded.ids)
                self.progress(split, count)
            if not count:
                raise DatasetError(
                    f"{self.task.source}: the split {split!r} is empty; is the dataset whole? "
                    f"`ssl-bench data check {self.task.card.name}` tells more"
                )
            sink.write(END_OF_STREAM)
        stat = path.stat()
        return {
            "examples": count,
            "fingerprint": inputs.hexdigest(),
            "labels": {name: column.hexdigest() for name, column in sorted(labels.items())},
            "checksum": sink.digest.hexdigest(),
            "bytes": stat.st_size,
            "changed": stat.st_mtime_ns,
        }

    def _accept(self, encoded: Encoded, split: str) -> None:
        for identity, group in zip(encoded.ids, encoded.groups, strict=True):
            if identity in self.ids:
                raise DatasetError(
                    f"{self.task.source}: the id {identity!r} stands twice; ids must be unique: "
                    "remove the second one"
                )
            self.ids.add(identity)
            held = self.holders.setdefault(group, split)
            if held != split:
                raise DatasetError(
                    f"{self.task.source}: {self.task.card.grouping} {group!r} is in {held} and in "
                    f"{split} (example {identity!r}), so that training and test would not be "
                    "independent: get the official split again, unchanged"
                )


class _Summed:
    """A file whose checksum is taken while it is written, by a thread: what is written may still be
    under way while the next piece is decoded, but no two pieces are."""

    def __init__(self, file: BinaryIO) -> None:
        import xxhash

        self.file, self.digest = file, xxhash.xxh3_128()
        self._thread = ThreadPoolExecutor(1, "write")
        self._written: Future[None] | None = None

    def __enter__(self) -> _Summed:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown()
        if kind is None:
            self.settle()

    def write(self, data: Any) -> None:
        """Raises what the piece before met. A view on memory that will be gone is written now."""
        self.settle()
        self._written = self._thread.submit(self._write, data)
        if isinstance(data, memoryview):
            self.settle()

    def settle(self) -> None:
        """Wait until all is written."""
        if self._written is not None:
            self._written.result()

    def _write(self, data: Any) -> None:
        self.digest.update(data)
        self.file.write(data)


def prepare(
    task: Task, progress: Progress = lambda split, done: None, workers: int | None = None
) -> Path:
    """Write the prepared copy unless it is there whole; safe against kills and concurrent runs.

    Files are decoded by `workers` processes (default: one per core, at most 8).

    Raises:
        DatasetError: the dataset is missing or damaged.
        SslBenchError: the cache folder is full or unusable.
    """
    from benchmark.decoding import decoders

    folder = prepared_folder(task)
    if _record_in(folder) is not None:
        return folder
    with explained(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            with decoders(task, workers) as helpers:
                writer = _Writer(task, helpers, progress)
                splits = {
                    split: writer.write(split, scratch / f"{split}.arrow") for split in task.splits
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
            {"fingerprint", "labels", "checksum"} <= s.keys() for s in record["splits"].values()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if whole else None


def fingerprints(task: Task) -> dict[str, str]:
    """Hash of the inputs of every split: what embeddings depend on (targets are not in it)."""
    return {name: split["fingerprint"] for name, split in _record(task)["splits"].items()}


def example_counts(task: Task) -> dict[str, int]:
    """How many examples every split has."""
    return {name: split["examples"] for name, split in _record(task)["splits"].items()}


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


def _is_whole(path: Path, stated: dict[str, Any]) -> bool:
    """Whether a prepared file is as it was written. A large one that the system calls unchanged is
    believed (`ssl-bench cache verify` reads it); others have their checksum taken once."""
    try:
        stat = path.stat()
    except OSError:
        return False
    if stat.st_size != stated.get("bytes"):
        return False
    if stat.st_size > TRUSTED_BYTES and stat.st_mtime_ns == stated.get("changed"):
        return True
    return _has_checksum(path, stated["checksum"], stat.st_mtime_ns)


@cache
def _has_checksum(path: Path, checksum: str, changed: int) -> bool:
    """Asked once per process and state of the file."""
    return file_checksum(path) == checksum


def open_source(task: Task, split: str) -> Dataset:
    """One split of the task's source, memory-mapped: every row, every label column.

    The file's checksum is verified; a damaged copy is prepared again.
    """
    import datasets

    stated = _record(task)["splits"][split]
    folder = prepared_folder(task)
    path = folder / f"{split}.arrow"
    if not _is_whole(path, stated):
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
