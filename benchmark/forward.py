"""One batch through the encoder: called as its modality's contract says, its outputs checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from numpy.typing import NDArray

from benchmark.encoder import Kind, LoadedEncoder
from benchmark.errors import DeviceMemoryError, EncoderError
from benchmark.events import COMPILED


@dataclass(frozen=True)
class EmbedOptions:
    """How to compute and to store; of these only `precision`, with or without `COMPILED`, and
    `dtype` change results."""

    device: str = "cpu"
    precision: str = "float32"
    batch_size: int = 32
    fresh: bool = False
    dtype: str = "float32"  # at which embeddings are stored
    threads: int | None = None  # that prepare; default: one per core, at most 8


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
    return collect(encoder, batch, launch(encoder, batch, kind, options), kind, options)


def launch(
    encoder: LoadedEncoder, batch: dict[str, torch.Tensor], kind: Kind, options: EmbedOptions
) -> Any:
    """What the encoder returns for a batch; on an accelerator before it has been computed."""
    device = torch.device(options.device)
    precision = options.precision.removesuffix(COMPILED)
    half = precision != "float32"
    autocast = torch.autocast(device.type, getattr(torch, precision)) if half else nullcontext()
    with _explained(encoder, batch, kind, options), torch.inference_mode():
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
        with autocast:
            compiled = options.precision.endswith(COMPILED)
            return call(encoder.module, _method(encoder, kind), moved, compiled=compiled)


def collect(
    encoder: LoadedEncoder,
    batch: dict[str, torch.Tensor],
    output: Any,
    kind: Kind,
    options: EmbedOptions,
) -> dict[str, NDArray[Any]]:
    """What the encoder returned, checked, as float32 arrays in main memory."""
    size = len(next(iter(batch.values())))
    outputs = output if isinstance(output, dict) else {"values": output}
    if kind == "patches" and encoder.modality == "pointcloud":
        _check_placed(encoder, outputs)
    method = _method(encoder, kind)
    checked = {n: _checked(encoder, value, method, kind, size) for n, value in outputs.items()}
    with _explained(encoder, batch, kind, options):
        return {name: value.float().cpu().numpy() for name, value in checked.items()}


def _method(encoder: LoadedEncoder, kind: Kind) -> str:
    return kind if kind != "clip" and encoder.offers(kind) else "forward"


@contextmanager
def _explained(
    encoder: LoadedEncoder, batch: dict[str, torch.Tensor], kind: Kind, options: EmbedOptions
) -> Iterator[None]:
    """Turn what an encoder raises into one clear error."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(
            f"encoder {encoder.name} runs out of memory on {options.device} with a batch of "
            f"{len(next(iter(batch.values())))}: free the device, or use a larger one"
        ) from error
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in batch.items())
        hint = "; run it without --compile" if options.precision.endswith(COMPILED) else ""
        raise EncoderError(
            f"encoder {encoder.name}: {_method(encoder, kind)}({shapes}) fails: "
            f"{type(error).__name__}: {text}{hint}"
        ) from error


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
) -> torch.Tensor:
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
    return value
