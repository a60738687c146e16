"""A plug-in for measuring executors: tiles of noise, an encoder that computes, one that waits
as for a device, and one that takes no time."""

from pathlib import Path

from benchmark.catalog import EncoderCard

CARDS = Path(__file__).parent / "cards"
ENCODERS = [
    EncoderCard(
        name="speed-resnet",
        target="ssl_bench_speed_parts:ResNet",
        modality="histopathology",
        kind="control",
        title="ResNet-18, random",
    ),
    EncoderCard(
        name="speed-waiting",
        target="ssl_bench_speed_parts:Waiting",
        modality="histopathology",
        kind="features",
        title="Four pixels, after a while",
    ),
    EncoderCard(
        name="speed-nothing",
        target="ssl_bench_speed_parts:Nothing",
        modality="histopathology",
        kind="features",
        title="Four pixels",
    ),
]
