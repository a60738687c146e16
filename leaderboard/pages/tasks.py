"""The list of tasks, and a task's page: its card, its ranked results, its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from benchmark.modalities import MODALITIES
from benchmark.task import ReferenceScore, TaskCard
from leaderboard.api.tasks import known_task
from leaderboard.db import Result
from leaderboard.dependencies import ReadSession
from leaderboard.pages.rendering import render
from leaderboard.queries.catalog import cards, protocol_names, suite_names
from leaderboard.queries.results import documents, of_task, per_task
from leaderboard.queries.table import Domain

router = APIRouter()
CLASSES_SHOWN = 60


@dataclass(frozen=True)
class Board:
    """The results of one protocol, best first."""

    protocol: str
    results: Sequence[Result]
    reference: Sequence[ReferenceScore]
    has_classes: bool
    has_curve: bool


@router.get("/tasks", name="tasks")
def tasks(
    request: Request,
    session: ReadSession,
    domain: Annotated[Domain | str | None, Query(max_length=40)] = None,
    suite: Annotated[str, Query(max_length=60)] = "",
    q: Annotated[str, Query(max_length=100)] = "",
) -> HTMLResponse:
    """Every task, by domain."""
    text = q.strip().lower()
    chosen = [
        card
        for card in cards().values()
        if domain in (None, "", card.modality)
        and suite in ("", "all", *card.suites)
        and text in f"{card.name} {card.title}".lower()
    ]
    groups = {name: [card for card in chosen if card.modality == name] for name in MODALITIES}
    return render(
        request,
        "tasks.html",
        public=True,
        groups={name: found for name, found in groups.items() if found},
        total=len(chosen),
        counted=per_task(session),
        suites=[name for name in suite_names() if name != "all"],
        domain=domain or "",
        suite=suite,
        q=q,
    )


@router.get("/tasks/{name}", name="task")
def task(request: Request, session: ReadSession, name: str) -> HTMLResponse:
    """One task."""
    card = known_task(name)
    results = of_task(session, card.name)
    return render(
        request,
        "task.html",
        public=True,
        card=card,
        boards=_boards(session, card, results),
        results=results,
        classes_shown=CLASSES_SHOWN,
    )


def _boards(session: ReadSession, card: TaskCard, results: Sequence[Result]) -> list[Board]:
    boards = []
    for protocol in protocol_names():
        own = [result for result in results if result.protocol == protocol]
        reference = [score for score in card.reference_scores if score.protocol == protocol]
        if own or reference:
            first = documents(session, own[:1])
            document = next(iter(first.values()), {})
            boards.append(
                Board(
                    protocol,
                    own,
                    sorted(reference, key=lambda score: -score.value),
                    bool(document.get("per_class")),
                    bool(document.get("curve")),
                )
            )
    return boards
