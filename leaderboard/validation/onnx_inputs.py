"""What an ONNX encoder takes, against what its modality gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.errors import EncoderError
from benchmark.inputs import (
    AstronomyInput,
    AudioInput,
    EcgInput,
    EchoInput,
    ImageInput,
    InputSpec,
    PointCloudInput,
    input_spec,
)
from leaderboard.validation.refusal import Refusal, shown
from leaderboard.validation.strict_json import parse_json

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

BATCH = 2  # examples for which sizes are estimated
MAX_INPUT = 2**26  # numbers in one window
MAX_SECONDS, MAX_FRAMES, MAX_OBSERVATIONS = 60.0, 512, 4096
Size = int | None  # None: any


@dataclass(frozen=True)
class Argument:
    """One argument of the encoder contract: dtype, and sizes without the batch; the `example` is
    what sizes are estimated for."""

    dtype: str
    sizes: tuple[Size, ...]
    example: tuple[int, ...]


def declared_input(
    model: ModelProto, modality: str | None, options: dict[str, Any] | None, name: str
) -> InputSpec:
    """The input specification from the file's metadata, or from what stands beside the file.

    Raises:
        Refusal: no modality, or options that it does not have, or windows that are too large.
    """
    metadata = {str(entry.key): entry.value for entry in model.metadata_props}
    for key, value in metadata.items():
        if not isinstance(value, str):  # protobuf gives what is not UTF-8 as bytes
            raise Refusal(name, f"metadata {shown(key)!r}", "it is not UTF-8", "write it again")
    chosen = modality or metadata.get("modality", "")
    if not chosen:
        raise Refusal(
            name,
            "metadata `modality`",
            "it is missing",
            "write it into the file's metadata_props or say --modality",
        )
    if options is None:
        options = parse_json(
            metadata.get("input", "{}").encode(),
            name,
            "metadata `input`",
            'write a JSON object such as {"size": 224}',
            max_bytes=65_536,
        )
    if not isinstance(options, dict):
        raise Refusal(name, "input", "it is not a JSON object", 'write one such as {"size": 224}')
    if "frame_rate" in metadata:
        _check_frame_rate(metadata["frame_rate"], name)
    try:
        spec = input_spec(chosen, options)
    except EncoderError as error:
        raise Refusal(name, "input", str(error), "correct the options") from None
    check_window(spec, name)
    return spec


def _check_frame_rate(text: str, name: str) -> None:
    try:
        sound = 0 < float(text) <= 100_000
    except ValueError:
        sound = False
    if not sound:
        raise Refusal(
            name,
            "metadata `frame_rate`",
            f"{shown(text)!r} is not a number of Hz",
            "write the frames per second of `frames`",
        )


def check_window(spec: InputSpec, name: str) -> None:
    """Refuse input options that would make one window enormous.

    Raises:
        Refusal: more than 2^26 numbers in a window.
    """
    for argument in arguments(spec).values():
        elements = 1
        for size in argument.example:
            elements *= size
        if elements > MAX_INPUT:
            raise Refusal(
                name,
                "input",
                f"one window has {elements:,} numbers, at most {MAX_INPUT:,}",
                "choose shorter or smaller windows",
            )


def arguments(spec: InputSpec) -> dict[str, Argument]:
    """The arguments of `forward`, in order, that `spec` feeds."""
    lengths = Argument("INT64", (), ())
    if isinstance(spec, AudioInput):
        samples = round((spec.seconds or MAX_SECONDS) * spec.sample_rate)
        fixed = samples if spec.fixed and spec.seconds else None
        samples = max(samples, round(spec.min_seconds * spec.sample_rate))
        return {"waveform": Argument("FLOAT", (fixed,), (samples,)), "lengths": lengths}
    if isinstance(spec, EcgInput):
        samples = round((spec.seconds or MAX_SECONDS) * spec.sample_rate)
        fixed, leads = samples if spec.fixed and spec.seconds else None, len(spec.leads)
        return {
            "signal": Argument("FLOAT", (leads, fixed), (leads, samples)),
            "lengths": lengths,
        }
    if isinstance(spec, EchoInput):
        frames, fixed = spec.frames or MAX_FRAMES, spec.frames if spec.fixed else None
        sides = (spec.size, spec.size)
        return {
            "video": Argument(
                "FLOAT", (spec.channels, fixed, *sides), (spec.channels, frames, *sides)
            ),
            "lengths": lengths,
        }
    if isinstance(spec, PointCloudInput):
        return {"points": Argument("FLOAT", (spec.points, 3), (spec.points, 3))}
    if isinstance(spec, ImageInput):
        image = (3, spec.size, spec.size)
        return {"image": Argument("FLOAT", image, image)}
    if not isinstance(spec, AstronomyInput):
        raise TypeError(f"no arguments are known for {type(spec).__name__}")
    observations, points = spec.max_observations or MAX_OBSERVATIONS, spec.spectrum_points
    towers = {
        "photometry": Argument("FLOAT", (None, 4), (observations, 4)),
        "spectrum": Argument("FLOAT", (2, points), (2, points or MAX_OBSERVATIONS)),
        "metadata": Argument("FLOAT", (None,), (64,)),
        "image": Argument("FLOAT", (3, spec.size, spec.size), (3, spec.size, spec.size)),
    }
    fed: dict[str, Argument] = {tower: towers[tower] for tower in spec.towers}
    return {**fed, **({"lengths": lengths} if "photometry" in fed else {})}


def match_inputs(model: ModelProto, spec: InputSpec, name: str) -> dict[str, tuple[str, list[int]]]:
    """Graph input -> (dtype, shape) for a batch of the specification's windows.

    Raises:
        Refusal: other inputs than the modality has, of another type or rank, a fixed batch size.
    """
    held = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in held]
    known = arguments(spec)
    by_name = isinstance(spec, AstronomyInput)
    if (
        not inputs
        or len(inputs) > len(known)
        or (by_name and any(v.name not in known for v in inputs))
    ):
        raise Refusal(
            name,
            "graph inputs",
            f"{shown(', '.join(value.name for value in inputs) or 'none')}; "
            f"{spec.modality} gives {', '.join(known)}",
            "export forward with the arguments of the encoder contract",
        )  # fmt: skip
    order = list(known.values())
    found = {}
    for position, value in enumerate(inputs):
        argument = known[value.name] if by_name else order[position]
        found[value.name] = (argument.dtype, _concrete(value, argument, name))
    return found


def _concrete(value: ValueInfoProto, argument: Argument, name: str) -> list[int]:
    from onnx import TensorProto

    where = f"input {shown(value.name)!r}"
    tensor = value.type.tensor_type
    if tensor.elem_type != TensorProto.DataType.Value(argument.dtype):
        raise Refusal(name, where, f"it is not {argument.dtype.lower()}", "export it so")
    if not tensor.HasField("shape") or len(tensor.shape.dim) != 1 + len(argument.sizes):
        raise Refusal(
            name,
            where,
            f"it needs {1 + len(argument.sizes)} dimensions, the batch first",
            "export forward with the arguments of the encoder contract",
        )
    batch, *others = tensor.shape.dim
    if batch.HasField("dim_value"):
        raise Refusal(
            name,
            where,
            "its batch size is fixed",
            "export it with a dynamic first axis (dynamic_axes or dynamic_shapes)",
        )
    sizes = list(argument.example)
    for axis, dim in enumerate(others):
        due = argument.sizes[axis]
        if dim.HasField("dim_value") and dim.dim_value != due:
            expected = "any size" if due is None else str(due)
            raise Refusal(
                name,
                where,
                f"axis {axis + 1} is fixed to {dim.dim_value}, the input options give {expected}",
                "make the axis dynamic, or set the options (seconds and fixed, size, points)",
            )
    return [BATCH, *sizes]
