"""Reading the sound files of audio datasets, whatever format libsndfile knows."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import DatasetError
from benchmark.files import reading

_ENDLESS = 0xFFFFFFFF  # the size that a writer gives which cannot seek back to its header
_OGG_END_OF_STREAM = 0x04


def audio(path: Path, rate: int | None = None) -> dict[str, Any]:
    """A whole recording: `waveform` (T,) int16, mean of the channels, and `sample_rate` in Hz, the
    file's own.

    Args:
        rate: the sampling rate that the dataset has, where it has only one.

    Raises:
        DatasetError: the file is missing, damaged, cut short, empty, holds NaN, or has another
            sampling rate; names the file and what to do.
    """
    import soundfile

    with reading(path):
        if not path.is_file():
            raise FileNotFoundError(2, "no such file", str(path))
        with soundfile.SoundFile(path) as file:
            announced, found = file.frames, file.samplerate
            samples = file.read(dtype="float32", always_2d=True)
    if len(samples) < announced or _cut_short(path):
        raise DatasetError(f"{path} ends before its sound does: get the file again")
    if not len(samples):
        raise DatasetError(f"{path} holds no sound: get the file again")
    if not np.isfinite(samples).all():
        raise DatasetError(f"{path} holds NaN or infinite samples: get the file again")
    if rate is not None and found != rate:
        raise DatasetError(
            f"{path} has a sampling rate of {found} Hz, the dataset has {rate} Hz: "
            "get the file again, unchanged"
        )
    mono = np.rint(samples.mean(1, dtype=np.float64) * 32768)
    return {"waveform": np.clip(mono, -32768, 32767).astype(np.int16), "sample_rate": found}


def _cut_short(path: Path) -> bool:
    """Whether the file is smaller than its own structure says. Decoders read a shortened file of
    these formats without a word, as a shorter sound."""
    with reading(path), path.open("rb") as file:
        head = file.read(16)
        size = file.seek(0, 2)
        if head[:4] in (b"RIFF", b"FORM"):
            return _chunk_end(path, "<I" if head[:4] == b"RIFF" else ">I") > size
        if head[:4] == b".snd":
            start, length = struct.unpack(">II", head[4:12])
            return bool(length != _ENDLESS and start + length > size)
        if head[:4] == b"OggS":
            return not _ogg_ends(path)
        return _mp3_bytes(path) > size


def _chunk_end(path: Path, order: str) -> int:
    """Byte where the sound chunk of a WAV or AIFF file has to end; 0 if it does not say."""
    with path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            (length,) = struct.unpack(order, head[4:])
            if head[:4] in (b"data", b"SSND"):
                return 0 if length >= _ENDLESS - 64 else file.tell() + int(length)
            file.seek(length + length % 2, 1)
    return 0


def _ogg_ends(path: Path) -> bool:
    """Whether the last page of an Ogg file is whole and marked as the end of its stream."""
    data = path.read_bytes()
    at = data.rfind(b"OggS")
    if len(data) < at + 27 or len(data) < at + 27 + data[at + 26]:
        return False
    lengths = data[at + 27 : at + 27 + data[at + 26]]
    whole = at + 27 + len(lengths) + sum(lengths) <= len(data)
    return whole and bool(data[at + 5] & _OGG_END_OF_STREAM)


def _mp3_bytes(path: Path) -> int:
    """Size of an MP3 stream by its Xing or Info header, with what stands before it; 0 without."""
    with path.open("rb") as file:
        head = file.read(10)
        start = 0
        if head[:3] == b"ID3":  # its size has seven bits in each byte
            start = 10 + sum(byte << 7 * (3 - i) for i, byte in enumerate(head[6:10]))
        file.seek(start)
        frame = file.read(64)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0 or frame[0:1] != b"\xff" or len(frame) < at + 16:
        return 0
    flags, *fields = struct.unpack(">III", frame[at + 4 : at + 16])
    if not flags & 2:
        return 0
    return start + int(fields[1] if flags & 1 else fields[0])
