"""The benchmark's own tasks: one file per dataset, metadata in the task cards."""

from pathlib import Path

_here = Path(__file__).parent
# a wheel carries the cards inside the package; a checkout has them at its top
CARDS = _here / "data_cards" if (_here / "data_cards").is_dir() else _here.parent / "data_cards"
