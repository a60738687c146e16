"""Input specifications: one example in, windows out; batches padded with zeros."""

import numpy as np
import pytest
import torch
from scipy import signal as dsp

from benchmark.errors import EncoderError
from benchmark.inputs import (
    AstronomyInput,
    AudioInput,
    EcgInput,
    EchoInput,
    ImageInput,
    PointCloudInput,
    cut,
    input_spec,
)


def test_cut_covers_everything_but_a_sliver() -> None:
    assert cut(10, None) == [(0, 10)]
    assert cut(10, 20) == [(0, 10)]
    assert cut(25, 10) == [(0, 10), (10, 20), (20, 25)]
    assert cut(23, 10) == [(0, 10), (10, 20)]


def test_audio_is_resampled_and_int16_scaled() -> None:
    t = np.arange(8000) / 8000
    wave = 0.5 * np.sin(2 * np.pi * 440 * t)
    stored = {"waveform": (wave * 32768).astype(np.int16), "sample_rate": 8000}
    (window,) = AudioInput(sample_rate=16_000).windows(stored)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    inner = slice(500, -500)  # the filter's edges
    np.testing.assert_allclose(window.arrays["waveform"][inner], expected[inner], atol=2e-3)
    assert window.seconds == pytest.approx(1.0)


def test_audio_normalisation_matches_the_field() -> None:
    wave = np.random.default_rng(0).normal(0.3, 0.1, 1000).astype(np.float32)
    spec = AudioInput(normalise="zero-mean-unit-variance")
    (window,) = spec.windows({"waveform": wave, "sample_rate": 16_000})
    # the oracle is the definition itself, in float64
    expected = (wave - wave.mean(dtype=np.float64)) / wave.std(dtype=np.float64)
    np.testing.assert_allclose(window.arrays["waveform"], expected, atol=1e-4)


def test_a_batch_is_zero_padded_and_says_its_lengths() -> None:
    spec = AudioInput(sample_rate=100, seconds=2, fixed=True)
    windows = [
        spec.windows({"waveform": np.ones(n, np.float32), "sample_rate": 100})[0] for n in (150, 80)
    ]
    batch = spec.collate(windows)
    assert batch["waveform"].shape == (2, 200)
    assert batch["lengths"].tolist() == [150, 80]
    assert batch["waveform"][1, 80:].abs().sum() == 0


def test_ecg_leads_are_picked_by_name_and_missing_ones_are_zero() -> None:
    record = {
        "signal": np.stack([np.full(100, 1.0), np.full(100, 2.0)]).astype(np.float32),
        "sample_rate": 100.0,
        "leads": ["v1", "II"],
    }
    spec = EcgInput(sample_rate=100, leads=("II", "V6", "V1"))
    (window,) = spec.windows(record)
    assert window.arrays["signal"][:, 0].tolist() == [2.0, 0.0, 1.0]


def test_ecg_band_pass_removes_what_is_outside() -> None:
    rate = 500.0
    t = np.arange(5000) / rate
    drift, beat = np.sin(2 * np.pi * 0.1 * t), np.sin(2 * np.pi * 10 * t)
    record = {"signal": (drift + beat)[None], "sample_rate": rate, "leads": ["I"]}
    (window,) = EcgInput(leads=("I",), band=(0.67, 40)).windows(record)
    frequency, power = dsp.periodogram(window.arrays["signal"][0], rate)
    assert power[np.abs(frequency - 0.1).argmin()] < 1e-3 * power[np.abs(frequency - 10).argmin()]


def test_points_are_taken_repeated_and_scaled_into_the_unit_sphere() -> None:
    cloud = {"points": np.random.default_rng(0).normal(5, 3, (10, 3))}
    (window,) = PointCloudInput(points=16).windows(cloud)
    points = window.arrays["points"]
    assert points.shape == (16, 3)
    np.testing.assert_allclose(points[10:], points[:6])
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1.0, abs=1e-6)


def test_video_is_sampled_in_time_resized_and_cut_in_windows() -> None:
    frames = np.arange(60, dtype=np.uint8)[:, None, None] * np.ones((1, 40, 40), np.uint8)
    spec = EchoInput(fps=15, frames=10, size=20)
    windows = spec.windows({"video": frames, "fps": 30.0})
    assert [window.length for window in windows] == [10, 10, 10]
    video = spec.collate(windows[:1])["video"].numpy()
    assert video.shape == (1, 1, 10, 20, 20)
    shown = video[0, 0, :, 0, 0] * 255
    np.testing.assert_allclose(shown, np.arange(0, 20, 2), atol=1e-3)


def test_a_short_fixed_clip_repeats_its_last_frame() -> None:
    frames = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    spec = EchoInput(frames=8, size=8, fixed=True, channels=3)
    (window,) = spec.windows({"video": frames, "fps": 30.0})
    assert window.length == 5
    video = spec.collate([window])["video"].numpy()
    assert video.shape == (1, 3, 8, 8, 8)
    assert (video[0, 0, 5:, 0, 0] == video[0, 0, 4, 0, 0]).all()


