"""Between annotated events and frames: labels for training, events from predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import SslBenchError
from benchmark.matching import ONSET_WINDOW
from benchmark.protocols.contract import Split

Array = NDArray[Any]


@dataclass
class Timeline:
    """The frames of a split's clips one after the other; F frames in all.

    `events` (n, 4): onset s, offset s, class, clip. `annotated` (F,) is False where an event of
    class -1 covers the frame's centre.
    """

    offsets: Array  # (clips + 1,)
    rate: float
    events: Array
    annotated: Array
    classes: int

    @classmethod
    def of(cls, split: Split, classes: int) -> Timeline:
        """The timeline of a split with frames.

        Raises:
            SslBenchError: no frame offsets or rate; an event of an unknown class.
        """
        if split.frame_offsets is None or not split.frame_rate:
            raise SslBenchError(
                "frame-level tasks need the encoder's frames(...) and its `frame_rate` in Hz"
            )
        parts = [np.zeros((0, 4))]
        for clip, target in enumerate(split.targets):
            rows = np.asarray(target, dtype=np.float64).reshape(-1, 3)
            parts.append(np.column_stack((rows, np.full(len(rows), clip))))
        events = np.concatenate(parts)
        bad = (events[:, 2] < -1) | (events[:, 2] >= classes)
        if bad.any():
            clip = int(events[bad][0, 3])
            raise SslBenchError(
                f"event of class {events[bad][0, 2]:g} in {str(split.ids[clip])!r}: the card lists "
                f"{classes} classes"
            )
        offsets = np.asarray(split.frame_offsets, dtype=np.int64)
        made = cls(offsets, float(split.frame_rate), events, np.ones(offsets[-1], bool), classes)
        gaps = events[events[:, 2] < 0]
        made.annotated = ~made._covered(gaps[:, 0], gaps[:, 1], gaps[:, 3], least=0)[:, 0]
        made.events = events[events[:, 2] >= 0]
        return made

    @property
    def clips(self) -> Array:
        """(F,) clip of each frame."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def centres(self) -> Array:
        """(F,) time of each frame's centre in its clip, s."""
        return (np.arange(self.offsets[-1]) - self.offsets[self.clips] + 0.5) / self.rate

    def activity(self, rows: Array | slice = slice(None)) -> Array:
        """(F, C) of 0 / 1, or those `rows` of it: whether an event covers the frame's centre; every
        event has a frame."""
        onset, offset, label, clip = self.events.T
        return self._covered(onset, offset, clip, label, rows=rows).astype(np.int64)

    def onsets(self, rows: Array | slice = slice(None)) -> Array:
        """(F, C) of 0 / 1, or those `rows` of it: whether the frame's centre is within 50 ms of an
        onset; every onset has a frame, however coarse the frames."""
        onset, _, label, clip = self.events.T
        start, stop = onset - ONSET_WINDOW, onset + ONSET_WINDOW
        return self._covered(start, stop, clip, label, middle=onset, rows=rows).astype(np.int64)

    def labels(self, background: int) -> Array:
        """(F,) class of each frame; of overlapping events the one that starts last."""
        labels = np.full(self.offsets[-1], background, dtype=np.int64)
        order = np.argsort(self.events[:, 0], kind="stable")
        onset, offset, label, clip = self.events[order].T
        first, last = self._range(onset, offset, clip, onset, 1)
        for a, b, c in zip(first, last, label.astype(np.int64), strict=True):
            labels[a:b] = c
        return labels

    def _covered(
        self, start: Array, stop: Array, clip: Array, label: Array | None = None,
        middle: Array | None = None, least: int = 1, rows: Array | slice = slice(None),
    ) -> Array:  # fmt: skip
        """(F, C) of bool, or those `rows`; whole columns, one after the other, are all it holds."""
        columns = 1 if label is None else self.classes
        column = np.zeros(len(start), np.int64) if label is None else label.astype(np.int64)
        first, last = self._range(start, stop, clip, start if middle is None else middle, least)
        covered = []
        for own in (column == number for number in range(columns)):
            steps = np.zeros(self.offsets[-1] + 1, dtype=np.int32)
            np.add.at(steps, first[own], 1)
            np.add.at(steps, last[own], -1)
            covered.append((np.cumsum(steps)[:-1] > 0)[rows])
        return np.stack(covered, 1)

    def _range(
        self, start: Array, stop: Array, clip: Array, middle: Array, least: int
    ) -> tuple[Array, Array]:
        """First frame and one past the last whose centres lie in [start, stop); where there is none
        and `least` is 1, the frame that holds `middle`."""
        clip = clip.astype(np.int64)
        low, high = self.offsets[clip], self.offsets[clip + 1]
        first = np.clip(low + np.ceil(start * self.rate - 0.5).astype(np.int64), low, high)
        last = np.clip(low + np.ceil(stop * self.rate - 0.5).astype(np.int64), first, high)
        if least:
            only = np.clip(low + np.floor(middle * self.rate).astype(np.int64), low, high - 1)
            empty = (first == last) & (low < high)
            first, last = np.where(empty, only, first), np.where(empty, only + 1, last)
        return first, last

    def smooth(self, values: Array, width: int) -> Array:
        """Median filter over `width` frames (odd) of each clip, (F, C)."""
        from scipy.ndimage import median_filter

        if width == 1:
            return values
        out = np.empty_like(values)
        for start, stop in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            if stop > start:
                out[start:stop] = median_filter(values[start:stop], (width, 1), mode="nearest")
        return out

    def detect(self, probability: Array, threshold: float, *, onsets: bool) -> Array:
        """Events (m, 3) of one class, onset s, offset s, clip, from its probability (F,).

        Runs of frames at or above the threshold; a run lasts from its first frame's beginning to
        its last frame's end. With `onsets` the onset is the run's centre of mass. Events that begin
        where nothing is annotated are left out.
        """
        active = probability >= threshold
        edge = np.zeros(len(active) + 1, dtype=bool)
        edge[self.offsets] = True
        before = np.concatenate(([False], active[:-1]))
        after = np.concatenate((active[1:], [False]))
        first = np.flatnonzero(active & (~before | edge[:-1]))
        last = np.flatnonzero(active & (~after | edge[1:]))
        clip = np.searchsorted(self.offsets, first, side="right") - 1
        begin = self.offsets[clip]
        onset, offset = (first - begin) / self.rate, (last + 1 - begin) / self.rate
        reference = first
        if onsets and len(first):
            index = np.arange(len(active))
            mass = np.cumsum(np.concatenate(([0.0], probability)))
            moment = np.cumsum(np.concatenate(([0.0], probability * index)))
            total = np.maximum(mass[last + 1] - mass[first], 1e-12)
            centre = (moment[last + 1] - moment[first]) / total
            reference = np.clip(np.round(centre).astype(np.int64), first, last)
            onset = (centre - begin + 0.5) / self.rate
        kept = self.annotated[reference]
        return np.stack((onset, offset, clip.astype(np.float64)), 1)[kept]
