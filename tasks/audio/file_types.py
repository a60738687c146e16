"""Recordings that an index names by one file type and a copy on disk may have in another."""

from __future__ import annotations

from pathlib import Path

TYPES = (".wav", ".au", ".flac", ".mp3", ".ogg", ".aif", ".aiff")


def in_any_type(path: Path) -> Path:
    """The recording at `path` or, where there is none, of the same name in another lossless or
    compressed type; `path` itself if there is none of them, for its reader to miss."""
    if path.is_file():
        return path
    others = (path.with_name(path.name.removesuffix(path.suffix) + kind) for kind in TYPES)
    return next((other for other in others if other.is_file()), path)
