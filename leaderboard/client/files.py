"""What the command line sends: weights as safetensors, results as one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import SslBenchError

PICKLED = (".pt", ".pth", ".ckpt", ".bin")


def as_safetensors(path: Path, folder: Path) -> Path:
    """`path`, or, where it is a `.pt` and the like, its weights as a new file in `folder`.

    Raises:
        SslBenchError: no such file, another format, code in it, or nothing that is a tensor.
    """
    if not path.is_file():
        raise SslBenchError(f"there is no checkpoint {path}: check the path given to --checkpoint")
    if path.suffix == ".safetensors":
        return path
    if path.suffix not in PICKLED:
        raise SslBenchError(
            f"{path}: a checkpoint is .safetensors, or {', '.join(PICKLED)} with weights only"
        )
    from safetensors.torch import save_file

    from benchmark.checkpoint import read_checkpoint

    tensors = flat_tensors(read_checkpoint(path))
    if not tensors:
        raise SslBenchError(f"{path} holds no tensors: save the state_dict")
    target = folder / f"{path.stem}.safetensors"
    # copies: tensors that share memory cannot be saved as they are
    save_file(
        {key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}, target
    )
    return target


def flat_tensors(entries: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The tensors of nested dicts (teacher, student, ...), their names joined by dots."""
    import torch

    found: dict[str, Any] = {}
    for key, value in entries.items():
        if isinstance(value, torch.Tensor):
            found[f"{prefix}{key}"] = value
        elif isinstance(value, Mapping) and not prefix.count(".") > 3:
            found |= flat_tensors(value, f"{prefix}{key}.")
    return found


def results_bundle(run: Path, folder: Path) -> Path:
    """All results of a run as one file in `folder`.

    Raises:
        SslBenchError: nothing there, or of several encoders.
    """
    from benchmark.results import read_run

    results = read_run(run)
    names = sorted({result.encoder.name for result in results})
    if len(names) > 1:
        raise SslBenchError(
            f"{run} holds results of {len(names)} encoders ({', '.join(names[:3])}, ...): "
            "one submission is one encoder; give a folder with the files of one"
        )
    target = folder / "results.json"
    target.write_text(json.dumps({"results": [r.model_dump(mode="json") for r in results]}))
    return target
