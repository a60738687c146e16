"""The whole check of an ONNX submission."""

from __future__ import annotations

from typing import Any, BinaryIO

from leaderboard.validation.onnx_inputs import declared_input, match_inputs
from leaderboard.validation.onnx_model import EXPORT, MAX_BYTES, parse_model
from leaderboard.validation.onnx_sizes import check_sizes
from leaderboard.validation.refusal import Refusal


def check_onnx(
    file: BinaryIO,
    size: int,
    name: str,
    *,
    modality: str | None = None,
    options: dict[str, Any] | None = None,
) -> str:
    """The modality of an ONNX encoder that may be run; `options` are those of its input.

    Raises:
        Refusal: anything in it that is not allowed.
    """
    if size > MAX_BYTES:
        raise Refusal(name, "size", f"{size:,} bytes, at most {MAX_BYTES:,}", EXPORT)
    model = parse_model(file.read(size), name)
    spec = declared_input(model, modality, options, name)
    check_sizes(model, match_inputs(model, spec, name), name)
    return str(spec.modality)
