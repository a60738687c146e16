"""Cards of the histopathology encoders (light: no encoder is imported here)."""

from typing import Any

from benchmark.catalog import EncoderCard, HubFile

REDUCED: dict[str, Any] = {"image_size": 64, "width": 64, "depth": 2, "heads": 2}
UNI2: dict[str, Any] = {
    "patch": 14,
    "width": 1536,
    "heads": 24,
    "mlp_ratio": 2.66667 * 2,
    "registers": 8,
    "gated_mlp": True,
}

ENCODERS: list[EncoderCard] = [
    EncoderCard(
        name="tissue-texture",
        target="baselines.histopathology.tissue_texture:TissueTexture",
        modality="histopathology",
        title="Stain statistics, LBP and co-occurrence features",
        kind="features",
        summary=(
            "Moments of colour and of the separated stains (Ruifrok & Johnston 2001), uniform "
            "local binary patterns (Ojala 2002), Haralick features (1973); local colour and "
            "stain statistics as patches."
        ),
        parameters=0,
        dimension=81,
        licence="Apache-2.0",
    ),
    EncoderCard(
        name="random-regnetx-002",
        target="baselines.histopathology.random_regnet:RandomRegNet",
        modality="histopathology",
        title="RegNetX-200MF, randomly initialised",
        kind="control",
        summary="An untrained standard convolutional network (timm): the control.",
        parameters=2_315_792,
        dimension=632,
        paper="https://arxiv.org/abs/2003.13678",
        licence="Apache-2.0",
    ),
    EncoderCard(
        name="self-vit",
        target="baselines.histopathology.self_vit:SelfViT",
        modality="histopathology",
        title="Self-ViT",
        summary=(
            "ViT-B/16 trained by DINO on unlabelled slide tiles; class tokens of the last four "
            "blocks and the mean patch token. Made for slides as bags of tiles."
        ),
        reduced=REDUCED | {"depth": 4},
        parameters=85_798_656,
        dimension=3840,
        paper="https://arxiv.org/abs/2210.09021",
        licence="Apache-2.0 (the authors' code; they publish no weights)",
        pretraining="DINO on 224-pixel tiles of Camelyon16 at 20x, slide labels unused",
        pretraining_data=("camelyon16",),
        weights=(
            "checkpoint.pth as `src/vit/train_dino.py` of "
            "https://github.com/gokberkgul/self-learning-transformer-mil writes it (no download "
            "is offered), or any DINO checkpoint of a ViT-B/16"
        ),
        reported=(
            "Camelyon16, slides as bags (MIL): accuracy 0.9147, AUC 0.9426 (arXiv 2210.09021)",
        ),
    ),
    EncoderCard(
        name="uni",
        target="baselines.histopathology.uni:Uni",
        modality="histopathology",
        title="UNI",
        summary="ViT-L/16 trained by DINOv2 on 100,000 slides; the class token.",
        reduced=REDUCED,
        parameters=303_350_784,
        dimension=1024,
        paper="https://doi.org/10.1038/s41591-024-02857-3",
        licence="CC-BY-NC-ND-4.0",
        pretraining="DINOv2 on Mass-100K: 100 million tiles of two hospitals and GTEx",
        pretraining_data=("mass-100k", "gtex"),
        weights="pytorch_model.bin from https://huggingface.co/MahmoodLab/UNI (gated)",
        hub=HubFile(
            "MahmoodLab/UNI",
            "pytorch_model.bin",
            "b55a5ec6cade1a39edfe6534189a9b8ca7a022f0",
            "56ef09b44a25dc5c7eedc55551b3d47bcd17659a7a33837cf9abc9ec4e2ffb40",
            gated=True,
        ),
        reported=(
            "CRC-100K-Raw, 20-NN: balanced accuracy 0.925 (README of mahmoodlab/CONCH)",
            "TCGA Uniform Tumor, 20-NN: balanced accuracy 0.595 (README of mahmoodlab/CONCH)",
            "PatchCamelyon, linear head: balanced accuracy 0.937 (leaderboard of kaiko-ai/eva)",
            "MHIST, linear head: balanced accuracy 0.843 (leaderboard of kaiko-ai/eva)",
        ),
    ),
    EncoderCard(
        name="uni2-h",
        target="baselines.histopathology.uni:Uni",
        modality="histopathology",
        title="UNI 2",
        summary="ViT-H/14 with registers trained by DINOv2; the class token.",
        options=UNI2,
        reduced=REDUCED | {"image_size": 56, "width": 96},
        parameters=681_394_176,
        dimension=1536,
        paper="https://doi.org/10.1038/s41591-024-02857-3",
        licence="CC-BY-NC-ND-4.0",
        pretraining="DINOv2 on 200 million tiles of 350,000 slides, H&E and immunostains",
        pretraining_data=("mass-general-brigham",),
        weights="pytorch_model.bin from https://huggingface.co/MahmoodLab/UNI2-h (gated)",
        hub=HubFile(
            "MahmoodLab/UNI2-h",
            "pytorch_model.bin",
            "d517a8dd47902dd7c308b3c36f63bce47e7b9a43",
            "6e077eda234bebc595868d918d3458d9dd32a050199b0ff04443b2f46a0a3b1e",
            gated=True,
        ),
        reported=(
            "CRC-100K-Raw: balanced accuracy 0.957 (README of mahmoodlab/UNI)",
            "TCGA Uniform Tumor: balanced accuracy 0.675 (README of mahmoodlab/UNI)",
            "PatchCamelyon, linear head: balanced accuracy 0.950 (leaderboard of kaiko-ai/eva)",
            "MHIST, linear head: balanced accuracy 0.824 (leaderboard of kaiko-ai/eva)",
        ),
    ),
    EncoderCard(
        name="phikon",
        target="baselines.histopathology.phikon:Phikon",
        modality="histopathology",
        title="Phikon",
        summary="ViT-B/16 trained by iBOT on TCGA tiles; the class token.",
        reduced=REDUCED,
        parameters=85_798_656,
        dimension=768,
        paper="https://doi.org/10.1101/2023.07.21.23292757",
        licence="Owkin's own, non-commercial",
        pretraining="iBOT on 40 million tiles of 16 cancers of TCGA",
        pretraining_data=("tcga",),
        weights="model.safetensors from https://huggingface.co/owkin/phikon",
        hub=HubFile(
            "owkin/phikon", "model.safetensors", "057cc0295895c2df3dd7681a89680da6015cbefe"
        ),
        reported=(
            "CRC-100K-Raw, 20-NN: balanced accuracy 0.845 (README of mahmoodlab/CONCH)",
            "PatchCamelyon, linear head: balanced accuracy 0.920 (leaderboard of kaiko-ai/eva)",
            "MHIST, linear head: balanced accuracy 0.803 (leaderboard of kaiko-ai/eva)",
        ),
    ),
    EncoderCard(
        name="phikon-v2",
        target="baselines.histopathology.phikon:Phikon",
        modality="histopathology",
        title="Phikon-v2",
        summary="ViT-L/16 trained by DINOv2 on public slides; the class token.",
        options={"version": 2, "width": 1024, "depth": 24, "heads": 16},
        reduced=REDUCED,
        parameters=303_350_784,
        dimension=1024,
        paper="https://arxiv.org/abs/2409.09173",
        licence="Owkin's own, non-commercial",
        pretraining="DINOv2 on 460 million tiles of more than 100 public cohorts",
        pretraining_data=("tcga", "cptac", "gtex"),
        weights="model.safetensors from https://huggingface.co/owkin/phikon-v2",
        # commit and checksum as several analyses published on GitHub record them
        hub=HubFile(
            "owkin/phikon-v2",
            "model.safetensors",
            revision="2ae989a9c40cffaa27f0a6cb29cc94d1d6f9a5fd",
            sha256="261ae680fa699b3b951597fd57aa19c02ef735805acb104b93af69b36d928569",
        ),
        reported=(
            "PatchCamelyon, linear head: balanced accuracy 0.894 (leaderboard of kaiko-ai/eva)",
            "MHIST, linear head: balanced accuracy 0.777 (leaderboard of kaiko-ai/eva)",
        ),
    ),
    EncoderCard(
        name="plip",
        target="baselines.histopathology.plip:Plip",
        modality="histopathology",
        title="PLIP",
        summary="CLIP ViT-B/32 tuned on pathology images and their descriptions; encodes text.",
        reduced=REDUCED | {"text_width": 32, "text_depth": 2, "text_heads": 2, "dimension": 32},
        parameters=151_277_313,
        dimension=512,
        paper="https://doi.org/10.1038/s41591-023-02504-3",
        licence="none stated for the weights",
        pretraining="contrastive on OpenPath: 208,414 images with descriptions, from OpenAI's CLIP",
        pretraining_data=("openpath",),
        weights="pytorch_model.bin from https://huggingface.co/vinid/plip",
        hub=HubFile(
            "vinid/plip",
            "pytorch_model.bin",
            "67ade53ddd32195868f422585f72698ef5d15094",
            "98a7f8d2a1f4a8fc8f6dedb3a16ff7efbe02a7ef67c93904c80bca9767c69630",
        ),
        reported=(
            "CRC-100K-Raw, 20-NN: balanced accuracy 0.840 (README of mahmoodlab/CONCH)",
            "TCGA Uniform Tumor, 20-NN: balanced accuracy 0.370 (README of mahmoodlab/CONCH)",
        ),
    ),
    EncoderCard(
        name="conch",
        target="baselines.histopathology.conch:Conch",
        modality="histopathology",
        title="CONCH",
        summary=(
            "ViT-B/16 and a text tower trained as CoCa on pathology captions; encodes text. "
            "Probed before the contrastive projection, as by its authors. Layers, mask and "
            "vocabulary follow the code of mahmoodlab/CONCH, whose outputs they reproduce; the "
            "size of the published file agrees. That it holds no further keys is our reading."
        ),
        reduced=REDUCED
        | {
            "text_width": 32,
            "text_depth": 2,
            "text_heads": 2,
            "vocabulary": 300,
            "context": 32,
            "dimension": 32,
            "tokenizer": "bytes",
        },
        parameters=197_958_912,
        dimension=512,
        paper="https://doi.org/10.1038/s41591-024-02856-4",
        licence="CC-BY-NC-ND-4.0",
        pretraining="contrast and captions: 1.17 million captioned images; no TCGA, PAIP or GTEx",
        pretraining_data=("conch-1.17m",),
        weights="pytorch_model.bin from https://huggingface.co/MahmoodLab/CONCH (gated)",
        hub=HubFile(
            "MahmoodLab/CONCH",
            "pytorch_model.bin",
            "f9ca9f877171a28ade80228fb195ac5d79003357",
            "40a9644b9ba0e83a74576e0a5e5f7313599fa9c9cdaf3c20f8a3e271b0e9ae7c",
            gated=True,
        ),
        reported=(
            "CRC-100K-Raw, 20-NN: balanced accuracy 0.941 (README of mahmoodlab/CONCH)",
            "TCGA Uniform Tumor, 20-NN: balanced accuracy 0.556 (README of mahmoodlab/CONCH)",
        ),
    ),
    EncoderCard(
        name="ctranspath",
        target="baselines.histopathology.ctranspath:CTransPath",
        modality="histopathology",
        title="CTransPath",
        summary="Swin-T with a convolutional stem trained by contrast on slide tiles; mean token.",
        reduced={
            "image_size": 64,
            "window": 4,
            "width": 16,
            "depths": (2, 2),
            "heads": (2, 4),
        },
        parameters=27_520_038,
        dimension=768,
        paper="https://doi.org/10.1016/j.media.2022.102559",
        licence="GPL-3.0, non-commercial academic use",
        pretraining="contrastive on 15 million tiles of TCGA and PAIP",
        pretraining_data=("tcga", "paip"),
        weights=(
            "ctranspath.pth from https://github.com/Xiyue-Wang/TransPath (Google Drive); sha256 "
            "7c998680060c8743551a412583fac689db43cec07053b72dfec6dcd810113539"
        ),
        reported=(
            "CRC-100K-Raw, 20-NN: balanced accuracy 0.836 (README of mahmoodlab/CONCH)",
            "TCGA Uniform Tumor, 20-NN: balanced accuracy 0.463 (README of mahmoodlab/CONCH)",
        ),
    ),
]
