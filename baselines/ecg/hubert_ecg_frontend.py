"""HuBERT-ECG's front end: FIR band-pass, [-1, 1] per lead, leads end to end, 100 Hz.

Constants from `code/utils.py` and `code/dataset.py` of https://github.com/Edoar-do/HuBERT-ECG:
a windowed FIR of 0.3 s run forwards and backwards, then `scipy.signal.decimate` by five over the
concatenation of all leads, so that the anti-aliasing filter also runs over their borders. The
authors filter and scale a whole record before they cut five seconds from it; here each window of
five seconds is filtered and scaled by itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

RATE, SECONDS = 500, 5.0
BAND = (0.05, 47.0)
TAPS = 151  # 0.3 s, made odd
FACTOR = 5
SPAN = 1500  # samples in which the impulse response of the decimation has died away, both ways


class HubertEcgFrontEnd(nn.Module):
    """(B, leads, T) mV at 500 Hz -> (B, leads x 500): one long signal per record at 100 Hz."""

    taps: Tensor
    decimation: Tensor

    def __init__(self) -> None:
        super().__init__()
        import numpy as np
        from scipy.signal import decimate, firwin

        taps = firwin(TAPS, BAND, pass_zero=False, fs=RATE)
        self.register_buffer("taps", torch.from_numpy(taps.astype(np.float32)), persistent=False)
        operator = decimate(np.eye(SPAN), FACTOR, axis=0).astype(np.float32)
        self.register_buffer("decimation", torch.from_numpy(operator), persistent=False)

    def forward(self, signal: Tensor, lengths: Tensor) -> Tensor:
        """A record shorter than five seconds is zero-padded after it is scaled."""
        size = round(RATE * SECONDS)
        ready = signal.new_zeros(*signal.shape[:2], size, dtype=torch.float32)
        counts = lengths.clamp(1, min(size, signal.shape[2]))
        with torch.autocast(signal.device.type, enabled=False):
            for count in counts.unique().tolist():
                rows = counts == count
                ready[rows, :, :count] = scale(self.band_pass(signal[rows, :, :count].float()))
            return self.decimate(ready.flatten(1))

    def band_pass(self, signal: Tensor) -> Tensor:
        """(B, leads, T) -> the same: scipy's `filtfilt` with the FIR, for any T.

        Odd extension by three filter lengths; before its first sample each pass sees that sample
        for ever, which is the steady state that `filtfilt` starts from.
        """
        size = signal.shape[2]
        extension = min(3 * TAPS, size - 1)
        head = 2 * signal[..., :1] - signal[..., 1 : extension + 1].flip(2)
        tail = 2 * signal[..., -1:] - signal[..., size - 1 - extension : size - 1].flip(2)
        values = torch.cat([head, signal, tail], 2).flatten(0, 1)
        for _ in range(2):
            values = pad(values, (TAPS - 1, 0), mode="replicate")
            values = conv1d(values[:, None], self.taps.flip(0)[None, None])[:, 0].flip(1)
        return values[:, extension : extension + size].unflatten(0, signal.shape[:2])

    def decimate(self, signal: Tensor) -> Tensor:
        """(B, N) -> (B, N / 5): scipy's `decimate`, N >= 1500 and a multiple of five.

        The filter is linear and forgets within SPAN / 2 samples: outputs near an end come from the
        operator of a short signal, all others from its middle row as a kernel.
        """
        half = SPAN // FACTOR // 2
        start = signal[:, :SPAN] @ self.decimation[:half].T
        end = signal[:, -SPAN:] @ self.decimation[half + 1 :].T
        middle = conv1d(signal[:, None], self.decimation[half][None, None], stride=FACTOR)[:, 0]
        return torch.cat([start, middle, end], 1)


def scale(signal: Tensor) -> Tensor:
    """(B, leads, T) -> every lead to [-1, 1] by its own range; a constant lead becomes -1."""
    low, high = signal.amin(2, True), signal.amax(2, True)
    return 2 * (signal - low) / (high - low + 1e-8) - 1
