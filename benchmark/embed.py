"""Dataset -> encoder -> embeddings: windows, batches by length, precision, devices, progress.

Work is cut into shards of consecutive examples. Batches are formed inside a shard, windows sorted
by length, so that what a shard holds does not depend on when or in which run it was computed. A
thread prepares the next batches while the encoder works on this one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.batching import BatchSize
from benchmark.encoder import Kind, LoadedEncoder
from benchmark.errors import DeviceMemoryError, EncoderError
from benchmark.events import COMPILED
from benchmark.inputs import Window
from benchmark.prepare import read_rows
from benchmark.store import Arrays, EmbeddingStore, Entry, EntryKey

if TYPE_CHECKING:
    from datasets import Dataset

SHARD = {"clip": 128, "layers": 64, "towers": 128, "joint": 128, "frames": 32, "patches": 32}
PRECISIONS = ("float32", "bfloat16", "float16")
Progress = Callable[[int, int], None]  # examples done, examples in all
Materialise = Callable[[Mapping[str, Any]], Mapping[str, Any]]  # stored input -> input


@dataclass(frozen=True)
class EmbedOptions:
    """How to compute; of these only `precision`, with or without `COMPILED`, changes results."""

    device: str = "cpu"
    precision: str = "float32"
    batch_size: int = 32
    fresh: bool = False


@dataclass
class Embeddings:
    """The embeddings of one split, and what they cost when they were computed."""

    arrays: Arrays
    seconds: float
    count: int  # examples
    computed_shards: int


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
    options: EmbedOptions = EmbedOptions(),
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
    entry = split_entry(
        store, encoder.digest, fingerprint, kind, len(dataset), options.precision, towers, names
    )
    missing = list(range(entry.shards)) if options.fresh else entry.missing()
    if missing or not entry.complete:
        with entry.exclusive():
            missing = list(range(entry.shards)) if options.fresh else entry.missing()
            source = Source(dataset, tuple(towers), materialise)
            embed_shards(encoder, source, kind, entry, missing, options, progress)
            entry.finish()
    progress(len(dataset), len(dataset))
    return Embeddings(entry.read(), entry.seconds(), entry.count, len(missing))


def split_entry(
    store: EmbeddingStore,
    encoder: str,
    fingerprint: str,
    kind: Kind,
    count: int,
    precision: str,
    towers: Sequence[str] = (),
    about: dict[str, Any] | None = None,
) -> Entry:
    """Where the store has, or will have, the embeddings of a split of `count` examples by the
    encoder of this digest."""
    key = EntryKey(encoder, fingerprint, kind, precision, ",".join(towers), engine_code())
    return store.entry(key, count, SHARD[kind], about or {})


@cache
def engine_code() -> str:
    """Hash of the code between a stored example and a stored embedding."""
    here = Path(__file__).parent
    parts = [(here / name).read_bytes() for name in ("inputs.py", "embed.py", "prepare.py")]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


@dataclass(frozen=True)
class Source:
    """Where examples come from: a prepared split, the towers taken, how to open what is stored."""

    dataset: Dataset
    towers: tuple[str, ...]
    materialise: Materialise


def embed_shards(
    encoder: LoadedEncoder,
    source: Source,
    kind: Kind,
    entry: Entry,
    missing: Sequence[int],
    options: EmbedOptions,
    progress: Progress = lambda done, total: None,
) -> None:
    """Compute the shards `missing` of an entry and write each as it is done; neither takes the
    entry's lock nor finishes it, so that several workers can share an entry's shards.

    Raises:
        EncoderError, SslBenchError: as `embed_split`.
    """
    encoder.module.to(options.device)
    done = entry.count - sum(len(entry.span(index)) for index in missing)
    progress(done, entry.count)
    with ThreadPoolExecutor(1, "prepare") as pool:
        ahead = [pool.submit(_pieces, encoder, source, entry.span(i), kind) for i in missing[:1]]
        for position, index in enumerate(missing):
            begun = time.perf_counter()
            pieces = ahead.pop().result()
            if position + 1 < len(missing):
                following = entry.span(missing[position + 1])
                ahead.append(pool.submit(_pieces, encoder, source, following, kind))
            size = len(entry.span(index))
            outputs = []
            for number, output in enumerate(embed_windows(encoder, pieces, kind, options), 1):
                outputs.append(output)
                if number % options.batch_size == 0:
                    progress(done + size * number // len(pieces), entry.count)
            arrays = _assemble(encoder, outputs, kind)
            entry.write(index, arrays, time.perf_counter() - begun)
            done += size
            progress(done, entry.count)


def _pieces(encoder: LoadedEncoder, source: Source, span: range, kind: Kind) -> list[Piece]:
    pieces: list[Piece] = []
    for index, row in zip(span, read_rows(source.dataset, span), strict=True):
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
    ordered = sorted(pieces, key=lambda piece: -piece.window.length)
    fits = BatchSize(options.batch_size, encoder.digest, kind, options.precision, options.device)
    size, done = fits.current, 0
    with ThreadPoolExecutor(1, "collate") as pool:

        def collated(start: int) -> Future[dict[str, torch.Tensor]]:
            return pool.submit(encoder.spec.collate, [p.window for p in ordered[start:][:size]])

        upcoming = collated(0)
        while batch := ordered[done : done + size]:
            tensors = upcoming.result()
            if done + size < len(ordered):
                upcoming = collated(done + size)
            try:
                outputs = forward(encoder, tensors, kind, options)
            except DeviceMemoryError:
                if len(batch) == 1:
                    raise
                outputs = None
            if outputs is None:  # here the failed batch is no longer held by its exception
                size = fits.halve(len(batch))
                upcoming = collated(done)
                continue
            done += len(batch)
            for row, piece in enumerate(batch):
                yield piece, _own(encoder, piece, outputs, row, tensors, kind)


def call(
    module: torch.nn.Module, method: str, batch: dict[str, torch.Tensor], *, compiled: bool = False
) -> Any:
    """Call an encoder's method as its modality's contract says: by position, astronomy by name."""
    function = module if method == "forward" else getattr(module, method)
    if compiled:
        function = _compiled(module, method)
    if module.modality == "astronomy":
        return function(**batch)
    return function(*batch.values())


_COMPILED: WeakKeyDictionary[torch.nn.Module, dict[str, Any]] = WeakKeyDictionary()


def _compiled(module: torch.nn.Module, method: str) -> Any:
    """The method through torch.compile, compiled once per encoder for any batch size and length."""
    known = _COMPILED.setdefault(module, {})
    if method not in known:
        known[method] = torch.compile(getattr(module, method), dynamic=True)
    return known[method]


def forward(
    encoder: LoadedEncoder, batch: dict[str, torch.Tensor], kind: Kind, options: EmbedOptions
) -> dict[str, NDArray[Any]]:
    """One batch through the encoder: float32 arrays with the batch first.

    Raises:
        EncoderError: the encoder raises, or its output does not have the shape of `kind`.
    """
    method = kind if kind != "clip" and encoder.offers(kind) else "forward"
    device = torch.device(options.device)
    moved = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
    precision = options.precision.removesuffix(COMPILED)
    compiled = precision != options.precision
    half = precision != "float32"
    autocast = torch.autocast(device.type, getattr(torch, precision)) if half else nullcontext()
    try:
        with torch.inference_mode(), autocast:
            output = call(encoder.module, method, moved, compiled=compiled)
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(
            f"encoder {encoder.name} runs out of memory on {device} with a batch of "
            f"{len(next(iter(batch.values())))}: free the device, or use a larger one"
        ) from error
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in batch.items())
        hint = "; run it without --compile" if compiled else ""
        raise EncoderError(
            f"encoder {encoder.name}: {method}({shapes}) fails: {type(error).__name__}: {text}"
            f"{hint}"
        ) from error
    size = len(next(iter(batch.values())))
    outputs = output if isinstance(output, dict) else {"values": output}
    if kind == "patches" and encoder.modality == "pointcloud":
        _check_placed(encoder, outputs)
    return {name: _checked(encoder, value, method, kind, size) for name, value in outputs.items()}


_NDIM = {
    "clip": (2, 3),
    "frames": (3,),
    "patches": (3, 4),
    "layers": (3,),
    "towers": (2,),
    "joint": (2,),
}
_SHAPE = {
    "clip": "(B, D) or (B, T', D)",
    "frames": "(B, T', D)",
    "patches": "(B, H', W', D) or (B, N', D)",
    "layers": "(L, B, D)",
    "towers": "a dict of (B, D)",
    "joint": "(B, D)",
}


def _check_placed(encoder: LoadedEncoder, outputs: dict[str, Any]) -> None:
    """Patches of point clouds are no grid: each stands at a point of the encoder's input."""
    shapes = {name: tuple(getattr(value, "shape", ())) for name, value in outputs.items()}
    values, centres = shapes.get("values", ()), shapes.get("centres", ())
    if set(shapes) != {"values", "centres"} or len(values) != 3 or centres != (*values[:2], 3):
        shown = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise EncoderError(
            f"encoder {encoder.name}: patches returns {shown}; for point clouds it should be a "
            "dict of `values` (B, G, D) and `centres` (B, G, 3), in the coordinates of its input"
        )