def test_clips_of_one_batch_end_in_zeros_whatever_the_mean() -> None:
    rng = np.random.default_rng(0)
    clips = [rng.integers(0, 256, (n, 8, 8), dtype=np.uint8) for n in (6, 4)]
    spec = EchoInput(size=8, channels=3, mean=(0.5, 0.4, 0.3), std=(0.25, 0.5, 1.0))
    batch = spec.collate([spec.windows({"video": clip})[0] for clip in clips])
    assert batch["video"].shape == (2, 3, 6, 8, 8)
    for row, clip in zip(batch["video"].numpy(), clips, strict=True):
        mean, std = (np.array(v).reshape(3, 1, 1, 1) for v in (spec.mean, spec.std))
        np.testing.assert_allclose(row[:, : len(clip)], (clip / 255 - mean) / std, atol=1e-6)
        assert not row[:, len(clip) :].any()


@pytest.mark.parametrize("size", [24, 16])
def test_a_clip_in_colour_is_grey_for_an_encoder_of_one_channel(size: int) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), dtype=np.uint8)
    spec = EchoInput(size=size, mean=(0.5,), std=(0.25,))
    video = spec.collate(spec.windows({"video": clip}))["video"][0].numpy()
    grey = torch.from_numpy(clip.mean(-1)[None] / 255)
    shown = torch.nn.functional.interpolate(
        grey, size=(size, size), mode="bilinear", antialias=True
    )
    np.testing.assert_allclose(video, (shown.numpy() - 0.5) / 0.25, atol=1e-5)


def test_images_are_scaled_by_mean_and_std() -> None:
    image = np.full((16, 16, 3), 255, np.uint8)
    for size in (8, 16):
        spec = ImageInput(size=size, mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 1.0))
        batch = spec.collate(spec.windows({"image": image}))["image"].numpy()
        assert batch.shape == (1, 3, size, size)
        np.testing.assert_allclose(batch[0, :, 0, 0], [2.0, 1.0, 0.5])


def test_astronomy_gives_the_towers_both_sides_have() -> None:
    row = {
        "photometry": np.array([[59000.0, 1, 0.1, 0], [59001.5, 2, 0.1, 1]]),
        "spectrum": np.stack([np.linspace(1, 2, 5), np.arange(5.0)], 1),
        "metadata": np.array([1.0, np.nan]),
    }
    spec = AstronomyInput(towers=("photometry", "spectrum"), spectrum_points=9)
    batch = spec.collate(spec.windows(row))
    assert list(batch) == ["photometry", "lengths", "spectrum"]
    assert batch["photometry"][0, :, 0].tolist() == [0.0, 1.5]
    np.testing.assert_allclose(batch["spectrum"][0, 1].numpy(), np.linspace(0, 4, 9), atol=1e-6)


def test_an_astronomical_image_is_scaled_where_it_is_asked_for() -> None:
    rng = np.random.default_rng(0)
    row = {"image": rng.integers(0, 256, (40, 30, 3), np.uint8), "metadata": np.ones(2)}
    options = {"size": 16, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.5, 1.0)}
    spec = AstronomyInput(towers=("metadata", "image"), **options)
    batch = spec.collate(spec.windows(row) * 2)
    assert list(batch) == ["metadata", "image"]
    tiles = ImageInput(**options)
    alone = tiles.collate(tiles.windows(row))["image"]
    np.testing.assert_array_equal(batch["image"][1].numpy(), alone[0].numpy())
    assert list(AstronomyInput().windows(row)[0].arrays) == ["metadata"]


def test_an_unknown_option_or_modality_is_named() -> None:
    with pytest.raises(EncoderError, match="sample_rat.*known: sample_rate"):
        input_spec("audio", {"sample_rat": 16_000})
    with pytest.raises(EncoderError, match="'smell' is not one of audio"):
        input_spec("smell")


def test_a_cropped_image_is_what_the_image_library_gives() -> None:
    from PIL import Image

    from benchmark.inputs import ImageInput

    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((330, 220), Image.Resampling.BICUBIC))
    spec = ImageInput(size=64, interpolation="bicubic", crop=True, mean=(0, 0, 0), std=(1, 1, 1))
    found = spec.collate(spec.windows({"image": image}))["image"][0].numpy()
    resized = Image.fromarray(image).resize((96, 64), Image.Resampling.BICUBIC)
    expected = np.moveaxis(np.asarray(resized.crop((16, 0, 80, 64))), -1, 0) / 255
    assert found.shape == (3, 64, 64)
    assert np.abs(found - expected).max() < 0.012  # the library rounds to bytes, twice


def test_an_image_whose_short_edge_has_the_size_already_is_cut_to_its_middle() -> None:
    from benchmark.inputs import ImageInput

    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    spec = ImageInput(size=64, crop=True, mean=(0, 0, 0), std=(1, 1, 1))
    found = spec.collate(spec.windows({"image": image}))["image"][0].numpy()
    expected = np.moveaxis(image[:, 8:72], -1, 0).astype(np.float32) / 255
    np.testing.assert_array_equal(found, expected)
