"""Whether the tensors that a header names fit an architecture, on the meta device: no weights are
read, none are allocated, and the engine's own mapping of published keys decides."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from benchmark.catalog import EncoderCard, encoder_cards, nearest
from benchmark.errors import EncoderError
from leaderboard.validation.refusal import Refusal, shown
from leaderboard.validation.safetensors_header import TensorEntry

if TYPE_CHECKING:
    import torch

TIMM = re.compile(r"timm:[a-z0-9_]{1,80}(\.[a-z0-9_]{1,80})?")
TORCH_NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def submittable() -> dict[str, EncoderCard]:
    """The architectures of the catalog that take weights; `timm:NAME` is accepted besides."""
    return {
        name: card
        for name, card in encoder_cards().items()
        if card.kind in ("pretrained", "control")
    }


def architecture_modality(arch: str, modality: str | None, name: str) -> str:
    """The modality in which an architecture is evaluated.

    Raises:
        Refusal: unknown, without weights, or read from elsewhere than the catalog.
    """
    known = submittable()
    card = encoder_cards().get(arch)
    if card is not None and arch not in known:
        raise Refusal(
            name, "arch", f"{arch} has no weights to load", "choose an architecture with weights"
        )
    if card is None and not TIMM.fullmatch(arch):
        raise Refusal(
            name,
            "arch",
            f"there is no architecture {shown(arch)!r}.{nearest(arch[:80], known)}",
            "`ssl-bench list models` names them, timm:NAME is accepted too",
        )
    if card is not None:
        if modality not in (None, "", card.modality):
            raise Refusal(
                name, "modality", f"{arch} takes {card.modality}, not {shown(modality)}", "leave it"
            )
        return card.modality
    if modality not in ("histopathology", "echo"):
        raise Refusal(
            name, "modality", f"{arch} takes images", "say --modality histopathology or echo"
        )
    return modality


def check_architecture(
    entries: Mapping[str, TensorEntry], arch: str, modality: str | None, name: str
) -> None:
    """Refuse tensors that do not fit; missing, surplus and misshapen ones are named.

    Raises:
        Refusal: they do not fit, or there is no such architecture.
    """
    modality = architecture_modality(arch, modality, name)
    try:
        try:
            _fit(entries, arch, modality, "meta")
        except EncoderError:
            raise
        except Exception:  # values are looked at while building or mapping: with zeros, then
            _fit(entries, arch, modality, "cpu")
    except Exception as error:
        reason = str(error) if isinstance(error, EncoderError) else type(error).__name__
        raise Refusal(
            name,
            "tensors",
            f"they do not fit {arch}: {reason}",
            "choose the architecture that the checkpoint was trained with",
        ) from None


def _fit(entries: Mapping[str, TensorEntry], arch: str, modality: str, device: str) -> None:
    import torch

    from benchmark.checkpoint import fit

    module = _build(arch, modality, device).to("meta")
    if not module.state_dict():
        raise EncoderError(f"{arch} has no weights to load")
    zero = torch.zeros((), device=device)
    tensors = {
        key: zero.to(getattr(torch, TORCH_NAMES[entry.dtype])).expand(entry.shape)
        for key, entry in entries.items()
    }
    own = getattr(module, "load_checkpoint", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says of every tensor that nothing is copied
        if callable(own):
            own(tensors)
        else:
            fit(module, tensors)


def _build(arch: str, modality: str, device: str) -> torch.nn.Module:
    import torch

    from benchmark.catalog import import_target

    module: torch.nn.Module
    if arch.startswith("timm:"):
        with torch.device(device):
            module = import_target(encoder_cards()["timm:*"].target)(
                arch.removeprefix("timm:"), pretrained=False, modality=modality
            )
        return module
    card = encoder_cards()[arch]
    with torch.device(device):
        module = import_target(card.target)(**card.options)
    return module
