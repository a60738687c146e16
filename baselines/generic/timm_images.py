"""timm's image models by name (Wightman, https://github.com/huggingface/pytorch-image-models)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from baselines.generic.image_batches import image_input, image_modality, over_frames
from benchmark.catalog import nearest
from benchmark.checkpoint import fit, tensors_of
from benchmark.errors import EncoderError


class TimmImages(torch.nn.Module):
    """`timm:NAME`: the model's pooled features; patch tokens or feature map for segmentation."""

    def __init__(self, name: str, pretrained: bool = True, modality: str | None = None) -> None:
        super().__init__()
        import timm

        if not timm.is_model(name):
            hint = nearest(name, timm.list_models()) or " See timm.list_models()."
            raise EncoderError(f"timm has no model {name!r}.{hint}")
        try:
            self.model: Any = timm.create_model(name, pretrained=pretrained, num_classes=0)
        except Exception as error:
            raise EncoderError(
                f"timm:{name}: its weights cannot be had ({str(error).splitlines()[0][:200]}); "
                "connect to the model hub once, pass --checkpoint FILE, or use --init random"
            ) from error
        self.modality = image_modality(f"timm:{name}", modality)
        config = timm.data.resolve_model_data_config(self.model)
        self.input = image_input(
            self.modality, config["input_size"][-1], tuple(config["mean"]), tuple(config["std"])
        )

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """Weights under timm's own names, with the classifier or without it, or under ours.

        Raises:
            EncoderError: they do not fit.
        """
        classifier = self.model.default_cfg.get("classifier") or ()
        heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        drop = "|".join(rf"^{re.escape(head)}\." for head in heads)
        fit(self.model, tensors_of(entries, prefixes=("model.",), drop=drop))

    def forward(self, image: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """(B, 3, H, W) or (B, 3, T, H, W) -> (B, D)."""
        return over_frames(image, lengths, self.model)

    def patches(self, image: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """The last feature map, (B, H', W', D); video: averaged over frames."""
        return over_frames(image, lengths, self._grid)

    def _grid(self, images: torch.Tensor) -> torch.Tensor:
        features = self.model.forward_features(images)
        if features.ndim == 3:  # tokens: prefix (class, register) tokens first
            tokens = features[:, getattr(self.model, "num_prefix_tokens", 0) :]
            height, width = self.model.patch_embed.grid_size
            return tokens.unflatten(1, (height, width))
        if features.shape[1] == self.model.num_features:  # (B, D, H', W'), convolutional
            return features.permute(0, 2, 3, 1)
        return features  # (B, H', W', D), such as Swin
