"""Cards of the echo encoders (light: no encoder is imported here)."""

from benchmark.catalog import EncoderCard

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
]
