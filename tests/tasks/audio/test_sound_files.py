"""Every format that libsndfile writes: the same sound, and no shortened file passes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmark.errors import DatasetError
from tasks.audio.sound_files import audio

RATE = 16_000
FORMATS = [
    ("wav", "PCM_16"),
    ("wav", "PCM_24"),
    ("wav", "FLOAT"),
    ("wav", "MS_ADPCM"),
    ("flac", "PCM_16"),
    ("ogg", "VORBIS"),
    ("mp3", "MPEG_LAYER_III"),
    ("aiff", "PCM_16"),
    ("au", "PCM_16"),
]


def sound(path: Path, subtype: str = "PCM_16", channels: int = 1) -> np.ndarray:
    time = np.arange(RATE) / RATE
    wave = 0.3 * np.sin(2 * np.pi * 440 * time) * np.hanning(RATE)
    noise = 0.02 * np.random.default_rng(0).normal(size=RATE)
    soundfile.write(path, np.stack([wave + noise] * channels, 1), RATE, subtype=subtype)
    return wave + noise


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
def test_formats(tmp_path: Path, kind: str, subtype: str) -> None:
    path = tmp_path / f"a.{kind}"
    written = sound(path, subtype)
    read = audio(path, RATE)
    assert read["waveform"].dtype == np.int16
    assert read["sample_rate"] == RATE
    assert len(read["waveform"]) == pytest.approx(RATE, rel=0.05)
    same = min(len(written), len(read["waveform"]))
    assert np.corrcoef(read["waveform"][:same], written[:same])[0, 1] > 0.95
    data = path.read_bytes()
    for size in (len(data) - 1, len(data) // 2, 60, 0):
        path.write_bytes(data[:size])
        with pytest.raises(DatasetError, match=r"a\.\w+ .*get the file again"):
            audio(path)


def test_channels_are_averaged_exactly(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.array([[100, 300], [-32768, -32768]], np.int16), RATE)
    assert audio(path)["waveform"].tolist() == [200, -32768]


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.wav is missing"):
        audio(tmp_path / "none.wav")
    path = tmp_path / "a.wav"
    sound(path)
    with pytest.raises(DatasetError, match="16000 Hz, the dataset has 8000 Hz"):
        audio(path, 8000)
    soundfile.write(path, np.zeros(0), RATE)
    with pytest.raises(DatasetError, match="holds no sound"):
        audio(path)
    soundfile.write(path, np.array([0.0, np.nan]), RATE, subtype="FLOAT")
    with pytest.raises(DatasetError, match="NaN"):
        audio(path)
    path.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(DatasetError, match="cannot be read"):
        audio(path)