def _checked(
    encoder: LoadedEncoder, value: Any, method: str, kind: Kind, size: int
) -> NDArray[Any]:
    if not isinstance(value, torch.Tensor):
        raise EncoderError(
            f"encoder {encoder.name}: {method} returns a {type(value).__name__}, not a tensor "
            f"{_SHAPE[kind]}"
        )
    if value.dtype not in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        raise EncoderError(f"encoder {encoder.name}: {method} returns {value.dtype}, not floats")
    batch_axis = 1 if kind == "layers" else 0
    if value.ndim not in _NDIM[kind] or value.shape[batch_axis] != size or 0 in value.shape:
        raise EncoderError(
            f"encoder {encoder.name}: {method} returns shape {tuple(value.shape)} for a batch of "
            f"{size}; it should be {_SHAPE[kind]}"
        )
    if kind == "layers":
        value = value.transpose(0, 1)
    if kind == "patches" and value.ndim == 3 and encoder.modality != "pointcloud":
        side = round(value.shape[1] ** 0.5)
        if side * side != value.shape[1]:
            raise EncoderError(
                f"encoder {encoder.name}: {value.shape[1]} patches are no square grid; return "
                "(B, H', W', D)"
            )
        value = value.reshape(size, side, side, -1)
    array: NDArray[Any] = value.float().cpu().numpy()
    return array


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
