"""Cards of the ecg encoders (light: no encoder is imported here)."""

from benchmark.catalog import EncoderCard

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
]
