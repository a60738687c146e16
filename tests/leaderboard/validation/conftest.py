"""A refusal is one sentence with file, field and remedy, and costs no memory."""

from __future__ import annotations

import io
import resource
from collections.abc import Callable
from typing import Any

import pytest

from leaderboard.validation.checks import check_file
from leaderboard.validation.refusal import Refusal


@pytest.fixture
def refused() -> Callable[..., str]:
    """The refusal of a file, as text."""

    def check(kind: str, data: bytes, **more: Any) -> str:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(Refusal) as caught:
            check_file(kind, io.BytesIO(data), len(data), "model.file", **more)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 700 * 1024, "KiB; the import of torch is among them"
        text = str(caught.value)
        assert text.startswith("model.file: ")
        assert "; " in text
        assert "\n" not in text
        assert len(text) < 1_200
        return text

    return check
