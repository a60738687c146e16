"""Mapped files that have been read: giving their pages back.

Pages of a mapped file stay in a process's resident memory until the system is short of it, which
looks as if memory grew with the data set. They are clean copies of the file, so they can be given
back at any time; what is needed again comes from the system's cache.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

_DONTNEED = 4  # MADV_DONTNEED on Linux


class MappedFiles:
    """The mappings of some files in this process; elsewhere than on Linux it does nothing."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.ranges: list[tuple[int, int]] = []
        if not sys.platform.startswith("linux"):
            return
        wanted = {os.path.realpath(path) for path in paths}
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            for line in file:
                parts = line.rstrip("\n").split(maxsplit=5)
                # only read-only mappings: dropping a page that was written would lose it
                if len(parts) == 6 and parts[5] in wanted and parts[1].startswith("r--"):
                    begin, end = (int(text, 16) for text in parts[0].split("-"))
                    self.ranges.append((begin, end))
        self._advise = ctypes.CDLL(None, use_errno=True).madvise
        self._advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def release(self) -> None:
        """Give back every page that is not in use right now; reading one again brings it back."""
        for begin, end in self.ranges:
            self._advise(begin, end - begin, _DONTNEED)
