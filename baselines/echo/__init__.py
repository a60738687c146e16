"""Cards of the echo encoders (light: no encoder is imported here)."""

from benchmark.catalog import EncoderCard, HubFile

ENCODERS: list[EncoderCard] = [
    EncoderCard(
        name="flow-statistics",
        target="baselines.echo.flow_statistics:FlowStatistics",
        modality="echo",
        title="Intensity and optical-flow statistics",
        kind="features",
        summary=(
            "Brightness, its variation and rhythm per cell of a grid, and displacement and area "
            "change from dense optical flow (OpenCV's Farneback); local contrast, context and "
            "place for segmentation. Nothing is learned."
        ),
        parameters=0,
        dimension=263,
        paper="https://doi.org/10.1007/3-540-45103-X_50",
        licence="Apache-2.0",
    ),
    EncoderCard(
        name="random-videomae",
        target="baselines.echo.random_videomae:RandomVideoMAE",
        modality="echo",
        title="VideoMAE, small, random weights",
        kind="control",
        summary=(
            "Two layers of VideoMAE's encoder on 4 x 8 x 8 tubelets, untrained: what a video "
            "transformer's architecture gives before any learning."
        ),
        dimension=256,
        paper="https://arxiv.org/abs/2203.12602",
        parameters=429_440,
        licence="Apache-2.0",
    ),
    EncoderCard(
        name="discovr",
        target="baselines.echo.discovr:Discovr",
        modality="echo",
        title="DISCOVR video encoder, ViT-Base",
        summary=(
            "Video transformer of 64 frames trained by self-distillation and online clusters of an "
            "image encoder; normalised class token of the video teacher, or mean token after "
            "fc_norm for a checkpoint in VideoMAE's fine-tuning layout."
        ),
        parameters=86_227_200,
        dimension=768,
        paper="https://arxiv.org/abs/2506.11777",
        licence="MIT (the authors' code)",
        pretraining=(
            "Self-distillation and clusters, without labels, on the videos of EchoNet-Dynamic, "
            "RVENet and a set that the authors' table calls EchoPediatric LVH, read here as both "
            "EchoNet-Pediatric and EchoNet-LVH"
        ),
        pretraining_data=("echonet-dynamic", "echonet-pediatric", "echonet-lvh", "rvenet"),
        weights=(
            "checkpoint-799.pth from https://huggingface.co/Div97/DISCOVR_ADULT_PEDIATRIC_MODEL, "
            "linked by https://github.com/mdivyanshu97/DISCOVR"
        ),
        hub=HubFile("Div97/DISCOVR_ADULT_PEDIATRIC_MODEL", "checkpoint-799.pth"),
        reduced={"depth": 1, "dimension": 96, "heads": 3, "frames": 8, "size": 64},
        reported=(
            "no figure in the abstract or on the page of the code; the paper's tables are not "
            "copied here",
        ),
    ),
    EncoderCard(
        name="echonet-r2plus1d",
        target="baselines.echo.echonet:EchoNetR2Plus1D",
        modality="echo",
        title="EchoNet-Dynamic R(2+1)D-18",
        summary=(
            "The pooled features under EchoNet-Dynamic's regression of the ejection fraction: a "
            "supervised reference, trained with the labels of its dataset."
        ),
        parameters=31_300_125,
        dimension=512,
        paper="https://doi.org/10.1038/s41586-020-2145-8",
        licence="the authors' own: no redistribution without their permission",
        pretraining="Kinetics-400 (actions), then ejection fraction on EchoNet-Dynamic's videos",
        pretraining_data=("kinetics-400", "echonet-dynamic"),
        weights=(
            "r2plus1d_18_32_2_pretrained.pt from "
            "https://github.com/echonet/dynamic/releases/tag/v1.0.0"
        ),
        reduced={"frames": 4, "size": 16, "blocks": 1},
        reported=(
            "ejection fraction (its own task, supervised): mean absolute error 4.1%, heart failure "
            "with reduced ejection fraction AUC 0.97; on another hospital's videos 6.0% and 0.96 "
            "(abstract of the paper)",
        ),
    ),
    EncoderCard(
        name="videomae",
        target="baselines.echo.videomae:VideoMAE",
        modality="echo",
        title="VideoMAE Base, Kinetics-400",
        summary=(
            "Video transformer pretrained to fill in masked tubes of everyday videos: what general "
            "video pretraining gives on hearts. 16 frames, every fourth."
        ),
        parameters=86_227_200,
        dimension=768,
        paper="https://arxiv.org/abs/2203.12602",
        licence="CC-BY-NC-4.0",
        pretraining="masked autoencoding of Kinetics-400 videos, without labels",
        pretraining_data=("kinetics-400",),
        weights="model.safetensors from https://huggingface.co/MCG-NJU/videomae-base",
        hub=HubFile(
            "MCG-NJU/videomae-base",
            "model.safetensors",
            revision="dc740ceda42fce44faed2ea03c6d447db72f6af9",
        ),
        reduced={"depth": 1, "dimension": 96, "heads": 3, "mlp_dimension": 192, "size": 64},
        reported=(
            "Kinetics-400, fine-tuned (not frozen), 1,600 epochs of pretraining: top-1 81.5, top-5 "
            "95.1 (MODEL_ZOO.md of MCG-NJU/VideoMAE)",
        ),
    ),
    EncoderCard(
        name="dino-frames",
        target="baselines.echo.dino_frames:DinoFrames",
        modality="echo",
        title="DINO ViT-Small on frames",
        summary=(
            "Class tokens of single frames, averaged: what still pictures give, with no motion."
        ),
        parameters=21_665_664,
        dimension=384,
        paper="https://arxiv.org/abs/2104.14294",
        licence="Apache-2.0",
        pretraining="self-distillation on ImageNet-1k, without labels",
        pretraining_data=("imagenet",),
        weights="model.safetensors from https://huggingface.co/timm/vit_small_patch16_224.dino",
        hub=HubFile(
            "timm/vit_small_patch16_224.dino",
            "model.safetensors",
            revision="10e440b8a34dfd657a90f2fcaa988c6b6a2f0da4",
        ),
        reduced={"depth": 1, "frames": 4, "size": 64},
        reported=(
            "ImageNet, frozen, ViT-S/16: k-NN 74.5, linear 77.0 (README of facebookresearch/dino)",
        ),
    ),
    EncoderCard(
        name="echoclip",
        target="baselines.echo.echoclip:EchoClip",
        modality="echo",
        title="EchoCLIP",
        summary=(
            "Frames and sentences of their reports in one space: ConvNeXt-Base and CLIP's text "
            "transformer; unit-length frame embeddings averaged. Zero-shot."
        ),
        parameters=151_518_849,
        dimension=512,
        paper="https://doi.org/10.1038/s41591-024-02959-y",
        licence="Cedars-Sinai academic software licence: academic and nonprofit research only",
        pretraining=(
            "CLIP weights, then 1,032,975 echocardiogram videos of Cedars-Sinai with their reports"
        ),
        pretraining_data=("cedars-sinai-echo",),
        weights=(
            "open_clip_pytorch_model.bin from https://huggingface.co/mkaichristensen/echo-clip "
            "(main was seen at 2c66a65)"
        ),
        hub=HubFile("mkaichristensen/echo-clip", "open_clip_pytorch_model.bin"),
        reduced={
            "trunk": "convnext_atto",
            "size": 64,
            "dimension": 64,
            "text_width": 64,
            "text_layers": 1,
            "text_heads": 2,
            "frames": 4,
        },
        reported=(
            "zero-shot ejection fraction, external validation set: mean absolute error 7.1% "
            "(abstract of the paper)",
            "zero-shot AUC: pacemakers 0.84, percutaneous mitral valve repair 0.92, artificial "
            "aortic valves 0.97 (abstract of the paper)",
        ),
    ),
]
