"""Cards of the astronomy encoders (light: no encoder is imported here)."""

from benchmark.catalog import EncoderCard

ENCODERS: list[EncoderCard] = [
    EncoderCard(
        name="astro-statistics",
        target="baselines.astronomy.astro_statistics:AstroStatistics",
        modality="astronomy",
        title="Light-curve, spectrum and catalogue statistics",
        kind="features",
        summary=(
            "Per band: moments, quantile ratios, von Neumann's ratio, Stetson's K, structure "
            "function; colours and shape around the peak; Lomb-Scargle powers over all bands. "
            "Binned normalised spectrum, slope, curvature, band depths. Catalogue values with "
            "flags for what is missing."
        ),
        parameters=0,
        paper="Richards et al. 2011, ApJ 733, 10 (light curves)",
        licence="Apache-2.0",
    ),
    EncoderCard(
        name="random-astro-transformer",
        target="baselines.astronomy.random_transformer:RandomTransformer",
        modality="astronomy",
        title="Randomly initialised transformer, 1-D ResNet and MLP",
        kind="control",
        summary=(
            "A two-layer transformer over observations, a three-block residual network over "
            "wavelengths and an MLP over catalogue values, none of them trained: what the "
            "architecture alone brings."
        ),
        parameters=153_344,
        licence="Apache-2.0",
    ),
]
