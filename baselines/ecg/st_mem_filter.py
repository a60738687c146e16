"""ST-MEM's band: fifth-order Butterworth filters, forwards and backwards, 0.67 and 40 Hz."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

HIGH_PASS, LOW_PASS, ORDER = 0.67, 40.0, 5


@lru_cache(maxsize=16)
def band_pass_matrix(samples: int, rate: int) -> Tensor:
    """(samples, samples) float32: what scipy's `sosfiltfilt` does to a signal of that length.

    High-pass, then low-pass, each with odd extension and steady-state start at both ends: all of
    it is linear in the signal, so that filtering the unit impulses gives the whole operator.
    """
    import numpy as np
    from scipy.signal import butter, sosfiltfilt

    impulses = np.eye(samples)
    for cutoff, kind in ((HIGH_PASS, "highpass"), (LOW_PASS, "lowpass")):
        sos = butter(ORDER, cutoff, kind, fs=rate, output="sos")
        # scipy's own extension, cut for signals too short for it
        padding = min(3 * (2 * len(sos) + 1 - int((sos[:, 2] == 0).sum())), samples - 1)
        impulses = sosfiltfilt(sos, impulses, axis=0, padlen=padding)
    with torch.inference_mode(False):  # it is kept, also for calls outside inference
        return torch.from_numpy(impulses.T.astype(np.float32))


class BandPass(nn.Module):
    """The filter as a matrix product, which runs on any device."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.rate = rate
        self._moved: dict[tuple[int, torch.device], Tensor] = {}

    def forward(self, signal: Tensor) -> Tensor:
        """(B, leads, T) float32 -> the same, filtered along time; T may differ between calls."""
        key = (signal.shape[2], signal.device)
        if key not in self._moved:
            if len(self._moved) >= 16:  # 20 MB for nine seconds
                self._moved.clear()
            self._moved[key] = band_pass_matrix(key[0], self.rate).to(signal.device)
        return signal @ self._moved[key]
