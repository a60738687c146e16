"""Cards of the histopathology encoders (light: no encoder is imported here)."""

from benchmark.catalog import EncoderCard

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
]
