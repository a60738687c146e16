"""`ssl-bench check`: what is wrong with an encoder, in seconds and one line each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.encoder import Kind, LoadedEncoder
from benchmark.errors import EncoderError
from benchmark.findings import Finding
from benchmark.forward import EmbedOptions, call, forward
from benchmark.inputs import STANDARD_LEADS, AudioInput, EcgInput, Example, Window

TOLERANCE = 1e-3  # relative to the embedding's own scale; float32 kernels differ by about 1e-5


def example_inputs(encoder: LoadedEncoder, seed: int = 0) -> list[Example]:
    """Four examples of the encoder's modality, of different lengths where it has a time axis."""
    rng = np.random.default_rng(seed)
    spec = encoder.spec
    if isinstance(spec, AudioInput):
        longest = spec.seconds or 2.0
        hertz = spec.sample_rate
        times = [np.arange(int(hertz * longest * part)) / hertz for part in (1, 0.75, 0.5, 0.3)]
        return [{"waveform": _tone(t, rng).astype(np.float32), "sample_rate": hertz} for t in times]
    if isinstance(spec, EcgInput):
        rate = spec.sample_rate
        longest = spec.seconds or 10.0
        return [
            {
                "signal": _beats(int(rate * longest * part), rate, rng),
                "sample_rate": rate,
                "leads": list(STANDARD_LEADS),
            }
            for part in (1, 0.8, 0.6, 0.4)
        ]
    return [_still(encoder.modality, i, rng) for i in range(4)]


def _tone(t: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    tone: NDArray[Any] = 0.3 * np.sin(2 * np.pi * rng.uniform(100, 1000) * t)
    return tone + 0.05 * rng.standard_normal(len(t))


def _beats(samples: int, rate: float, rng: np.random.Generator) -> NDArray[np.float32]:
    phase = (np.arange(samples) / rate * rng.uniform(0.9, 1.6)) % 1 - 0.5
    lead = np.exp(-((phase / 0.02) ** 2)) + 0.2 * np.exp(-(((phase - 0.25) / 0.05) ** 2))
    gains = rng.uniform(0.3, 1.2, (12, 1))
    return (gains * lead + 0.02 * rng.standard_normal((12, samples))).astype(np.float32)


def _still(modality: str, index: int, rng: np.random.Generator) -> Example:
    if modality == "pointcloud":
        return {"points": rng.standard_normal((2048, 3)).astype(np.float32)}
    if modality == "histopathology":
        return {"image": rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)}
    if modality == "echo":
        frames = (24, 20, 16, 12)[index]
        return {"video": rng.integers(0, 256, (frames, 96, 96), dtype=np.uint8), "fps": 30.0}
    count = (60, 45, 30, 15)[index]
    curve = np.stack(
        [
            np.sort(rng.uniform(0, 300, count)),
            rng.normal(0, 50, count),
            rng.uniform(1, 5, count),
            rng.integers(0, 6, count),
        ],
        1,
    )
    spectrum = np.stack([np.linspace(0.45, 2.45, 53), rng.uniform(0.8, 1.2, 53)], 1)
    return {
        "photometry": curve.astype(np.float32),
        "spectrum": spectrum.astype(np.float32),
        "metadata": rng.standard_normal(8).astype(np.float32),
        "image": rng.integers(0, 256, (96, 96, 3), dtype=np.uint8),
    }


