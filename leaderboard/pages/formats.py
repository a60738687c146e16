"""How numbers, dates and ranks are written; Jinja filters and functions."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

from benchmark.metrics import higher_is_better

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


def percent(value: float | None) -> str:
    """A fraction as a percentage without its sign: 0.534 -> 53.4."""
    return "" if value is None else f"{100 * value:.1f}"


def score(value: float | None) -> str:
    """A metric's value; three decimals, fewer where it is large."""
    if value is None:
        return ""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def signed(value: float | None) -> str:
    """A difference."""
    return "" if value is None else f"{value:+.3f}".replace("-", "−")


def rank(low: int | None, high: int | None) -> str:
    """A rank interval: 2, or 2–4."""
    if low is None or high is None:
        return ""
    return str(low) if low == high else f"{low}–{high}"


def count(value: float | None) -> str:
    """A large number, short: 85.8 M."""
    if value is None:
        return ""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def date(value: datetime | None) -> str:
    return "" if value is None else value.strftime("%Y-%m-%d")


def moment(value: datetime | None) -> str:
    return "" if value is None else value.strftime("%Y-%m-%d %H:%M UTC")


def heat(value: float | None) -> str:
    """The class that shades a cell: h0 (chance) to h10 (ceiling)."""
    return "" if value is None else f"h{round(10 * min(1.0, max(0.0, value)))}"


def markdown(text: str) -> Markup:
    """Markdown as HTML that is safe whatever the text holds."""
    return Markup(nh3.clean(_MARKDOWN.render(text)))


def query(**values: Any) -> str:
    """A query string; what is empty is left out, lists are repeated."""
    pairs: list[tuple[str, str]] = []
    for key, value in values.items():
        several = value if isinstance(value, list | tuple) else [value]
        pairs += [(key, str(item)) for item in several if item not in (None, "")]
    return "?" + urlencode(pairs) if pairs else ""


def position(value: float | None, width: float) -> float:
    """Where a fraction lies on an axis of `width` pixels that goes from 0 to 1, cut to it."""
    return round(width * min(1.0, max(0.0, value or 0.0)), 1)


FILTERS = {
    "percent": percent,
    "score": score,
    "signed": signed,
    "count": count,
    "date": date,
    "moment": moment,
    "heat": heat,
    "markdown": markdown,
}
FUNCTIONS = {
    "rank": rank,
    "query": query,
    "position": position,
    "higher_is_better": higher_is_better,
}
