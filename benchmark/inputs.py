"""What an encoder wants to be fed: one input specification per modality.

A specification turns one stored example into *windows* (`windows`: a pure function of that one
example) and a list of windows into a padded batch of tensors (`collate`). An example that is longer
than the encoder's window is cut into consecutive windows; the engine averages their embeddings
(clip level, weighted by valid length) or joins them (frame level).

Stored examples (the `input` column of a task), by modality:

========== =====================================================================================
audio      ``waveform`` (T,) float in [-1, 1] or int16, ``sample_rate`` Hz
pointcloud ``points`` (N, 3) float
ecg        ``signal`` (leads, T) mV, ``sample_rate`` Hz, ``leads`` names
echo       ``video`` (T, H, W) or (T, H, W, 3) uint8, ``fps``
histopath. ``image`` (H, W, 3) uint8, optional ``mpp`` (micrometres per pixel)
astronomy  any of ``photometry`` (L, 4: time in days, flux, flux error, band index),
           ``spectrum`` (W, 2: wavelength, flux), ``metadata`` (F,) with NaN for missing,
           ``image`` (H, W, 3) uint8
========== =====================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.errors import EncoderError
from benchmark.modalities import MODALITIES

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
Example = Mapping[str, Any]


@dataclass(frozen=True)
class Window:
    """One piece of one example, ready to be batched.

    `arrays` holds the named arrays: float32 as the encoder gets them, but pixels either bytes as
    they are stored (where no resizing is needed: views, not copies) or float32 in [0, 1], which
    `collate` standardises. `length` is the valid steps along time (1 where there is no time axis),
    `seconds` what those steps last (0 where there is no time axis).
    """

    arrays: dict[str, Array]
    length: int
    seconds: float = 0.0


class InputSpec(BaseModel):
    """Base of the six specifications; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    modality: ClassVar[str]

    def windows(self, example: Example, whole: bool = False) -> list[Window]:
        """Resample, normalise and cut one stored example; at least one window.

        `whole` keeps a last piece of 2% of a window and more: frame-level tasks need every moment.
        """
        raise NotImplementedError

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        """Pad windows to one batch; the order of the keys is the order of forward's arguments."""
        raise NotImplementedError


def cut(total: int, size: int | None, keep: float = 0.5) -> list[tuple[int, int]]:
    """Consecutive [start, stop) windows of `size` steps over `total` steps.

    A last piece shorter than `keep` of a window is dropped unless it is the only one, so that a
    sliver of padding cannot weigh in a clip's embedding.
    """
    if size is None or total <= size:
        return [(0, total)]
    spans = [(start, min(start + size, total)) for start in range(0, total, size)]
    if spans[-1][1] - spans[-1][0] < keep * size:
        spans.pop()
    return spans


def _pad_stack(arrays: Sequence[Array], axis: int, size: int) -> torch.Tensor:
    """Zero-pad along `axis` to `size` and stack: (B, ...) float32."""
    import torch

    shape = list(arrays[0].shape)
    shape[axis] = size
    batch = np.zeros((len(arrays), *shape), np.float32)
    for row, array in zip(batch, arrays, strict=True):
        index = [slice(None)] * array.ndim
        index[axis] = slice(0, array.shape[axis])
        row[tuple(index)] = array
    return torch.from_numpy(batch)


def _lengths(windows: Sequence[Window]) -> torch.Tensor:
    import torch

    return torch.tensor([window.length for window in windows], dtype=torch.long)


class AudioInput(InputSpec):
    """`forward(waveform, lengths)`: (B, T) float32 in [-1, 1], (B,) valid samples."""

    modality: ClassVar[str] = "audio"
    sample_rate: int = Field(16_000, gt=0, description="Hz")
    seconds: float | None = Field(None, gt=0, description="window length; None: the whole clip")
    min_seconds: float = Field(0.0, ge=0, description="shorter clips are zero-padded to this")
    fixed: bool = Field(False, description="pad every window to exactly `seconds`")
    normalise: Literal["none", "zero-mean", "zero-mean-unit-variance"] = "none"

    def windows(self, example: Example, whole: bool = False) -> list[Window]:
        wave = np.asarray(example["waveform"])
        scale = 1 / 32768 if wave.dtype == np.int16 else 1.0
        wave = wave.astype(np.float32) * np.float32(scale)
        rate = int(example["sample_rate"])
        if rate != self.sample_rate:
            import soxr

            wave = soxr.resample(wave, rate, self.sample_rate)
        if self.normalise != "none":
            wave = wave - wave.mean()
        if self.normalise == "zero-mean-unit-variance":
            wave = wave / np.sqrt(wave.var() + 1e-7)
        size = None if self.seconds is None else round(self.seconds * self.sample_rate)
        return [
            Window({"waveform": wave[a:b]}, b - a, (b - a) / self.sample_rate)
            for a, b in cut(len(wave), size, 0.02 if whole else 0.5)
        ]

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        longest = max(window.length for window in windows)
        longest = max(longest, round(self.min_seconds * self.sample_rate), 1)
        if self.fixed and self.seconds is not None:
            longest = max(longest, round(self.seconds * self.sample_rate))
        waves = [window.arrays["waveform"] for window in windows]
        return {"waveform": _pad_stack(waves, 0, longest), "lengths": _lengths(windows)}


