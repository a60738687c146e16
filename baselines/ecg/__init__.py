"""Cards of the ecg encoders (light: no encoder is imported here)."""

from benchmark.catalog import EncoderCard, HubFile


def _merl(name: str, arch: str, parameters: int, dimension: int) -> EncoderCard:
    """MERL with one of its encoders; the counts include projections and text tower."""
    convolutional = arch.startswith("resnet")
    return EncoderCard(
        name=name,
        target="baselines.ecg.merl:Merl",
        modality="ecg",
        title=f"MERL, {'1-D ResNet-18' if convolutional else arch.replace('vit_', '1-D ViT ')}",
        summary=(
            "ECG encoder trained against its reports (MedCPT query encoder). 12 leads in the order "
            "of MIMIC-IV-ECG (aVF before aVL), 10 s at 500 Hz, min-max over the record. Embedding: "
            f"{'mean of the last map' if convolutional else 'normed mean of the tokens'}; "
            "zero-shot in the joint space of 256 dimensions."
        ),
        options={"arch": arch},
        reduced={
            "width": 8 if convolutional else 32,
            **({} if convolutional else {"depth": 1}),
            "projection": 32,
            "text_size": {"width": 32, "depth": 1, "heads": 2, "vocabulary": 300},
            "tokenizer": "bytes",
        },
        parameters=parameters,
        dimension=dimension,
        paper="Liu et al. 2024, https://arxiv.org/abs/2403.06659",
        licence="MIT (repository; the page of the weights names none)",
        pretraining="Contrast of ECG and report and of two views, 771,693 pairs of MIMIC-IV-ECG",
        pretraining_data=("mimic-iv-ecg",),
        weights=(
            "*_ckpt.pth (with text tower, for zero-shot) or *_encoder.pth (probes alone) of the "
            "Google Drive folder named by https://github.com/cheliu-computation/MERL-ICML2024; it "
            "offers ResNet and ViT, the authors' zero-shot configuration names vit_tiny"
        ),
        reported=(
            (
                "zero-shot, mean AUROC over six sets (PTB-XL super, sub, form, rhythm; CPSC2018; "
                "CSN): 75.2 (abstract of arXiv:2403.06659, which names no backbone)",
            )
            if convolutional
            else (
                "no figure for this backbone on the authors' page (README of "
                "cheliu-computation/MERL-ICML2024) or in the abstract",
            )
        ),
    )


# Commit and sha256 of model.safetensors as Cardiology-NP-OS/EKG-Interpretations records them
# (donors/edoar-do_hubert-ecg/MODEL_BOUNDARY.json).
HUBERT_WEIGHTS = {
    "small": (
        "eca1c5af82da493a86a2bf0a89733234c9c3617d",
        "c78fa955268212f8ed20bc69fb1b882d76a4351df2466061335950949394a4d2",
    ),
    "base": (
        "8ffa1ad3593366ca45f5351d75317d4ff8f14465",
        "05bc1b1317f8e3063811a03fb840f5bf8a85968191e209c0cfbaa0c52c8aa1ae",
    ),
    "large": (
        "f297337d4e33198800441e3d64e0dd393774637f",
        "9a0eb8484f73793aa678936984243da92ae80d7b81e2fe77d1ea6dee2bdf5ec2",
    ),
}


def _hubert(name: str, size: str, parameters: int, dimension: int) -> EncoderCard:
    repository = f"Edoardo-Coppola/hubert-ecg-{size}"  # once Edoardo-BS
    return EncoderCard(
        name=name,
        target="baselines.ecg.hubert_ecg:HubertEcg",
        modality="ecg",
        title=f"HuBERT-ECG {size}",
        summary=(
            "HuBERT on 12 leads laid end to end: 0.05-47 Hz FIR, [-1, 1] per lead, 5 s at 100 Hz; "
            "mean of the 93 frames of the last layer."
        ),
        options={"size": size},
        reduced={
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "conv_dim": (16,) * 5,
        },
        parameters=parameters,
        dimension=dimension,
        paper="Coppola et al. 2024, https://doi.org/10.1101/2024.11.14.24317328",
        licence="CC-BY-NC-4.0",
        pretraining=(
            "Prediction of masked cluster codes on 9.1 million 12-lead ECGs; the authors' "
            "repository lists these sets without saying which parts of them are held out"
        ),
        pretraining_data=(
            "chapman",
            "code",
            "cpsc2018",
            "cpsc-extra",
            "georgia",
            "hefei",
            "mimic-iv-ecg",
            "ningbo",
            "ptb",
            "ptb-xl",
            "sami-trop",
            "sph",
        ),
        weights=f"model.safetensors of https://huggingface.co/{repository}",
        hub=HubFile(repository, "model.safetensors", *HUBERT_WEIGHTS[size]),
        reported=(
            "fine-tuned (not frozen): AUROC from 0.843 on small data sets to 0.99 on larger ones, "
            "no size named (README of Edoar-do/HuBERT-ECG)",
        ),
    )


