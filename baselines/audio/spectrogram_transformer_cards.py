"""Cards of SSAST and ATST, the self-supervised spectrogram transformers (light)."""

from __future__ import annotations

from typing import Any

from benchmark.catalog import EncoderCard

SSAST_PAGE = "https://github.com/YuanGongND/ssast#pretrained-models"
ATST_PAGE = "https://github.com/Audio-WestlakeU/audiossl/tree/main/audiossl/methods"
# Width and heads of DeiT tiny, small and base; all have 12 blocks.
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"embed_dim": 192, "num_heads": 3},
    "small": {"embed_dim": 384, "num_heads": 6},
    "base": {"embed_dim": 768, "num_heads": 12},
}
# "Avg Audio Performance" and "Avg Speech Performance" of the README of YuanGongND/ssast.
SSAST_REPORTED = {
    ("base", "patch"): (59.9, 79.5),
    ("base", "frame"): (57.6, 84.0),
    ("small", "patch"): (58.1, 78.2),
    ("tiny", "patch"): (53.3, 75.7),
    ("tiny", "frame"): (47.8, None),
}
SSAST_PARAMETERS = {"tiny": 5_487_168, "small": 21_591_168, "base": 85_649_664}
ATST_PARAMETERS = {
    ("clip", "small"): 21_475_968,
    ("clip", "base"): 85_419_264,
    ("frame", "small"): 21_475_584,
    ("frame", "base"): 85_418_496,
}
ATST_FILES = {
    ("clip", "small"): f"small.ckpt from {ATST_PAGE}/atst",
    ("clip", "base"): f"base.ckpt from {ATST_PAGE}/atst",
    ("frame", "small"): f"the small checkpoint (Google Drive) from {ATST_PAGE}/atstframe",
    ("frame", "base"): f"atstframe_base.ckpt (Google Drive) from {ATST_PAGE}/atstframe",
}


def _ssast(name: str, size: str, kind: str) -> EncoderCard:
    patch = kind == "patch"
    file = f"SSAST-{size.capitalize()}-{kind.capitalize()}-400.pth"
    return EncoderCard(
        name=name,
        target=f"baselines.audio.ssast:{'Ssast' if patch else 'SsastFrame'}",
        modality="audio",
        title=f"SSAST {size}, {'patches of 16 x 16' if patch else 'frames of 128 x 2'}",
        summary=(
            "DeiT with two class tokens on Kaldi filter banks, 10.24 s at a time; a clip is the "
            "mean of its patch tokens. "
            + ("Patches overlap by 6." if patch else "Frames overlap by 1: 100 per second.")
        ),
        options=SIZES[size],
        reduced={"depth": 1, "input_tdim": 128},
        parameters=SSAST_PARAMETERS[size],
        dimension=SIZES[size]["embed_dim"],
        paper="Gong et al. 2022, https://arxiv.org/abs/2110.09784",
        licence="BSD-3-Clause",
        pretraining=(
            "joint discriminative and generative masked spectrogram patch modelling, 400 masked "
            f"{kind}{'es' if patch else 's'}, on AudioSet-2M and LibriSpeech"
        ),
        pretraining_data=("audioset", "librispeech"),
        weights=(
            f"none published in this size; {SSAST_PAGE} lists tiny and base frame models"
            if (size, kind) == ("small", "frame")
            else f"{file} from {SSAST_PAGE}"
        ),
        reported=_ssast_reported(size, kind),
    )


def _ssast_reported(size: str, kind: str) -> tuple[str, ...]:
    found = SSAST_REPORTED.get((size, kind))
    if found is None:
        return ("no figure for this model: README of YuanGongND/ssast lists none",)
    return tuple(
        f"fine-tuned (not frozen), mean over the authors' {area} tasks: {value} "
        "(README of YuanGongND/ssast)"
        for area, value in zip(("audio", "speech"), found, strict=False)
        if value is not None
    )


def _atst_reported(size: str, kind: str) -> tuple[str, ...]:
    lines = []
    if kind == "clip":
        lines.append(
            "speaker identification (VoxCeleb1), without fine-tuning: accuracy 72 (README of "
            "Audio-WestlakeU/audiossl, which names no size)"
        )
    else:
        lines.append(
            "no figure of a frozen model as text on the authors' page (README of "
            "Audio-WestlakeU/audiossl)"
        )
    if size == "base":
        scores = "ESC-50 94.1, VoxCeleb1 72.0" if kind == "clip" else "ESC-50 90.9, VoxCeleb1 77.4"
        lines.append(
            f"by others, frozen, linear: accuracy {scores} (README of "
            "github.com/nttcslab/eval-audio-repr)"
        )
    return tuple(lines)


def _atst(name: str, size: str, kind: str) -> EncoderCard:
    clip = kind == "clip"
    width: int = SIZES[size]["embed_dim"]
    return EncoderCard(
        name=name,
        target=f"baselines.audio.atst:Atst{kind.capitalize()}",
        modality="audio",
        title=f"ATST-{kind.capitalize()} {size}",
        summary=(
            "Transformer on patches of 64 mel bands x 40 ms, 25 per second (frames: last block). "
            + (
                "A clip is the class token and the mean of the patch tokens of all 12 blocks, "
                "averaged over 6 s chunks."
                if clip
                else "A clip is the mean of the patch tokens of all 12 blocks."
            )
        ),
        options={**SIZES[size], "frame_blocks": 1},
        reduced={"embed_dim": 96, "num_heads": 3, "depth": 2},
        parameters=ATST_PARAMETERS[kind, size],
        dimension=12 * width * (2 if clip else 1),
        paper=(
            "Li & Li 2022, https://arxiv.org/abs/2204.12076"
            if clip
            else "Li, Shao & Li 2024, https://arxiv.org/abs/2306.04186"
        ),
        licence="CC-BY-4.0",
        pretraining=(
            "teacher and student see two augmented segments of a clip (BYOL's loss, class token)"
            if clip
            else "the student predicts the teacher's frames from a masked spectrogram (BYOL's loss)"
        )
        + (", 200,000 clips of AudioSet" if size == "small" else ", AudioSet-2M"),
        pretraining_data=("audioset",),
        weights=ATST_FILES[kind, size],
        reported=_atst_reported(size, kind),
    )


CARDS: list[EncoderCard] = [
    _ssast("ssast", "base", "patch"),
    *(
        _ssast(f"ssast-{size}-{kind}", size, kind)
        for size in ("tiny", "small", "base")
        for kind in ("patch", "frame")
    ),
    _atst("atst-clip", "base", "clip"),
    _atst("atst-clip-small", "small", "clip"),
    _atst("atst-clip-base", "base", "clip"),
    _atst("atst-frame", "base", "frame"),
    _atst("atst-frame-small", "small", "frame"),
    _atst("atst-frame-base", "base", "frame"),
]
