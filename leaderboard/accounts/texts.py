"""Texts of strangers as they may be shown: nothing hidden in them."""

from __future__ import annotations

import unicodedata

# control, format (direction!), private use, surrogates, unassigned, line and paragraph separators
HIDDEN = ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")


def printable(text: str) -> str:
    """One line in NFC.

    Raises:
        ValueError: a character that does not show, or changes how others do; names it.
    """
    text = " ".join(unicodedata.normalize("NFC", text).split())
    for character in text:
        if unicodedata.category(character) in HIDDEN:
            raise ValueError(f"the character U+{ord(character):04X} cannot be shown: leave it out")
    return text
