"""A plug-in with small tasks and encoders, installed the way a user's plug-in would be."""

from pathlib import Path

from benchmark.catalog import EncoderCard

CARDS = Path(__file__).parent / "cards"
ENCODERS = [
    EncoderCard(
        name="mock-spectrum",
        target="ssl_bench_mock_parts:Spectrum",
        modality="audio",
        kind="features",
        title="Mock: spectrum",
    ),
    EncoderCard(
        name="mock-net",
        target="ssl_bench_mock_parts:Net",
        modality="audio",
        kind="control",
        title="Mock: random projection",
    ),
    EncoderCard(
        name="mock-pretrained",
        target="ssl_bench_mock_parts:Net",
        modality="audio",
        title="Mock: needs weights",
        weights="nowhere",
        pretraining_data=("mock-audio",),
    ),
    EncoderCard(
        name="mock-colours",
        target="ssl_bench_mock_parts:Colours",
        modality="histopathology",
        kind="features",
        title="Mock: colours",
    ),
    EncoderCard(
        name="mock-slow",
        target="ssl_bench_mock_parts:Slow",
        modality="audio",
        kind="features",
        title="Mock: slow",
    ),
    EncoderCard(
        name="mock-patient",
        target="ssl_bench_mock_parts:Patient",
        modality="audio",
        title="Mock: takes weights, and its time",
    ),
    EncoderCard(
        name="mock-stumbling",
        target="ssl_bench_mock_parts:Stumbling",
        modality="audio",
        title="Mock: crashes the first time",
    ),
    EncoderCard(
        name="mock-crashing",
        target="ssl_bench_mock_parts:Crashing",
        modality="audio",
        title="Mock: crashes every time",
    ),
]
