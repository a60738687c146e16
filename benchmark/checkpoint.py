"""Reading checkpoints without executing anything in them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmark.errors import EncoderError

SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
TORCH_SAVE = (b"PK\x03\x04", b"\x80")  # an archive since 2020, before that a pickle


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The entries of a `.safetensors` file, or of a `.pt` / `.pth` / `.ckpt` / `.bin` file read
    with `weights_only=True`: a pickle with code in it is refused.

    Raises:
        EncoderError: no such file, another format, damaged, or with code in it.
    """
    if path.is_dir():
        raise EncoderError(f"{path} is a folder: give --checkpoint the file in it")
    if not path.is_file():
        raise EncoderError(f"there is no checkpoint {path}: check the path given to --checkpoint")
    if path.suffix not in SUFFIXES:
        raise EncoderError(
            f"{path}: a checkpoint is .safetensors, or .pt / .pth / .ckpt / .bin with weights only"
        )
    start = _beginning(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except (SafetensorError, ValueError, OSError) as error:
            raise EncoderError(
                f"{path} is not a whole safetensors file ({error}): export or download it again"
            ) from None
    if not start.startswith(TORCH_SAVE):
        raise EncoderError(
            f"{path} cannot be loaded: torch.save does not write files that begin with "
            f"{start[:12]!r}; download or export it again"
        )
    try:
        with torch.serialization.safe_globals(_plain_data()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols: the error says enough
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if "weights_only" in str(error) or "Unsupported" in str(error):
            reason = (
                "it holds more than weights (pickled code is refused); save the state_dict alone, "
                "best as .safetensors"
            )
        else:
            reason = "it is damaged or cut off; download or export it again"
        raise EncoderError(f"{path} cannot be loaded: {reason}") from None
    if not isinstance(loaded, Mapping):
        raise EncoderError(
            f"{path} holds a {type(loaded).__name__}, not a state_dict: save the model's "
            "state_dict()"
        )
    for wrapper in ("state_dict", "model"):
        if isinstance(loaded.get(wrapper), Mapping):
            return dict(loaded[wrapper])
    return dict(loaded)


def _beginning(path: Path) -> bytes:
    """The first bytes of a file that is not something else under a checkpoint's name.

    Raises:
        EncoderError: empty, a web page, a pointer of Git LFS, unreadable.
    """
    try:
        with path.open("rb") as file:
            start = file.read(256)
    except OSError as error:
        raise EncoderError(f"{path} cannot be read ({error.strerror}): allow it") from None
    if not start:
        raise EncoderError(f"{path} is empty: download it again")
    if start.startswith(b"version https://git-lfs"):
        raise EncoderError(
            f"{path} is a pointer of Git LFS, not the file: `git lfs pull`, or download it from "
            "its page"
        )
    if (
        start.removeprefix(b"\xef\xbb\xbf")
        .lstrip()
        .startswith((b"<!", b"<html", b"<HTML", b"<?xml"))
    ):
        raise EncoderError(
            f"{path} is a web page, not a checkpoint: open it to see what the site asks for, then "
            "download the file itself"
        )
    return start


def _plain_data() -> list[Any]:
    """Types without behaviour that published checkpoints hold beside their tensors: NumPy numbers
    (a best score) and the options of the training script."""
    import argparse

    import numpy as np

    numbers = ("float64", "float32", "int64", "int32", "bool")
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    return [
        argparse.Namespace,
        np.dtype,
        *(type(np.dtype(number)) for number in numbers),
        *((scalar, f"{module}.multiarray.scalar") for module in ("numpy.core", "numpy._core")),
    ]


def load_into(module: torch.nn.Module, path: Path, name: str) -> None:
    """Load a checkpoint into an encoder; every key must fit.

    An encoder with `load_checkpoint(entries)` maps published keys itself.

    Raises:
        EncoderError: keys missing, surplus or of another shape; the first few are named.
    """
    entries = read_checkpoint(path)
    own = getattr(module, "load_checkpoint", None)
    if callable(own):
        try:
            own(entries)
        except EncoderError as error:
            raise EncoderError(f"{path} does not fit {name}; {error}") from None
        return
    if not module.state_dict():
        raise EncoderError(f"{name} has no weights to load: leave --checkpoint out")
    try:
        fit(module, entries)
    except EncoderError as error:
        raise EncoderError(f"{path} does not fit {name}; {error}") from None


def tensors_of(
    entries: Mapping[str, Any],
    *,
    inside: Sequence[str] = (),
    prefixes: Sequence[str] = (),
    only: str = "",
    drop: str = "",
) -> dict[str, torch.Tensor]:
    """The tensors of a published checkpoint under the names the encoder uses.

    inside: names of wrapping dicts, entered in turn while they are there. prefixes: beginnings of
    keys, stripped in turn, as often as they fit. only: after that, where any key begins with this,
    keys that do not are left out, and the beginning is stripped (the teacher among teacher and
    student). drop: a regular expression (search) for keys that the encoder has no use for, a
    decoder or a head. Everything else stays and must fit (`fit`).
    """
    for wrapper in inside:
        if isinstance(entries.get(wrapper), Mapping):
            entries = entries[wrapper]
    found: dict[str, torch.Tensor] = {}
    for key, value in entries.items():
        if not isinstance(value, torch.Tensor):
            continue
        name = key
        while prefix := next((p for p in prefixes if name.startswith(p)), ""):
            name = name.removeprefix(prefix)
        found[name] = value
    if only and any(key.startswith(only) for key in found):
        found = {k.removeprefix(only): v for k, v in found.items() if k.startswith(only)}
    return {key: value for key, value in found.items() if not (drop and re.search(drop, key))}


def fit(
    module: torch.nn.Module, entries: Mapping[str, Any], *, optional: Sequence[str] = ()
) -> None:
    """Load tensors into a module, in its own precision; every key must fit.

    optional: keys of the module that may be missing (buffers that it computes itself).

    Raises:
        EncoderError: keys missing, surplus or of another shape; the first few are named.
    """
    tensors = {key: value for key, value in entries.items() if isinstance(value, torch.Tensor)}
    wanted = module.state_dict()
    missing = sorted(set(wanted) - set(tensors) - set(optional))
    surplus = sorted(set(tensors) - set(wanted))
    shapes = [
        f"{key} is {tuple(tensors[key].shape)}, should be {tuple(wanted[key].shape)}"
        for key in sorted(set(wanted) & set(tensors))
        if tensors[key].shape != wanted[key].shape
    ]
    problems = [
        f"{title}: {', '.join(keys[:4])}{f' and {len(keys) - 4} more' if len(keys) > 4 else ''}"
        for title, keys in (("missing", missing), ("surplus", surplus), ("wrong shape", shapes))
        if keys
    ]
    if problems:
        raise EncoderError("; ".join(problems))
    module.load_state_dict(tensors, strict=not optional)
