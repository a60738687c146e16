"""PLIP: CLIP's image and text towers, tuned on pathology images and their descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.checkpoint import fit, tensors_of

# OpenAI CLIP's own (https://arxiv.org/abs/2103.00020)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
CONTEXT = 77  # text tokens, start and end included


class Plip(nn.Module):
    """PLIP (Huang et al. 2023, https://doi.org/10.1038/s41591-023-02504-3).

    transformers' `CLIPModel`, ViT-B/32. Image and text embeddings are the towers' projections, not
    normalised. Source: github.com/PathologyFoundation/plip, `plip.py`. CLIP's own byte-pair
    vocabulary splits the texts; it ships inside the package open_clip.
    """

    modality = "histopathology"

    def __init__(
        self,
        image_size: int = 224,
        patch: int = 32,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        text_width: int = 512,
        text_depth: int = 12,
        text_heads: int = 8,
        dimension: int = 512,
    ) -> None:
        super().__init__()
        from transformers import CLIPConfig, CLIPModel

        self.input: dict[str, object] = {
            "size": image_size,
            "mean": CLIP_MEAN,
            "std": CLIP_STD,
            "interpolation": "bicubic",
            "crop": True,
        }
        vision = {
            "image_size": image_size,
            "patch_size": patch,
            "hidden_size": width,
            "num_hidden_layers": depth,
            "num_attention_heads": heads,
            "intermediate_size": 4 * width,
        }
        text = {
            "hidden_size": text_width,
            "num_hidden_layers": text_depth,
            "num_attention_heads": text_heads,
            "intermediate_size": 4 * text_width,
            "max_position_embeddings": CONTEXT,
        }
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=dimension)
        self.clip: Any = CLIPModel(config)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) standardised RGB -> (B, dimension)."""
        pooled = self.clip.vision_model(pixel_values=image).pooler_output
        embedding: Tensor = self.clip.visual_projection(pooled)
        return embedding

    def patches(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, H / patch, W / patch, width): tokens of the last block, normed.

        CLIP norms its class token alone; the same norm gives the patch tokens its scale.
        """
        hidden = self.clip.vision_model(pixel_values=image).last_hidden_state[:, 1:]
        side = round(hidden.shape[1] ** 0.5)
        tokens: Tensor = self.clip.vision_model.post_layernorm(hidden)
        return tokens.unflatten(1, (side, side))

    def layers(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (depth, B, width): every block's class token through the last norm."""
        vision = self.clip.vision_model
        hidden = vision(pixel_values=image, output_hidden_states=True).hidden_states[1:]
        return torch.stack([vision.post_layernorm(states[:, 0]) for states in hidden])

    def encode_text(self, texts: list[str]) -> Tensor:
        """N texts -> (N, dimension), in the space of `forward`; longer than 77 tokens are cut."""
        tokens = self._tokenizer(texts, context_length=CONTEXT)
        tokens = tokens.to(self.clip.logit_scale.device)
        # attention is causal, so the padding after the end token, where the text is read, is unseen
        pooled = self.clip.text_model(input_ids=tokens).pooler_output
        embedding: Tensor = self.clip.text_projection(pooled)
        return embedding

    @cached_property
    def _tokenizer(self) -> Any:
        from open_clip.tokenizer import SimpleTokenizer

        return SimpleTokenizer()

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """The published file: the keys of transformers' `CLIPModel`.

        `position_ids` are counters that transformers stored with the weights until 2023.
        """
        fit(self.clip, tensors_of(entries, drop=r"\.position_ids$"))
