"""Cards of the audio encoders that run on the architectures of `transformers` (light)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmark.catalog import EncoderCard, HubFile

TINY: dict[str, Any] = {"depth": 2, "width": 64, "heads": 2, "intermediate": 128}
TINY_WAVEFORM = {**TINY, "channels": 32, "seconds": 2.0}
WEIGHTS = "pytorch_model.bin"
MERT_REPORTED = (
    "no figure on the authors' pages (the hub's and README of yizhilll/MERT): the paper's tables, "
    "which this card does not copy, compare frozen models on MARBLE's tasks",
)


def _hub(repository: str, revision: str = "main", seen: str = "") -> dict[str, Any]:
    """`seen`: the beginning of the commit that `main` was at, where the whole is not public."""
    page = f"https://huggingface.co/{repository}"
    return {
        "weights": f"{WEIGHTS} from {page}" + (f" (main was seen at {seen})" if seen else ""),
        "hub": HubFile(repository, WEIGHTS, revision),
    }


MERT_95M = EncoderCard(
    name="mert-95m",
    target="baselines.audio.mert:Mert",
    modality="audio",
    title="MERT-v1-95M",
    summary=(
        "A HuBERT for music: 24 kHz, 75 frames per second, 12 layers of width 768 (13 hidden "
        "states). Mean over time of the last layer; layer-wise probing picks another."
    ),
    reduced=TINY_WAVEFORM,
    parameters=94_370_944,
    dimension=768,
    paper="Li et al. 2024, https://arxiv.org/abs/2306.00107",
    licence="CC-BY-NC-4.0",
    pretraining=(
        "Masked prediction of EnCodec codes and of the constant-Q transform, in-batch mixing; "
        "20,000 hours of unpublished music, so that overlap with a task cannot be ruled out"
    ),
    reported=MERT_REPORTED,
    **_hub("m-a-p/MERT-v1-95M", "12af15fef9d0ac838c3f475bfbbf26d2060dd4f5"),
)

MERT_330M = EncoderCard(
    name="mert-330m",
    target="baselines.audio.mert:Mert",
    modality="audio",
    title="MERT-v1-330M",
    summary=(
        "A HuBERT for music: 24 kHz, 75 frames per second, 24 layers of width 1,024 (25 hidden "
        "states), normalised before each block. Mean over time of the last layer."
    ),
    options={"depth": 24, "width": 1024, "heads": 16, "intermediate": 4096, "stable": True},
    reduced=TINY_WAVEFORM,
    parameters=315_427_968,
    dimension=1024,
    paper="Li et al. 2024, https://arxiv.org/abs/2306.00107",
    licence="CC-BY-NC-4.0",
    pretraining=(
        "Masked prediction of EnCodec codes and of the constant-Q transform, in-batch mixing; "
        "160,000 hours of unpublished music, so that overlap with a task cannot be ruled out"
    ),
    reported=MERT_REPORTED,
    **_hub("m-a-p/MERT-v1-330M", "0e06c986db0527c0fd1b47181c40f006805e3de0"),
)


def _speech(name: str, **fields: Any) -> EncoderCard:
    """Base models of 50 frames per second, pretrained on LibriSpeech without its transcripts."""
    fields["options"] = {"family": name, **fields.get("options", {})}
    return EncoderCard(
        name=name,
        target="baselines.audio.speech:SpeechTransformer",
        modality="audio",
        reduced=TINY_WAVEFORM,
        dimension=768,
        pretraining_data=("librispeech",),
        **fields,
    )


SPEECH = [
    _speech(
        "wav2vec2",
        title="wav2vec 2.0 base",
        summary="16 kHz waveforms, 12 layers; mean over time of the last layer.",
        parameters=94_370_944,
        paper="Baevski et al. 2020, https://arxiv.org/abs/2006.11477",
        licence="Apache-2.0",
        pretraining="Contrastive prediction of quantized latents, 960 h of speech (LibriSpeech)",
        reported=(
            "LibriSpeech, fine-tuned on 960 h (not frozen): word error rate 3.4 clean, 8.6 other "
            "(page of facebook/wav2vec2-base-960h)",
        ),
        **_hub("facebook/wav2vec2-base", "0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8"),
    ),
    _speech(
        "hubert",
        title="HuBERT base",
        summary="16 kHz waveforms, 12 layers; mean over time of the last layer.",
        parameters=94_370_944,
        paper="Hsu et al. 2021, https://arxiv.org/abs/2106.07447",
        licence="Apache-2.0",
        pretraining="Masked prediction of cluster labels, 960 h of speech (LibriSpeech)",
        reported=(
            "no figure for this size on the authors' pages (the hub's and examples/hubert of "
            "facebookresearch/fairseq): the paper has fine-tuned word error rates",
            "by others, frozen, linear layer: ESC-50 58.9, UrbanSound8K 67.3 "
            "(huggingface.co/spaces/ALM/ARCH)",
        ),
        **_hub("facebook/hubert-base-ls960", "dba3bb02fda4248b6e082697eee756de8fe8aa8a"),
    ),
    _speech(
        "wavlm",
        title="WavLM base",
        summary=(
            "16 kHz waveforms, 12 layers with gated relative position bias; mean over time of the "
            "last layer."
        ),
        parameters=94_381_168,
        paper="Chen et al. 2022, https://arxiv.org/abs/2110.13900",
        licence="CC-BY-SA-3.0 (LICENSE of microsoft/UniSpeech; torchaudio's documentation: MIT)",
        pretraining=(
            "Masked prediction of cluster labels from noisy and overlapped speech, 960 h "
            "(LibriSpeech)"
        ),
        reported=(
            "no figure as text on the authors' pages (README of microsoft/UniSpeech shows its "
            "SUPERB results as pictures): the paper has frozen SUPERB scores",
            "by others, frozen, linear layer: ESC-50 49.9, UrbanSound8K 61.8 "
            "(huggingface.co/spaces/ALM/ARCH)",
        ),
        **_hub("microsoft/wavlm-base", "efa81aae7ff777e464159e0f877d54eac5b84f81"),
    ),
    _speech(
        "data2vec",
        title="data2vec audio base",
        summary="16 kHz waveforms, 12 layers; mean over time of the last layer.",
        parameters=93_163_520,
        paper="Baevski et al. 2022, https://arxiv.org/abs/2202.03555",
        licence="Apache-2.0",
        pretraining="Self-distillation of masked latents, 960 h of speech (LibriSpeech)",
        reported=(
            "LibriSpeech, fine-tuned on 960 h (not frozen): word error rate 2.77 clean, 7.08 other "
            "(page of facebook/data2vec-audio-base-960h)",
        ),
        **_hub("facebook/data2vec-audio-base", seen="1f5a640"),
    ),
]

AST = EncoderCard(
    name="ast",
    target="baselines.audio.audio_spectrogram:AudioSpectrogramTransformer",
    modality="audio",
    title="Audio Spectrogram Transformer (AudioSet, 10-10, 0.4593)",
    summary=(
        "Vision transformer on windows of 10.24 s of log-mel filter banks, overlapping patches; "
        "mean of class and distillation token. Supervised, for comparison."
    ),
    reduced={**TINY, "frames": 256},
    parameters=86_187_264,
    dimension=768,
    paper="Gong et al. 2021, https://arxiv.org/abs/2104.01778",
    licence="BSD-3-Clause",
    pretraining="Supervised: ImageNet (DeiT), then AudioSet's labels",
    pretraining_data=("imagenet", "audioset"),
    reported=(
        "AudioSet, its own training task: mAP 0.4593 (the checkpoint's name)",
        "ESC-50, fine-tuned (not frozen): accuracy 95.6 (README of YuanGongND/ast)",
    ),
    **_hub("MIT/ast-finetuned-audioset-10-10-0.4593", "f826b80d28226b62986cc218e5cec390b1096902"),
)


WHISPER_UNREAD = (
    "no figure for a frozen encoder; for the word error rates of the whole model in this size see "
    "the paper's tables, which this card does not copy",
)


def _whisper(name: str, size: str, revision: str, **fields: Any) -> EncoderCard:
    return EncoderCard(
        name=name,
        target="baselines.audio.whisper:WhisperSpeech",
        modality="audio",
        title=f"Whisper {size}, encoder",
        summary=(
            "Log-mel spectrograms of 30 s, silence after a shorter clip; mean over the clip's own "
            "frames of the last layer. 50 frames per second. Supervised, for comparison."
        ),
        reduced={**TINY, "seconds": 2.0},
        paper="Radford et al. 2022, https://arxiv.org/abs/2212.04356",
        licence="Apache-2.0",
        pretraining="Supervised: transcripts and translations of 680,000 h of speech from the web",
        **_hub(f"openai/whisper-{size}", revision),
        **fields,
    )


WHISPER = [
    _whisper(
        "whisper",
        "base",
        "e37978b90ca9030d5170a5c07aadb050351a65bb",
        parameters=20_590_592,
        dimension=512,
        reported=(
            "LibriSpeech, the whole model as it is: word error rate 5.01 clean, 12.85 other (page "
            "of openai/whisper-base)",
        ),
    ),
    _whisper(
        "whisper-tiny",
        "tiny",
        "169d4a4341b33bc18d8881c4b69c2e104e1cc0af",
        options={"depth": 4, "width": 384, "heads": 6, "intermediate": 1536},
        parameters=8_208_384,
        dimension=384,
        reported=WHISPER_UNREAD,
    ),
    _whisper(
        "whisper-small",
        "small",
        "973afd24965f72e36ca33b3055d56a652f456b4d",
        options={"depth": 12, "width": 768, "heads": 12, "intermediate": 3072},
        parameters=88_154_112,
        dimension=768,
        reported=WHISPER_UNREAD,
    ),
]

CLAP = EncoderCard(
    name="clap",
    target="baselines.audio.clap:ClapAudioText",
    modality="audio",
    title="LAION-CLAP, HTS-AT and RoBERTa, unfused",
    summary=(
        "48 kHz, windows of 10 s, a shorter clip repeated; unit vectors in a space shared with "
        "text, so that classes can be named (zero-shot)."
    ),
    reduced={
        "depths": (1, 1, 1, 1),
        "heads": (1, 2, 4, 8),
        "channels": 16,
        "text_depth": 1,
        "text_width": 32,
        "text_heads": 2,
        "text_intermediate": 64,
        "dimension": 64,
        "tokenizer": "bytes",
    },
    parameters=153_492_890,
    dimension=512,
    paper="Wu et al. 2023, https://arxiv.org/abs/2211.06687",
    licence="Apache-2.0 (the hub's page; the authors' repository is CC0-1.0)",
    pretraining=(
        "Contrastive, audio with text: LAION-Audio-630K (Freesound, from which ESC-50 and FSD50K "
        "are drawn, BBC Sound Effects and others), AudioCaps, Clotho; the audio tower began from "
        "HTS-AT trained on AudioSet's labels (README of LAION-AI/CLAP)"
    ),
    pretraining_data=("laion-audio-630k", "freesound", "audioset", "audiocaps", "clotho"),
    reported=(
        "ESC-50, zero-shot by the authors' default checkpoint without fusion, clips that also are "
        "in its training data removed: R@1 0.9275 (README of LAION-AI/CLAP, which does not say "
        "whether the hub holds that checkpoint)",
    ),
    **_hub("laion/clap-htsat-unfused", "8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a"),
)

CARDS: list[EncoderCard] = [
    replace(MERT_95M, name="mert"),
    MERT_95M,
    MERT_330M,
    *SPEECH,
    AST,
    *WHISPER,
    CLAP,
]
