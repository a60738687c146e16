"""EchoCLIP: echo frames and report sentences in one space (Christensen et al., Nature Medicine
2024, doi:10.1038/s41591-024-02959-y)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import normalize

from baselines.generic.image_batches import over_frames
from benchmark.checkpoint import fit, tensors_of

# open_clip's default scaling, OpenAI's (open_clip/constants.py)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class EchoClip(nn.Module):
    """`echoclip`: unit-length embeddings of the frames, averaged; every second frame, twenty a
    window, as in the authors' `zero_shot_example.py` (github.com/echonet/echo_CLIP).

    A ConvNeXt-Base of timm and CLIP's text transformer, the architecture that open_clip calls
    `convnext_base`. The authors also cut 10% off each edge of a raw recording before resizing;
    datasets here are stored cropped.
    """

    modality: ClassVar[str] = "echo"

    def __init__(
        self,
        trunk: str = "convnext_base",
        size: int = 224,
        dimension: int = 512,
        text_width: int = 512,
        text_layers: int = 12,
        text_heads: int = 8,
        context: int = 77,
        frames: int = 20,
        stride: int = 2,
    ) -> None:
        super().__init__()
        from open_clip.model import CLIP

        self.input = {
            "frames": frames,
            "stride": stride,
            "size": size,
            "channels": 3,
            "mean": CLIP_MEAN,
            "std": CLIP_STD,
        }
        self.context = context
        self.model: Any = CLIP(
            embed_dim=dimension,
            vision_cfg={
                "timm_model_name": trunk,
                "timm_model_pretrained": False,
                "timm_pool": "",
                "timm_proj": "linear",
                "image_size": size,
            },
            text_cfg={
                "context_length": context,
                "width": text_width,
                "layers": text_layers,
                "heads": text_heads,
            },
        )

    def forward(self, video: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, 3, T, H, W), (B,) valid frames -> (B, D), the mean of unit vectors."""
        return over_frames(video, lengths, self._unit_vectors)

    def patches(self, video: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The vision trunk's last feature map of the first frame, (B, H / 32, W / 32, D)."""
        del lengths  # the first frame is always valid
        maps: Tensor = self.model.visual.trunk.forward_features(video[:, :, 0])
        return maps.permute(0, 2, 3, 1).float()

    def encode_text(self, texts: list[str]) -> Tensor:
        """Sentences -> (N, D) unit vectors in the space of `forward`; CLIP's byte-pair encoding,
        cut at 77 tokens."""
        tokens = self._tokenizer(texts, context_length=self.context)
        tokens = tokens.to(self.model.positional_embedding.device)
        return normalize(self.model.encode_text(tokens).float(), dim=-1)

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """open_clip's keys, bare or under `module.`.

        Raises:
            EncoderError: keys missing, surplus or of another shape.
        """
        tensors = tensors_of(entries, inside=("state_dict",), prefixes=("module.",))
        fit(self.model, tensors)

    @cached_property
    def _tokenizer(self) -> Any:
        from open_clip.tokenizer import SimpleTokenizer

        return SimpleTokenizer()

    def _unit_vectors(self, images: Tensor) -> Tensor:
        return normalize(self.model.encode_image(images).float(), dim=-1)
