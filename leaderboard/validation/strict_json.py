"""JSON from strangers: bounded in size and depth, no name twice, no NaN."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import numpy as np

from leaderboard.validation.refusal import Refusal, shown

STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))


def parse_json(
    data: bytes,
    name: str,
    field: str,
    remedy: str,
    *,
    max_bytes: int,
    max_depth: int = 8,
    max_values: int = 2_000_000,
) -> Any:
    """The value that `data` holds.

    Depth and number of values are counted before the parser runs, which would recurse and allocate.

    Raises:
        Refusal: too large, too deep, not JSON, a name that stands twice in an object, NaN.
    """

    def refuse(problem: str) -> NoReturn:
        raise Refusal(name, field, problem, remedy)

    if len(data) > max_bytes:
        refuse(f"its {len(data):,} bytes are more than the {max_bytes:,} allowed")
    bare = STRING.sub(b"", data)
    if bare.count(b",") > max_values:
        refuse(f"it has more than {max_values:,} values")
    brackets = np.frombuffer(bare.translate(None, NOT_BRACKETS), np.uint8)
    steps = np.where((brackets == ord("[")) | (brackets == ord("{")), 1, -1)
    if np.cumsum(steps).max(initial=0) > max_depth:
        refuse(f"it is nested deeper than {max_depth} levels")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) != len(pairs):
            names = [key for key, _ in pairs]
            twice = next(key for key in entries if names.count(key) > 1)
            refuse(f"the name {shown(twice)!r} stands twice")
        return entries

    def constant(text: str) -> NoReturn:
        refuse(f"{text} is not JSON")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        refuse(f"it is not JSON ({shown(error)})")