class PointCloudInput(InputSpec):
    """`forward(points)`: (B, N, 3) float32."""

    modality: ClassVar[str] = "pointcloud"
    points: int = Field(1024, gt=0, description="the first N points; fewer are repeated cyclically")
    normalise: Literal["none", "unit-sphere"] = "unit-sphere"

    def windows(self, example: Example, whole: bool = False) -> list[Window]:
        points = self.placed(example["points"])
        return [Window({"points": points[np.arange(self.points) % len(points)]}, 1)]

    def placed(self, points: Array) -> Array:
        """All points of a cloud (N, 3) in the coordinates in which the encoder sees its first."""
        points = np.asarray(points, np.float32)[:, :3]
        if self.normalise == "none":
            return points
        taken = points[np.arange(self.points) % len(points)]
        centre = taken.mean(0)
        radius = max(float(np.sqrt(((taken - centre) ** 2).sum(1).max())), 1e-9)
        return (points - centre) / radius

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        return {"points": _pad_stack([w.arrays["points"] for w in windows], 0, self.points)}


STANDARD_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


class EcgInput(InputSpec):
    """`forward(signal, lengths)`: (B, leads, T) float32 in mV, (B,) valid samples.

    Leads are picked by name in the order asked for; a lead the record lacks is zero.
    """

    modality: ClassVar[str] = "ecg"
    sample_rate: float = Field(500.0, gt=0, description="Hz")
    seconds: float | None = Field(10.0, gt=0, description="window length; None: the whole record")
    leads: tuple[str, ...] = STANDARD_LEADS
    fixed: bool = Field(False, description="pad every window to exactly `seconds`")
    band: tuple[float, float] | None = Field(None, description="Butterworth band-pass in Hz")
    normalise: Literal["none", "zscore", "lead-zscore", "minmax"] = "none"

    def windows(self, example: Example, whole: bool = False) -> list[Window]:
        signal = np.asarray(example["signal"], np.float32)
        row = {str(name).upper(): i for i, name in enumerate(example["leads"])}
        picked = np.zeros((len(self.leads), signal.shape[1]), np.float32)
        for i, name in enumerate(self.leads):
            if name.upper() in row:
                picked[i] = signal[row[name.upper()]]
        signal = self._resample(picked, float(example["sample_rate"]))
        size = None if self.seconds is None else round(self.seconds * self.sample_rate)
        spans = cut(signal.shape[1], size, 0.02 if whole else 0.5)
        return [
            Window({"signal": self._normalise(signal[:, a:b])}, b - a, (b - a) / self.sample_rate)
            for a, b in spans
        ]

    def _resample(self, signal: Array, rate: float) -> Array:
        from fractions import Fraction

        from scipy import signal as dsp

        if rate != self.sample_rate:
            ratio = Fraction(self.sample_rate / rate).limit_denominator(1000)
            signal = dsp.resample_poly(signal, ratio.numerator, ratio.denominator, axis=1)
        if self.band is not None:
            sos = dsp.butter(2, self.band, "bandpass", fs=self.sample_rate, output="sos")
            signal = dsp.sosfiltfilt(sos, signal, axis=1)
        return np.ascontiguousarray(signal, np.float32)

    def _normalise(self, signal: Array) -> Array:
        if self.normalise == "zscore":
            return (signal - signal.mean()) / (signal.std() + 1e-6)
        if self.normalise == "lead-zscore":
            mean, std = signal.mean(1, keepdims=True), signal.std(1, keepdims=True)
            return (signal - mean) / (std + 1e-6)
        if self.normalise == "minmax":
            low, high = signal.min(), signal.max()
            return (signal - low) / (high - low + 1e-8)
        return signal

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        longest = max(window.length for window in windows)
        if self.fixed and self.seconds is not None:
            longest = max(longest, round(self.seconds * self.sample_rate))
        signals = [window.arrays["signal"] for window in windows]
        return {"signal": _pad_stack(signals, 1, longest), "lengths": _lengths(windows)}


def _as_float(pixels: Array) -> Array:
    """Float32 in [0, 1], each channel of each image in one piece: channels last, as files have
    them, make all that follows several times slower."""
    if pixels.dtype != np.uint8:
        return np.ascontiguousarray(pixels)
    scaled = np.ascontiguousarray(pixels).astype(np.float32)
    scaled /= 255
    return scaled