ENCODERS: list[EncoderCard] = [
    EncoderCard(
        name="ecg-features",
        target="baselines.ecg.features:EcgFeatures",
        modality="ecg",
        title="Rate, RR, median-beat, atrial-spectrum and wavelet features",
        kind="features",
        summary=(
            "R peaks by a Pan-Tompkins-like detector over all leads; RR statistics; the median "
            "beat in 20 ms steps; QRS duration and likeness of the beats; spectrum of II and V1 "
            "with and without the beats; sym4 wavelet energies. Frames: spline wavelets in "
            "context and the time to the nearest R peaks."
        ),
        parameters=0,
        dimension=552,
        paper="Pan & Tompkins 1985; Martínez et al. 2004",
        licence="Apache-2.0",
    ),
    EncoderCard(
        name="random-resnet18-1d",
        target="baselines.ecg.random_resnet:RandomResNet1d",
        modality="ecg",
        title="1-D ResNet-18, half width, random weights",
        kind="control",
        summary="What the architecture gives without any training; weights follow --seed.",
        parameters=969_024,
        dimension=256,
        paper="He et al. 2016; Ribeiro et al. 2020",
        licence="Apache-2.0",
    ),
    *(
        _merl(name, arch, parameters, dimension)
        for name, arch, parameters, dimension in (
            ("merl", "resnet18", 114_134_656, 512),
            ("merl-resnet18", "resnet18", 114_134_656, 512),
            ("merl-vit-tiny", "vit_tiny", 115_334_272, 192),
            ("merl-vit-small", "vit_small", 131_473_408, 384),
            ("merl-vit-base", "vit_base", 195_602_176, 768),
        )
    ),
    EncoderCard(
        name="st-mem",
        target="baselines.ecg.st_mem:StMem",
        modality="ecg",
        title="ST-MEM, ViT-B/75",
        summary=(
            "Masked autoencoder with patches of single leads, lead embeddings and separators: "
            "0.67-40 Hz Butterworth, 9 s at 250 Hz, standardised over the record; normed mean of "
            "the patch tokens."
        ),
        reduced={"width": 32, "depth": 1, "heads": 2},
        parameters=85_150_614,
        dimension=768,
        paper="Na et al. 2024, https://arxiv.org/abs/2402.09450",
        licence="CC-BY-NC-4.0 (LICENSE of bakqui/ST-MEM; its README reserves all other rights)",
        pretraining="Reconstruction of masked patches, ECGs of Chapman, Ningbo and CODE-15",
        pretraining_data=("chapman", "ningbo", "code-15"),
        weights=(
            "encoder (or full model) from the Google Drive files named by "
            "https://github.com/bakqui/ST-MEM"
        ),
        reported=(
            "no figure on the authors' page (README of bakqui/ST-MEM) or in the abstract",
            "by others, frozen, linear, PTB-XL: AUROC 0.896 super, 0.916 sub, 0.889 form, 0.951 "
            "rhythm, 0.908 all (Confidence_Interval.xlsx of AI4HealthUOL/ecg-fm-benchmarking)",
        ),
    ),
    *(
        _hubert(name, size, parameters, dimension)
        for name, size, parameters, dimension in (
            ("hubert-ecg", "base", 92_798_080, 768),
            ("hubert-ecg-small", "small", 30_209_152, 512),
            ("hubert-ecg-base", "base", 92_798_080, 768),
            ("hubert-ecg-large", "large", 187_643_776, 960),
        )
    ),
]
