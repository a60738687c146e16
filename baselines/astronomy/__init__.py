"""Cards of the astronomy encoders (light: no encoder is imported here)."""

from benchmark.catalog import EncoderCard, HubFile

ENCODERS: list[EncoderCard] = [
    EncoderCard(
        name="astro-statistics",
        target="baselines.astronomy.astro_statistics:AstroStatistics",
        modality="astronomy",
        title="Light-curve, spectrum, catalogue and image statistics",
        kind="features",
        summary=(
            "Per band: moments, quantile ratios, von Neumann's ratio, Stetson's K, structure "
            "function; colours and shape around the peak; Lomb-Scargle powers over all bands. "
            "Binned normalised spectrum, slope, curvature, band depths. Catalogue values with "
            "flags for what is missing. Images: radial profiles, colours, Fourier modes of rings, "
            "concentration, asymmetry, clumpiness, Gini and M20."
        ),
        parameters=0,
        paper="Richards et al. 2011, ApJ 733, 10 (light curves)",
        licence="Apache-2.0",
    ),
    EncoderCard(
        name="random-astro-transformer",
        target="baselines.astronomy.random_transformer:RandomTransformer",
        modality="astronomy",
        title="Randomly initialised transformer, ResNets and MLP",
        kind="control",
        summary=(
            "A two-layer transformer over observations, three-block residual networks over "
            "wavelengths and over pixels and an MLP over catalogue values, none of them trained: "
            "what the architecture alone brings."
        ),
        parameters=228_256,
        licence="Apache-2.0",
    ),
    EncoderCard(
        name="astrom3",
        target="baselines.astronomy.astrom3:AstroM3",
        modality="astronomy",
        title="AstroM3 (CLIP over photometry, spectra and metadata)",
        summary=(
            "Three towers into one space of 512 dimensions: an Informer over one band's light "
            "curve (200 observations, 8 layers, sparse attention with a fixed seed), a "
            "convolutional network over the spectrum (3,850 to 8,998 Angstrom) and a perceptron "
            "over 34 catalogue values. The embedding joins the towers whose input is there."
        ),
        reduced={
            "hidden_dim": 64,
            "p_d_model": 32,
            "p_d_ff": 64,
            "p_e_layers": 2,
            "m_hidden_dim": 64,
        },
        parameters=15_869_824,
        dimension=1536,
        paper="Rizhko & Bloom 2024, arXiv:2411.08842",
        licence="none stated with the weights",
        pretraining=(
            "Contrastive over the three pairs of towers on the training part of the AstroM3 "
            "dataset (21,440 variable stars in all): V-band light curves of ASAS-SN, spectra of "
            "LAMOST and catalogue values"
        ),
        pretraining_data=("astrom3-dataset",),
        weights=(
            "model.safetensors from https://huggingface.co/AstroMLCore/AstroM3-CLIP (main was seen "
            "at 4bff232)"
        ),
        hub=HubFile("AstroMLCore/AstroM3-CLIP", "model.safetensors"),
        reported=(
            "AstroM3 dataset, 10 classes of variable stars, fine-tuned (not frozen) on photometry: "
            "accuracy 91.5 (84.6 without pretraining); arXiv:2411.08842v1, abstract",
        ),
    ),
    EncoderCard(
        name="astromer",
        target="baselines.astronomy.astromer:Astromer",
        modality="astronomy",
        title="ASTROMER (MACHO)",
        summary=(
            "A two-layer transformer over one band's light curve in windows of 200 observations, "
            "mean over the observations of its last block."
        ),
        reduced={"width": 32, "hidden": 32},
        parameters=660_736,
        dimension=256,
        paper="Donoso-Oliva et al. 2023, A&A 670, A54",
        licence="MIT (the authors' library; none stated with the weights)",
        pretraining="Reconstruction of masked magnitudes in R-band light curves of MACHO",
        pretraining_data=("macho",),
        weights=(
            "macho_a0.zip from https://github.com/astromer-science/weights (commit "
            "649eda472b94aa69b1d9b2ea771a5da71bcd335c), unpacked and converted by `python -m "
            "baselines.astronomy.astromer_checkpoint macho/weights astromer-macho.safetensors`"
        ),
        reported=(
            "no figure in the abstract or on the authors' pages; the paper's tables are not copied "
            "here",
        ),
    ),
]
