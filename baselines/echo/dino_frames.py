"""DINO's vision transformer on single frames: what still pictures alone give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from baselines.generic.image_batches import over_frames
from benchmark.checkpoint import fit, tensors_of

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class DinoFrames(nn.Module):
    """`dino-frames`: class token of every frame, averaged over the valid ones.

    Any vision transformer of timm serves (`architecture`), among them those of DINO (Caron et al.,
    ICCV 2021, arXiv:2104.14294) and DINOv2 (Oquab et al., TMLR 2024, arXiv:2304.07193).
    """

    modality: ClassVar[str] = "echo"

    def __init__(
        self,
        architecture: str = "vit_small_patch16_224.dino",
        size: int = 224,
        frames: int = 32,
        stride: int = 1,
        depth: int | None = None,
    ) -> None:
        super().__init__()
        import timm

        self.input = {
            "frames": frames,
            "stride": stride,
            "size": size,
            "channels": 3,
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
        }
        reduced: dict[str, Any] = {} if depth is None else {"depth": depth}
        self.model: Any = timm.create_model(
            architecture, pretrained=False, num_classes=0, img_size=size, **reduced
        )

    def forward(self, video: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, 3, T, H, W), (B,) valid frames -> (B, D)."""
        return over_frames(video, lengths, lambda images: self.model(images).float())

    def layers(self, video: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The normalised class token after every block: (depth, B, D)."""
        return over_frames(video, lengths, self._class_tokens).transpose(0, 1)

    def patches(self, video: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Patch tokens of the first frame, (B, H', W', D)."""
        del lengths  # the first frame is always valid
        tokens = self.model.forward_features(video[:, :, 0])[:, self.model.num_prefix_tokens :]
        return tokens.unflatten(1, self.model.patch_embed.grid_size).float()

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """timm's keys, which are also those of the authors' backbone files; a classification head
        and DINOv2's unused mask token are left out.

        Raises:
            EncoderError: keys missing, surplus or of another shape.
        """
        tensors = tensors_of(
            entries, prefixes=("module.", "backbone."), drop=r"^(head\.|mask_token$)"
        )
        fit(self.model, tensors)

    def _class_tokens(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, depth, D)."""
        states = self.model.forward_intermediates(
            images, norm=True, return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
        )
        return torch.stack([prefix[:, 0].float() for _, prefix in states], 1)
