"""Cards of the audio encoders (light: no encoder is imported here)."""

from baselines.audio.spectrogram_transformer_cards import CARDS as SPECTROGRAM_TRANSFORMERS
from baselines.audio.transformers_cards import CARDS as TRANSFORMERS
from benchmark.catalog import EncoderCard

ENCODERS: list[EncoderCard] = [
    EncoderCard(
        name="mfcc",
        target="baselines.audio.mfcc:MfccStatistics",
        modality="audio",
        title="MFCC and log-mel statistics",
        kind="features",
        summary=(
            "Clips: mean, deviation and maximum over time of MFCCs, their differences, log-mel "
            "bands, spectral flux and shape. Frames (50 Hz): MFCCs, log-mel bands and their rise "
            "around the frame."
        ),
        parameters=0,
        dimension=335,
        licence="Apache-2.0",
    ),
    EncoderCard(
        name="random-conformer",
        target="baselines.audio.random_conformer:RandomConformer",
        modality="audio",
        title="Randomly initialised conformer, two layers of width 128",
        kind="control",
        summary=(
            "w2v-BERT's encoder from transformers' Wav2Vec2BertModel on log-mel frames, narrowed "
            "and not trained: what the architecture alone brings. 50 frames per second."
        ),
        parameters=525_088,
        dimension=128,
        paper="Gulati et al. 2020, https://arxiv.org/abs/2005.08100",
        licence="Apache-2.0",
    ),
    *SPECTROGRAM_TRANSFORMERS,
    *TRANSFORMERS,
]
