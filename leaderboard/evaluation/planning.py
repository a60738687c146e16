"""Which (task, protocol) a submission is evaluated on."""

from __future__ import annotations

from benchmark.datacheck import lacks_data
from benchmark.errors import SslBenchError
from benchmark.known import protocol_targets
from benchmark.plan import select_tasks
from leaderboard.db import Submission
from leaderboard.evaluation.journal import Cell
from leaderboard.settings import Settings


def cells_of(
    submission: Submission, settings: Settings
) -> tuple[list[Cell], list[tuple[str, str, str]]]:
    """The cells to evaluate, and those that cannot be, with the reason.

    Raises:
        SslBenchError: the suite is unknown, or has no task of the modality.
    """
    try:
        cards = select_tasks([submission.modality], submission.suite)
    except SslBenchError as error:
        raise SslBenchError(f"nothing to evaluate: {error}") from None
    cells: list[Cell] = []
    absent: list[tuple[str, str, str]] = []
    for card in cards:
        protocols = [name for name in card.protocols if card.target.kind in protocol_targets(name)]
        if card.access != "embedded" and lacks_data(card.name, settings.data_dir):
            why = "this server does not have the dataset"
            absent += [(card.name, name, why) for name in protocols]
        else:
            cells += [(card.name, name) for name in protocols]
    if not cells:
        raise SslBenchError(
            f"nothing to evaluate: this server has no data of the {submission.modality} tasks of "
            f"the suite {submission.suite!r}"
        )
    return cells, absent