def _resize(images: Array, size: tuple[int, int], mode: str = "bilinear") -> Array:
    """(N, C, H, W), bytes or float32 in [0, 1], to (N, C, *size), bilinear or bicubic with
    antialiasing: float32 in [0, 1], or what came where it has the size."""
    if images.shape[-2:] == size:
        return images
    import torch
    from torch.nn.functional import interpolate

    tensor = torch.from_numpy(_as_float(images))
    resized: Array = interpolate(tensor, size=size, mode=mode, antialias=True).numpy()
    return resized


def _standardised(
    images: Sequence[Array], steps: int | None, mean: Sequence[float], std: Sequence[float]
) -> torch.Tensor:
    """Stack pixels (C, [T,] H, W), bytes or float32 in [0, 1], to (B, C, [T,] H, W) float32:
    (x - mean) / std per channel (one value serves all), zero from an image's last step to `steps`.

    Each is put into its place in the batch and scaled there, while it is in the processor's cache.
    """
    import torch

    channels, *rest = images[0].shape
    if steps is not None:
        rest[0] = steps
    batch = np.empty((len(images), channels, *rest), np.float32)
    shape = (-1,) + (1,) * len(rest)
    mu, sd = (np.asarray(values, np.float32).reshape(shape) for values in (mean, std))
    for row, image in zip(batch, images, strict=True):
        place = row if steps is None else row[:, : image.shape[1]]
        np.copyto(place, image)
        if image.dtype == np.uint8:
            place /= 255
        place -= mu
        place /= sd
        if steps is not None:
            row[:, image.shape[1] :] = 0
    return torch.from_numpy(batch)


class EchoInput(InputSpec):
    """`forward(video, lengths)`: (B, C, T, H, W) float32, (B,) valid frames.

    Pixels are scaled to [0, 1], then (x - mean) / std. Frames are taken at `fps` (nearest frame;
    None keeps the clip's own rate) and then every `stride`-th. With `fixed`, a clip shorter than
    `frames` repeats its last frame.
    """

    modality: ClassVar[str] = "echo"
    frames: int | None = Field(None, gt=0, description="window length; None: the whole clip")
    fps: float | None = Field(None, gt=0)
    stride: int = Field(1, gt=0)
    size: int = Field(112, gt=0, description="height and width in pixels")
    channels: Literal[1, 3] = 1
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    fixed: bool = False

    def windows(self, example: Example, whole: bool = False) -> list[Window]:
        video = np.asarray(example["video"])
        rate = float(example.get("fps") or 0.0)
        if self.fps and rate and len(video) > 1:
            steps = np.arange(0, len(video) / rate, 1 / self.fps)
            video = video[np.minimum(np.round(steps * rate).astype(int), len(video) - 1)]
            rate = self.fps
        video, rate = video[:: self.stride], rate / self.stride
        out = []
        for a, b in cut(len(video), self.frames, 0.02 if whole else 0.5):
            piece = self._pixels(video[a:b])
            if self.fixed and self.frames and b - a < self.frames:
                last = np.repeat(piece[-1:], self.frames - (b - a), axis=0)
                piece = np.concatenate([piece, last])
            seconds = (b - a) / rate if rate else 0.0
            out.append(Window({"video": piece.swapaxes(0, 1)}, b - a, seconds))
        return out

    def _pixels(self, video: Array) -> Array:
        """(T, H, W[, 3]) uint8 -> (T, C, size, size), bytes or float32 in [0, 1]."""
        frames = np.moveaxis(video[..., None] if video.ndim == 3 else video, -1, 1)
        if self.channels == 1 and frames.shape[1] == 3:
            frames = frames.mean(1, np.float32, keepdims=True) / 255
        pixels = _resize(frames, (self.size, self.size))
        return np.broadcast_to(pixels, (len(pixels), self.channels, *pixels.shape[2:]))

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        longest = max(window.arrays["video"].shape[1] for window in windows)
        videos = [window.arrays["video"] for window in windows]
        video = _standardised(videos, longest, self.mean, self.std)
        return {"video": video, "lengths": _lengths(windows)}


