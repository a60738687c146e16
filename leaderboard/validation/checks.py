"""One door for everything that is submitted: what the file holds, or why it is refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, BinaryIO

from leaderboard.validation.refusal import Refusal

log = logging.getLogger("ssl_bench")


def check_file(
    kind: str,
    file: BinaryIO,
    size: int,
    name: str,
    *,
    architecture: str = "",
    modality: str | None = None,
    options: dict[str, Any] | None = None,
    fingerprints: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Facts about a `checkpoint` (safetensors), `onnx` or `results` file that may be evaluated:
    `modality`, and `parameters` or `cells` where they are known.

    `options` are the input options of an ONNX encoder that stand beside the file; `fingerprints`
    those of the datasets that this site knows.

    Raises:
        Refusal: the file is not accepted, whatever is wrong with it.
    """
    try:
        if kind == "checkpoint":
            return _checkpoint(file, size, name, architecture, modality)
        if kind == "onnx":
            from leaderboard.validation.onnx_file import check_onnx

            return {"modality": check_onnx(file, size, name, modality=modality, options=options)}
        if kind == "results":
            return _results(file, size, name, fingerprints)
        raise Refusal(name, "kind", "it is not checkpoint, onnx or results", "choose one of them")
    except (Refusal, MemoryError):
        raise
    except Exception as error:  # a file that breaks the check itself is not accepted either
        log.exception("checking %s failed", name)
        raise Refusal(
            name, "content", f"it cannot be read ({type(error).__name__})", "export it again"
        ) from None


def _checkpoint(
    file: BinaryIO, size: int, name: str, architecture: str, modality: str | None
) -> dict[str, Any]:
    from math import prod

    from leaderboard.validation.architecture import architecture_modality, check_architecture
    from leaderboard.validation.safetensors_header import read_header
    from leaderboard.validation.weights import scan_weights

    entries = read_header(file, size, name)
    chosen = architecture_modality(architecture, modality, name)
    scan_weights(file, entries, name)
    check_architecture(entries, architecture, modality, name)
    parameters = sum(prod(entry.shape) for entry in entries.values())
    return {"modality": chosen, "parameters": parameters}


def _results(
    file: BinaryIO, size: int, name: str, fingerprints: dict[str, str] | None
) -> dict[str, Any]:
    from leaderboard.validation.results_file import MAX_BYTES, check_results

    if size > MAX_BYTES:
        raise Refusal(name, "size", f"{size:,} bytes, at most {MAX_BYTES:,}", "send fewer results")
    results = check_results(file.read(MAX_BYTES + 1), name, fingerprints)
    return {
        "modality": results[0].encoder.modality,
        "encoder": results[0].encoder.name,
        "cells": [[result.task.name, result.protocol.name] for result in results],
    }


def check(arguments: dict[str, Any], places: dict[str, str], tell: Any) -> dict[str, Any]:
    """The same in a child process of `leaderboard.evaluation`: `path` among the arguments is that
    of the file outside, `places` says where it lies inside."""
    path = Path(places[arguments.pop("path")])
    kind, name = arguments.pop("kind"), arguments.pop("name")
    try:
        with path.open("rb") as file:
            return {"facts": check_file(kind, file, path.stat().st_size, name, **arguments)}
    except Refusal as refusal:
        return {"refused": str(refusal)}