def check_encoder(encoder: LoadedEncoder, device: str = "cpu") -> Iterator[Finding]:
    """Run every check; a check that fails does not hide the next, except that without a working
    forward there is nothing more to see."""
    torch.manual_seed(0)
    encoder.module.to(device)
    options = EmbedOptions(device=device)
    examples = example_inputs(encoder)
    windows = [encoder.spec.windows(example)[0] for example in examples]
    batch = encoder.spec.collate(windows)
    given = {name: tensor.clone() for name, tensor in batch.items()}
    try:
        raw = _raw(encoder, given, device)
        first = forward(encoder, _copy(batch), "clip", options)["values"]
    except EncoderError as error:
        yield Finding("forward", False, str(error))
        return
    yield Finding("forward", True, f"{tuple(raw.shape)} for a batch of {len(windows)}")
    if raw.dtype != torch.float32:
        yield Finding("dtype", False, f"forward returns {raw.dtype}: return float32")
    else:
        yield Finding("dtype", True, "float32")
    finite = bool(np.isfinite(first).all())
    yield Finding(
        "finite",
        finite,
        "no NaN, no infinity" if finite else "forward returns NaN or infinite values",
    )
    if not finite:
        return
    for name, tensor in batch.items():
        if not torch.equal(torch.nan_to_num(tensor), torch.nan_to_num(given[name])):
            detail = f"forward changes its argument `{name}` in place: copy it"
            yield Finding("input", False, detail)
    if len(first) > 1 and not np.ptp(first, axis=0).any():
        yield Finding("constant", False, "forward gives the same embedding for different inputs")
    alone = encoder.spec.collate([windows[-1]])
    width = forward(encoder, alone, "clip", options)["values"].shape[-1]
    if width != first.shape[-1]:
        detail = f"the embedding has {first.shape[-1]} dimensions in one batch, {width} in another"
        yield Finding("width", False, f"{detail}: D must not depend on the input")
        return
    yield from _consistency(encoder, windows, batch, first, options)
    yield from _outputs(encoder, windows, options)


def _copy(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in batch.items()}


def _raw(encoder: LoadedEncoder, batch: dict[str, torch.Tensor], device: str) -> torch.Tensor:
    moved = {name: tensor.to(device) for name, tensor in batch.items()}
    try:
        with torch.inference_mode():
            output = call(encoder.module, "forward", moved)
    except Exception as error:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in batch.items())
        text = " ".join(str(error).split())[:300]
        raise EncoderError(f"forward({shapes}) raises {type(error).__name__}: {text}") from error
    if not isinstance(output, torch.Tensor):
        raise EncoderError(f"forward returns a {type(output).__name__}, not a tensor (B, D)")
    return output


def _pooled(
    encoder: LoadedEncoder, windows: list[Window], options: EmbedOptions
) -> NDArray[np.float32]:
    """Clip embeddings, (B, D), tokens averaged as the engine does."""
    from benchmark.embed import Piece, embed_windows

    pieces = [Piece(i, 0, window, f"example {i}") for i, window in enumerate(windows)]
    outputs = {
        p.example: out["values"] for p, out in embed_windows(encoder, pieces, "clip", options)
    }
    return np.stack([outputs[i] for i in range(len(windows))])


def _differs(a: NDArray[Any], b: NDArray[Any]) -> float:
    scale = float(np.abs(a).max()) or 1.0
    return float(np.abs(a - b).max()) / scale


def _consistency(
    encoder: LoadedEncoder,
    windows: list[Window],
    batch: dict[str, torch.Tensor],
    first: NDArray[Any],
    options: EmbedOptions,
) -> Iterator[Finding]:
    again = forward(encoder, _copy(batch), "clip", options)["values"]
    gap = _differs(first, again)
    detail = "the same batch twice gives the same embeddings"
    if gap:
        detail = (
            f"the same batch twice differs by {gap:.1e}: something random is at work in forward "
            "(dropout kept in training mode, sampling): fix its seed or switch it off"
        )
    yield Finding("deterministic", not gap, detail)
    if gap:
        return
    alone = _pooled(encoder, [windows[0]], options)[0]
    mixed = _pooled(encoder, [windows[0], _another(windows[0])], options)[0]
    gap = _differs(alone, mixed)
    yield Finding(
        "batch",
        gap <= TOLERANCE,
        "an embedding does not depend on its batch"
        if gap <= TOLERANCE
        else f"an embedding changes by {gap:.1e} with the other examples in its batch "
        "(batch normalisation in training mode, statistics over the batch): use each example alone",
    )
    if "lengths" not in batch or gap > TOLERANCE:
        return
    alone = _pooled(encoder, [windows[-1]], options)[0]
    padded = _pooled(encoder, [windows[0], windows[-1]], options)[1]
    gap = _differs(alone, padded)
    yield Finding(
        "padding",
        gap <= TOLERANCE,
        "an embedding does not depend on padding"
        if gap <= TOLERANCE
        else f"an embedding changes by {gap:.1e} when its input is zero-padded to the length of a "
        "neighbour: mask what lies beyond `lengths`",
    )