class _Pixels(InputSpec):
    """How still images are put to one size and scaled: (x / 255 - mean) / std."""

    size: int = Field(224, gt=0, description="height and width in pixels")
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    crop: bool = Field(
        False, description="shortest edge to `size`, then the centre; patches miss the margins"
    )
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def _pixels(self, image: Array) -> Array:
        """(H, W, 3) uint8 -> (3, size, size), bytes or float32 in [0, 1]."""
        pixels = np.moveaxis(np.asarray(image), -1, 0)[None]
        height, width = pixels.shape[-2:]
        if self.crop:
            scale = self.size / min(height, width)
            shape = (max(self.size, int(height * scale)), max(self.size, int(width * scale)))
            top, left = round((shape[0] - self.size) / 2), round((shape[1] - self.size) / 2)
        else:
            shape, top, left = (self.size, self.size), 0, 0
        resized = _resize(pixels, shape, self.interpolation)
        shown: Array = resized[..., top : top + self.size, left : left + self.size]
        if resized is not pixels:
            shown = shown.clip(0, 1)  # bicubic weights overshoot; the libraries' bytes cannot
        return shown[0]


class ImageInput(_Pixels):
    """`forward(image)`: (B, 3, size, size) float32, (x / 255 - mean) / std."""

    modality: ClassVar[str] = "histopathology"

    def windows(self, example: Example, whole: bool = False) -> list[Window]:
        return [Window({"image": self._pixels(example["image"])}, 1)]

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        images = [window.arrays["image"] for window in windows]
        return {"image": _standardised(images, None, self.mean, self.std)}


class AstronomyInput(_Pixels):
    """`forward(photometry=, lengths=, spectrum=, metadata=, image=)`, keywords; what is absent is
    not passed.

    `photometry` (B, L, 4): time since the first observation in days, flux, flux error, band index;
    `lengths` (B,) valid observations; `spectrum` (B, 2, W): wavelength, flux;
    `metadata` (B, F), NaN where missing; `image` (B, 3, size, size), (x / 255 - mean) / std.
    `towers` are those the encoder can take, an image only if it is named there; a task must offer
    at least one of them.
    """

    modality: ClassVar[str] = "astronomy"
    towers: tuple[Literal["photometry", "spectrum", "metadata", "image"], ...] = (
        "photometry",
        "spectrum",
        "metadata",
    )
    max_observations: int | None = Field(None, gt=0, description="the first L observations")
    spectrum_points: int | None = Field(None, gt=0, description="linear resampling to W points")

    def windows(self, example: Example, whole: bool = False) -> list[Window]:
        arrays: dict[str, Array] = {}
        length = 1
        if "photometry" in self.towers and example.get("photometry") is not None:
            curve = np.array(example["photometry"], np.float64)[: self.max_observations]
            curve[:, 0] -= curve[0, 0] if len(curve) else 0
            arrays["photometry"] = curve.astype(np.float32)
            length = len(curve)
        if "spectrum" in self.towers and example.get("spectrum") is not None:
            arrays["spectrum"] = self._spectrum(np.asarray(example["spectrum"], np.float32))
        if "metadata" in self.towers and example.get("metadata") is not None:
            arrays["metadata"] = np.asarray(example["metadata"], np.float32)
        if "image" in self.towers and example.get("image") is not None:
            arrays["image"] = self._pixels(example["image"])
        return [Window(arrays, length)]

    def _spectrum(self, spectrum: Array) -> Array:
        """(W, 2) -> (2, W') float32, W' = `spectrum_points` or W."""
        wavelength, flux = spectrum[:, 0], spectrum[:, 1]
        if self.spectrum_points is not None:
            grid = np.linspace(wavelength[0], wavelength[-1], self.spectrum_points)
            wavelength, flux = grid, np.interp(grid, wavelength, flux)
        return np.stack([wavelength, flux]).astype(np.float32)

    def collate(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        batch: dict[str, torch.Tensor] = {}
        for name, axis in (("photometry", 0), ("spectrum", 1), ("metadata", 0)):
            if name in windows[0].arrays:
                arrays = [window.arrays[name] for window in windows]
                batch[name] = _pad_stack(arrays, axis, max(a.shape[axis] for a in arrays))
                if name == "photometry":
                    batch["lengths"] = _lengths(windows)
        if "image" in windows[0].arrays:
            images = [window.arrays["image"] for window in windows]
            batch["image"] = _standardised(images, None, self.mean, self.std)
        return batch


_SPECS: dict[str, type[InputSpec]] = {
    spec.modality: spec
    for spec in (AudioInput, PointCloudInput, EcgInput, EchoInput, ImageInput, AstronomyInput)
}


def input_spec(modality: str, options: Mapping[str, Any] | None = None) -> InputSpec:
    """The specification of `modality` with an encoder's `input` options.

    Raises:
        EncoderError: unknown modality, or an option the modality does not have.
    """
    if modality not in _SPECS:
        known = ", ".join(MODALITIES)
        raise EncoderError(f"modality {modality!r} is not one of {known}: set it on the encoder")
    try:
        return _SPECS[modality](**dict(options or {}))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        known = ", ".join(_SPECS[modality].model_fields)
        raise EncoderError(
            f"the encoder's input option {field!r} for {modality}: {first['msg']} (known: {known})"
        ) from None
