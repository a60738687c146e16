"""MERT: a HuBERT for music, at 24 kHz (Li et al. 2024, https://arxiv.org/abs/2306.00107)."""

from __future__ import annotations

from baselines.audio.speech import WaveformTransformer, inference_settings

# Beside the encoder: the mask token, code embeddings and projections of masked prediction, the
# network that predicts the constant-Q transform. No part of the hub's MERT-v1 files is of these
# but the mask token; other exports carry them.
PRETRAINING = (
    r"^(masked_spec_embed|mask_emb|label_embs_concat)$|^(final_projs?|untie_final_projs?)\.|cqt"
)


class Mert(WaveformTransformer):
    """MERT-v1: 75 frames per second; the embedding is their mean over time in the last layer.

    The published model class adds to transformers' `HubertModel` only what MERT-v1 leaves switched
    off (a constant-Q front end, DeepNorm), so `HubertModel` computes it exactly, with layer
    normalisation before the projection (`feat_proj_layer_norm`). Group normalisation in the
    convolutions and, in the 330M model, normalisation before each block follow the authors'
    pretraining configurations (github.com/yizhilll/MERT,
    mert_fairseq/config/pretrain/MERT_RVQ-VAE_CQT_{95M,330M}.yaml: extractor_mode: default,
    layer_norm_first: true). The 330M model's attention relaxation rescales the argument of the
    softmax against overflow in half precision and does not change its value.

    `layers` gives 13 (95M) or 25 (330M) hidden states; which of them serves best depends on the
    task (section 4 of the paper probes them all).
    """

    def __init__(
        self,
        depth: int = 12,
        width: int = 768,
        heads: int = 12,
        intermediate: int = 3072,
        channels: int = 512,
        norm: str = "group",
        stable: bool = False,
        seconds: float = 30.0,
    ) -> None:
        """norm: of the convolutions, "group" or "layer". stable: normalise before attention and
        MLP (330M). seconds: window; pretraining saw 5 s at a time."""
        from transformers import HubertConfig, HubertModel

        settings = inference_settings(depth, width, heads, intermediate, channels)
        config = HubertConfig(
            **settings,
            feat_proj_layer_norm=True,
            feat_extract_norm=norm,
            do_stable_layer_norm=stable,
        )
        super().__init__(
            HubertModel(config),
            sample_rate=24_000,
            seconds=seconds,
            normalise=True,
            prefixes=("model.", "mert_model.", "hubert."),
            drop=PRETRAINING,
        )