def _another(window: Window) -> Window:
    """A window of the same shape with other values."""
    rng = np.random.default_rng(1)
    arrays = {
        name: (array * np.array([1, 1.5, 1, 1])).astype(np.float32)
        if name == "photometry"
        else (array + rng.standard_normal(array.shape)).astype(np.float32)
        for name, array in window.arrays.items()
    }
    return Window(arrays, window.length, window.seconds)


def _outputs(
    encoder: LoadedEncoder, windows: list[Window], options: EmbedOptions
) -> Iterator[Finding]:
    kinds: tuple[Kind, ...] = ("frames", "patches", "layers", "towers", "joint")
    for kind in kinds:
        if not encoder.offers(kind):
            continue
        try:
            output = forward(encoder, encoder.spec.collate(windows[:2]), kind, options)
        except EncoderError as error:
            yield Finding(kind, False, str(error))
            continue
        shapes = ", ".join(str(tuple(value.shape)) for value in output.values())
        if not all(np.isfinite(value).all() for value in output.values()):
            yield Finding(kind, False, f"{kind}() returns NaN or infinite values")
        elif problem := _misplaced(encoder, output, windows, kind, options):
            yield Finding(kind, False, problem)
        else:
            yield Finding(kind, True, f"{kind}() gives {shapes}")
    if callable(getattr(encoder.module, "encode_text", None)):
        shared: Kind = "joint" if encoder.offers("joint") else "clip"
        joint = forward(encoder, encoder.spec.collate(windows[:1]), shared, options)["values"]
        yield _text(encoder, joint.shape[-1])


def _misplaced(
    encoder: LoadedEncoder,
    output: dict[str, NDArray[Any]],
    windows: list[Window],
    kind: Kind,
    options: EmbedOptions,
) -> str:
    """What is wrong with the place of an output in time; empty where nothing is."""
    if kind == "frames" and (problem := _frame_count(encoder, output["values"], windows[0])):
        return problem
    return _padding(encoder, windows, kind, options)


def _padding(
    encoder: LoadedEncoder, windows: list[Window], kind: Kind, options: EmbedOptions
) -> str:
    """How an output changes when its input is padded; empty where it does not."""
    shortest, longest = windows[-1], windows[0]
    if shortest.length == longest.length or "lengths" not in encoder.spec.collate([shortest]):
        return ""
    alone = forward(encoder, encoder.spec.collate([shortest]), kind, options)
    padded = forward(encoder, encoder.spec.collate([longest, shortest]), kind, options)
    for name, value in alone.items():
        own, other = value[0], padded[name][1]
        if kind == "frames":
            # The last frames may see where the input ends; how many there are is checked before.
            steps = max(1, min(len(own), len(other)) - 2)
            own, other = own[:steps], other[:steps]
        if own.shape != other.shape:
            return f"{kind}() gives {own.shape} alone and {other.shape} in a batch of longer inputs"
        if (gap := _differs(own, other)) > TOLERANCE:
            return (
                f"{kind}() changes by {gap:.1e} when its input is zero-padded to the length of a "
                "neighbour: mask what lies beyond `lengths`"
            )
    return ""


def _frame_count(encoder: LoadedEncoder, values: NDArray[Any], window: Window) -> str:
    expected = window.seconds * (encoder.frame_rate or 0.0)
    if abs(values.shape[1] - expected) <= max(2.0, 0.02 * expected):
        return ""
    return (
        f"frames() gives {values.shape[1]} frames for {window.seconds:.2f} s; "
        f"frame_rate = {encoder.frame_rate:g} Hz means {expected:.0f}: correct the one or the other"
    )


def _text(encoder: LoadedEncoder, width: int) -> Finding:
    encode: Callable[[list[str]], torch.Tensor] = encoder.module.encode_text  # type: ignore[assignment]
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            texts = encode(["one", "two"])
        if texts.ndim != 2 or len(texts) != 2:
            return Finding(
                "text", False, f"encode_text gives {tuple(texts.shape)} for 2 texts: (N, D)"
            )
    except Exception as error:
        return Finding("text", False, f"encode_text raises {type(error).__name__}: {error}")
    if texts.shape[1] != width:
        return Finding(
            "text",
            False,
            f"encode_text gives {texts.shape[1]} dimensions, the input's embedding has {width}: "
            "return both in one space (joint() may give the input's)",
        )
    return Finding("text", True, f"encode_text gives {tuple(texts.shape)}")
