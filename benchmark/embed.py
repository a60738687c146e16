"""Dataset -> encoder -> embeddings: windows, batches by length, precision, devices, progress.

Work is cut into chunks of consecutive examples, one or several to a shard of the store. Batches are
formed inside a chunk, windows sorted by length, so that what a shard holds does not depend on when
or in which run it was computed. Threads decode, transform and collate the next batches while the
encoder works on this one, and another takes its outputs: memory is that of two chunks and a few
batches, however large the split is.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.batching import BatchSize
from benchmark.encoder import Kind, LoadedEncoder
from benchmark.errors import DeviceMemoryError, EncoderError
from benchmark.forward import EmbedOptions, collect, launch
from benchmark.inputs import Window
from benchmark.mapped import MappedFiles
from benchmark.pipeline import Clock, in_background, in_order
from benchmark.prepare import in_arrow, read_rows
from benchmark.shards import Arrays
from benchmark.store import DamagedShardError, EmbeddingStore, Entry, EntryKey

if TYPE_CHECKING:
    from datasets import Dataset

# examples to a chunk
SHARD = {"clip": 128, "layers": 64, "towers": 128, "joint": 128, "frames": 32, "patches": 32}
MANY = 65_536  # examples from which a shard is several chunks: fewer and larger files
CHUNKS = 8
PARTS = 8  # of a chunk, which threads prepare
BATCHES_AHEAD = 3
UNFINISHED = 3  # batches whose outputs are on their way
ENGINE = ("inputs.py", "embed.py", "forward.py", "prepare.py", "shards.py")
DEFAULTS = EmbedOptions()
Tensors = dict[str, torch.Tensor]
Progress = Callable[[int, int], None]  # examples done, examples in all
Materialise = Callable[[Mapping[str, Any]], Mapping[str, Any]]  # stored input -> input


@dataclass
class Embeddings:
    """The embeddings of one split, and what they cost when they were computed."""

    arrays: Arrays
    seconds: float
    count: int  # examples
    computed_shards: int
    waiting: float = 0.0  # seconds of this call in which the encoder had no batch,
    computing: float = 0.0  # and in which it had one


@dataclass(frozen=True)
class Piece:
    """One window of one example, on its way through the encoder."""

    example: int
    order: int
    window: Window
    name: str  # the example's id


def embed_split(
    encoder: LoadedEncoder,
    dataset: Dataset,
    fingerprint: str,
    kind: Kind,
    store: EmbeddingStore,
    *,
    towers: Sequence[str] = (),
    materialise: Materialise = lambda stored: stored,
    options: EmbedOptions = DEFAULTS,
    about: dict[str, Any] | None = None,
    progress: Progress = lambda done, total: None,
) -> Embeddings:
    """Embed every row of a prepared split, reusing the whole shards that the store has.

    Returns arrays by name: clip `values` (N, D); layers (N, L, D); frames `values` (sum of T', D)
    and `counts` (N,); patches (N, H', W', D), of point clouds `values` (N, G, D) and `centres`
    (N, G, 3); towers one (N, D) array each.

    Raises:
        EncoderError: the encoder fails, or returns a wrong shape or NaN; names the sample.
        SslBenchError: the store's disk is full or unusable.
    """
    names = {"encoder": encoder.name, **(about or {})}

    def stored_as(dtype: str) -> Entry:
        facts = encoder.digest, fingerprint, kind, len(dataset), options.precision, towers, names
        return split_entry(store, *facts, dtype)

    entry = stored_as(options.dtype)
    if options.dtype != "float32" and not options.fresh and entry.missing():
        with suppress(DamagedShardError):  # then they are computed
            entry.take_from(stored_as("float32"))
    source = Source(dataset, tuple(towers), materialise)
    clock, computed = Clock(), 0
    for fresh in (options.fresh, False, False):
        missing = list(range(entry.shards)) if fresh else entry.missing()
        if missing or not entry.complete:
            with entry.exclusive():
                missing = list(range(entry.shards)) if fresh else entry.missing()
                clock = embed_shards(encoder, source, kind, entry, missing, options, progress)
                computed += len(missing)
                entry.finish()
        try:
            arrays = entry.read()
            break
        except DamagedShardError as error:  # told by the store; once more, for just that one
            damaged = error
    else:
        raise damaged
    progress(len(dataset), len(dataset))
    taken = (clock.waiting, clock.computing) if computed else (0.0, 0.0)
    return Embeddings(arrays, entry.seconds(), entry.count, computed, *taken)


def split_entry(
    store: EmbeddingStore,
    encoder: str,
    fingerprint: str,
    kind: Kind,
    count: int,
    precision: str,
    towers: Sequence[str] = (),
    about: dict[str, Any] | None = None,
    dtype: str = "float32",
) -> Entry:
    """Where the store has, or will have, the embeddings of a split of `count` examples by the
    encoder of this digest."""
    code = engine_code()
    key = EntryKey(encoder, fingerprint, kind, precision, ",".join(towers), code, dtype=dtype)
    size = SHARD[kind] * (CHUNKS if count >= MANY else 1)
    return store.entry(key, count, size, about or {})


@cache
def engine_code() -> str:
    """Hash of the code between a stored example and a stored embedding."""
    here = Path(__file__).parent
    parts = [(here / name).read_bytes() for name in ENGINE]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


@dataclass(frozen=True)
class Source:
    """Where examples come from: a prepared split, the towers taken, how to open what is stored."""

    dataset: Dataset
    towers: tuple[str, ...]
    materialise: Materialise

    @cached_property
    def rows(self) -> Dataset:
        """The split as it is read."""
        return in_arrow(self.dataset)

    @property
    def files(self) -> list[Path]:
        """The files that hold the split."""
        return [Path(file["filename"]) for file in getattr(self.dataset, "cache_files", ())]


def embed_shards(
    encoder: LoadedEncoder,
    source: Source,
    kind: Kind,
    entry: Entry,
    missing: Sequence[int],
    options: EmbedOptions,
    progress: Progress = lambda done, total: None,
) -> Clock:
    """Compute the shards `missing` of an entry and write each as it is done; neither takes the
    entry's lock nor finishes it, so that several workers can share an entry's shards.

    A batch that does not fit into the device's memory is halved, and so are those after it.
    Returns how long the encoder computed and waited.

    Raises:
        EncoderError, SslBenchError: as `embed_split`.
    """
    encoder.module.to(options.device)
    done = entry.count - sum(len(entry.span(index)) for index in missing)
    progress(done, entry.count)
    writer = _Writer(encoder, kind, entry, missing, MappedFiles(source.files))
    threads = options.threads or min(8, len(os.sched_getaffinity(0)))
    fits = BatchSize(options.batch_size, encoder.digest, kind, options.precision, options.device)
    clock = Clock()
    unfinished: deque[Future[int]] = deque()
    with (
        ThreadPoolExecutor(threads, "prepare") as pool,
        ThreadPoolExecutor(1, "finish") as finishing,
        in_background(
            _batches(encoder, source, kind, writer.chunks(), fits, pool), BATCHES_AHEAD
        ) as batches,
    ):
        for batch, tensors, raw in _launched(encoder, kind, batches, fits, options, clock):
            unfinished.append(finishing.submit(writer.take, batch, tensors, raw, options, clock))
            if len(unfinished) >= UNFINISHED:
                done += unfinished.popleft().result()
                progress(done, entry.count)
        while unfinished:
            done += unfinished.popleft().result()
            progress(done, entry.count)
    entry.settle()
    return clock


def _launched(
    encoder: LoadedEncoder,
    kind: Kind,
    batches: Iterator[tuple[_Batch, Tensors]],
    fits: BatchSize,
    options: EmbedOptions,
    clock: Clock,
) -> Iterator[tuple[_Batch, Tensors, Any]]:
    """Batches given to the encoder, in order and of a size that fits, with what it returns."""
    for formed, collated in batches:
        waiting: deque[tuple[_Batch, Tensors | None]] = deque([(formed, collated)])
        while waiting:
            batch, tensors = waiting.popleft()
            if len(batch.pieces) > fits.current:  # formed before less was found to fit
                waiting.extendleft((part, None) for part in reversed(batch.cut(fits.current)))
                continue
            tensors = tensors or encoder.spec.collate([piece.window for piece in batch.pieces])
            clock.begin()
            try:
                raw = launch(encoder, tensors, kind, options)
            except DeviceMemoryError:
                clock.end()
                if len(batch.pieces) == 1:
                    raise
            else:
                if options.device == "cpu":
                    clock.end()
                yield batch, tensors, raw
                continue
            # here the failed batch is no longer held by its exception
            fits.halve(len(batch.pieces))
            waiting.appendleft((batch, None))


@dataclass(frozen=True)
class _Batch:
    """Windows of one chunk that go through the encoder together."""

    pieces: list[Piece]
    chunk: range
    last: bool  # of its chunk

    def cut(self, size: int) -> list[_Batch]:
        """The same windows in batches of `size`."""
        parts = _by_length(self.pieces, size)
        final = len(parts) - 1
        return [
            _Batch(part, self.chunk, self.last and number == final)
            for number, part in enumerate(parts)
        ]


def _batches(
    encoder: LoadedEncoder,
    source: Source,
    kind: Kind,
    chunks: Sequence[range],
    fits: BatchSize,
    pool: ThreadPoolExecutor,
) -> Iterator[tuple[_Batch, Tensors]]:
    """Collated batches in order; a chunk is prepared while the one before is batched."""
    parts = [part for chunk in chunks for part in _parts(chunk)]
    prepared = in_order(pool, (partial(_pieces, encoder, source, p, kind) for p in parts), PARTS)
    pinned = fits.device.startswith("cuda")

    def collate(batch: _Batch) -> tuple[_Batch, Tensors]:
        tensors = encoder.spec.collate([piece.window for piece in batch.pieces])
        if pinned:  # so that copying to the device does not hold up the host
            tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}
        return batch, tensors

    def formed() -> Iterator[Callable[[], tuple[_Batch, Tensors]]]:
        for chunk in chunks:
            pieces = [piece for _ in _parts(chunk) for piece in next(prepared)]
            groups = _by_length(pieces, fits.current)
            del pieces
            while groups:
                group = groups.pop(0)
                yield partial(collate, _Batch(group, chunk, not groups))

    try:
        yield from in_order(pool, formed(), BATCHES_AHEAD)
    finally:
        prepared.close()  # type: ignore[attr-defined]


def _parts(chunk: range) -> list[range]:
    size = -(-len(chunk) // PARTS)
    return [chunk[start : start + size] for start in range(0, len(chunk), size)]


def _by_length(pieces: Sequence[Piece], size: int) -> list[list[Piece]]:
    ordered = sorted(pieces, key=lambda piece: -piece.window.length)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


class _Writer:
    """Takes the outputs of batches in order, and writes a shard when its last one is there."""

    def __init__(
        self,
        encoder: LoadedEncoder,
        kind: Kind,
        entry: Entry,
        missing: Sequence[int],
        mapped: MappedFiles,
    ) -> None:
        self.encoder, self.kind, self.entry, self.mapped = encoder, kind, entry, mapped
        self.missing = missing
        self.outputs: list[tuple[Piece, dict[str, NDArray[Any]]]] = []
        self.arrays: list[Arrays] = []
        self.begun = time.perf_counter()

    def chunks(self) -> list[range]:
        """The examples to compute, chunk by chunk."""
        size = SHARD[self.kind]
        spans = [self.entry.span(index) for index in self.missing]
        return [span[start : start + size] for span in spans for start in range(0, len(span), size)]

    def take(
        self,
        batch: _Batch,
        tensors: Tensors,
        raw: Any,
        options: EmbedOptions,
        clock: Clock,
    ) -> int:
        """The outputs of a batch; returns the number of examples that it completes."""
        outputs = collect(self.encoder, tensors, raw, self.kind, options)
        if options.device != "cpu":
            clock.end()
        for row, piece in enumerate(batch.pieces):
            own = _own(self.encoder, piece, outputs, row, tensors, self.kind)
            self.outputs.append((piece, own))
        if not batch.last:
            return 0
        self.arrays.append(_assemble(self.encoder, self.outputs, self.kind))
        self.outputs = []
        index = batch.chunk[0] // self.entry.size
        if batch.chunk[-1] == self.entry.span(index)[-1]:
            parts, self.arrays = self.arrays, []
            joined = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
            now = time.perf_counter()
            self.entry.write(index, joined, now - self.begun)
            self.begun = now
            self.mapped.release()
        return len(batch.chunk)


def _pieces(encoder: LoadedEncoder, source: Source, span: range, kind: Kind) -> list[Piece]:
    pieces: list[Piece] = []
    for index, row in zip(span, read_rows(source.rows, span), strict=True):
        example = source.materialise(row["input"])
        if source.towers:
            example = {name: value for name, value in example.items() if name in source.towers}
        windows = encoder.spec.windows(example, whole=kind == "frames")
        pieces += [Piece(index, order, window, row["id"]) for order, window in enumerate(windows)]
    return pieces


def embed_windows(
    encoder: LoadedEncoder, pieces: Sequence[Piece], kind: Kind, options: EmbedOptions
) -> Iterator[tuple[Piece, dict[str, NDArray[Any]]]]:
    """Run the encoder over batches of windows of similar length; yields each window's output.

    A batch that does not fit into the device's memory is halved, and so are those after it.
    """
    fits = BatchSize(options.batch_size, encoder.digest, kind, options.precision, options.device)
    with ThreadPoolExecutor(1, "collate") as pool:
        groups = [_Batch(group, range(0), False) for group in _by_length(pieces, fits.current)]
        collate = encoder.spec.collate
        calls = (partial(collate, [piece.window for piece in g.pieces]) for g in groups)
        batches = zip(groups, in_order(pool, calls, 2), strict=True)
        for batch, tensors, raw in _launched(encoder, kind, batches, fits, options, Clock()):
            outputs = collect(encoder, tensors, raw, kind, options)
            for row, piece in enumerate(batch.pieces):
                yield piece, _own(encoder, piece, outputs, row, tensors, kind)


def _own(
    encoder: LoadedEncoder,
    piece: Piece,
    outputs: dict[str, NDArray[Any]],
    row: int,
    batch: dict[str, torch.Tensor],
    kind: Kind,
) -> dict[str, NDArray[Any]]:
    """One window's part of a batch: padding steps cut off, tokens averaged for clip level."""
    own = {name: value[row] for name, value in outputs.items()}
    values = own.get("values")
    if values is not None and kind == "clip" and values.ndim == 2:
        own["values"] = values[: _valid_tokens(len(values), piece.window, batch)].mean(0)
    for name, value in own.items():
        if not np.isfinite(value).all():
            raise EncoderError(
                f"encoder {encoder.name} returns NaN or infinite values ({name}) for sample "
                f"{piece.name!r}: check its input scaling and its precision"
            )
    return own


def _valid_tokens(tokens: int, window: Window, batch: dict[str, torch.Tensor]) -> int:
    """How many of a padded window's tokens stem from its own samples."""
    if "lengths" not in batch:
        return tokens
    padded = next(iter(batch.values())).shape[1 if "photometry" in batch else -1]
    if "video" in batch:
        padded = batch["video"].shape[2]
    return max(1, min(tokens, -(-tokens * window.length // padded)))


def _on_time(members: Sequence[tuple[Piece, dict[str, NDArray[Any]]]], rate: float) -> NDArray[Any]:
    """The frames of an example's windows, (T', D), each window on its own span of time.

    Frame j of the whole is centred at (j + 0.5) / rate seconds: a window that gives too few frames
    repeats its last one, so that what follows does not drift.
    """
    begun, parts = 0.0, []
    for piece, output in members:
        ended = begun + piece.window.seconds
        steps = max(1, round(ended * rate) - round(begun * rate))
        values = output["values"][:steps]
        parts.append(np.pad(values, ((0, steps - len(values)), (0, 0)), mode="edge"))
        begun = ended
    return np.concatenate(parts)


def _assemble(
    encoder: LoadedEncoder, outputs: Sequence[tuple[Piece, dict[str, NDArray[Any]]]], kind: Kind
) -> Arrays:
    """Join or average the windows of every example; examples in order."""
    ordered = sorted(outputs, key=lambda item: (item[0].example, item[0].order))
    rows: dict[str, list[NDArray[Any]]] = {}
    for _, group in groupby(ordered, key=lambda item: item[0].example):
        members = list(group)
        weights = np.array([piece.window.length for piece, _ in members], np.float64)
        for name in members[0][1]:
            parts = [output[name] for _, output in members]
            merged = (
                _on_time(members, encoder.frame_rate or 1.0)
                if kind == "frames"
                else parts[0]
                if len(parts) == 1
                else np.average(parts, axis=0, weights=weights).astype(np.float32)
            )
            rows.setdefault(name, []).append(merged)
    if kind == "frames":
        values = rows["values"]
        return {"values": np.concatenate(values), "counts": np.array([len(v) for v in values])}
    return {name: np.stack(parts) for name, parts in rows.items()}
