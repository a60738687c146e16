"""Image models on images of three modalities; of video, the mean over its valid frames."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmark.errors import EncoderError


def image_modality(name: str, modality: str | None) -> str:
    """The modality an image model is used for: tissue tiles unless another is asked for.

    Raises:
        EncoderError: a modality that has no images.
    """
    chosen = modality or "histopathology"
    if chosen not in ("histopathology", "echo", "astronomy"):
        raise EncoderError(
            f"{name} takes images: --modality histopathology, echo or astronomy, not {chosen!r}"
        )
    return chosen


def image_input(
    modality: str, size: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> dict[str, object]:
    """`input` options of an image model for its modality; echo frames are spread to RGB."""
    own: dict[str, dict[str, object]] = {
        "echo": {"channels": 3, "frames": 32},
        "astronomy": {"towers": ("image",)},
    }
    return {"size": size, "mean": mean, "std": std, **own.get(modality, {})}


def over_frames(
    images: torch.Tensor,
    lengths: torch.Tensor | None,
    encode: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """`encode` on (B, 3, H, W), or on (B, 3, T, H, W) averaged over valid frames: (B, ...)."""
    if images.ndim == 4:
        return encode(images)
    batch, _, frames = images.shape[:3]
    encoded = encode(images.transpose(1, 2).flatten(0, 1))
    encoded = encoded.unflatten(0, (batch, frames))
    counts = torch.full((batch,), frames) if lengths is None else lengths
    valid = torch.arange(frames, device=images.device)[None] < counts.to(images.device)[:, None]
    weights = valid.to(encoded.dtype) / valid.sum(1, keepdim=True)
    return (encoded * weights.view(batch, frames, *[1] * (encoded.ndim - 2))).sum(1)
