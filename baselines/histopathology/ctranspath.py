"""CTransPath: a Swin transformer with a convolutional stem, on tiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from baselines.histopathology.tile_vit import IMAGENET_MEAN, IMAGENET_STD, renamed
from benchmark.checkpoint import fit, tensors_of


class ConvStem(nn.Module):
    """Patch embedding by two strided 3 x 3 convolutions and a 1 x 1, in place of one 4 x 4.

    Source: `ctran.py` of github.com/Xiyue-Wang/TransPath (layers and their numbers).
    """

    def __init__(
        self,
        img_size: int = 224,
        patch_size: int = 4,
        in_chans: int = 3,
        embed_dim: int = 96,
        norm_layer: Callable[[int], nn.Module] | None = None,
        **_: Any,  # what timm passes for its own patch embedding
    ) -> None:
        super().__init__()
        narrow, wide = embed_dim // 8, embed_dim // 4
        self.grid_size = (img_size // patch_size, img_size // patch_size)
        self.proj = nn.Sequential(
            nn.Conv2d(in_chans, narrow, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, wide, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.Conv2d(wide, embed_dim, 1),
        )
        self.norm = norm_layer(embed_dim) if norm_layer else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, H / 4, W / 4, embed_dim)."""
        grid: Tensor = self.norm(self.proj(image).movedim(1, -1))
        return grid


class CTransPath(nn.Module):
    """CTransPath (Wang et al. 2022, https://doi.org/10.1016/j.media.2022.102559): mean token.

    timm's Swin-T (Liu et al. 2021, https://arxiv.org/abs/2103.14030) with the convolutional stem.
    Source: github.com/Xiyue-Wang/TransPath, `ctran.py` and `get_features_CTransPath.py`. Its README
    advises tiles at 1.0 micrometre per pixel.
    """

    modality = "histopathology"

    def __init__(
        self,
        image_size: int = 224,
        window: int = 7,
        width: int = 96,
        depths: tuple[int, ...] = (2, 2, 6, 2),
        heads: tuple[int, ...] = (3, 6, 12, 24),
    ) -> None:
        super().__init__()
        from timm.models.swin_transformer import SwinTransformer

        self.input: dict[str, object] = {
            "size": image_size,
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
        }
        self.swin: Any = SwinTransformer(
            img_size=image_size,
            patch_size=4,
            window_size=window,
            embed_dim=width,
            depths=tuple(depths),
            num_heads=tuple(heads),
            num_classes=0,
            embed_layer=ConvStem,
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) standardised RGB -> (B, 8 x width): the mean of the last stage, normed."""
        embedding: Tensor = self.swin(image)
        return embedding

    def patches(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, H / 32, W / 32, 8 x width): the last stage, normed."""
        grid: Tensor = self.swin.forward_features(image)
        return grid

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """The published file: the keys of timm 0.5.4's Swin.

        That release counts the downsampling to the stage before it, today's timm to the stage after
        it. Window indices and masks were stored, and are computed here.
        """
        tensors = tensors_of(entries, drop=r"\.(relative_position_index|attn_mask)$")
        names = {
            f"layers.{stage}.downsample.{key}": f"layers.{stage + 1}.downsample.{key}"
            for stage in range(len(self.swin.layers) - 1)
            for key in ("norm.weight", "norm.bias", "reduction.weight")
        }
        fit(self.swin, renamed(tensors, names))
