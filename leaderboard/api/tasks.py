"""Tasks and their results."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query

from benchmark.catalog import nearest
from benchmark.task import TaskCard
from leaderboard.api.problems import Problem
from leaderboard.api.reading import Paging, problem, reading_router
from leaderboard.api.schemas import Page, ResultOut, TaskDetail, TaskOut
from leaderboard.dependencies import ReadSession
from leaderboard.queries.catalog import cards
from leaderboard.queries.results import of_task, per_task
from leaderboard.queries.table import Domain

router = reading_router("tasks")
MISSING: dict[int | str, dict[str, Any]] = {404: problem("no such task")}


@router.get("/tasks", response_model=Page[TaskOut])
def tasks(
    session: ReadSession,
    paging: Annotated[Paging, Depends()],
    modality: Annotated[Domain | None, Query()] = None,
    suite: Annotated[str | None, Query(max_length=60)] = None,
) -> Any:
    """Every task of the catalogue, with the number of encoders that have a result on it."""
    counted = per_task(session)
    chosen = [
        task_out(card, counted)
        for card in cards().values()
        if modality in (None, card.modality) and suite in (None, "all", *card.suites)
    ]
    return paging.cut(chosen)


@router.get("/tasks/{name}", response_model=TaskDetail, responses=MISSING)
def task(session: ReadSession, name: str) -> Any:
    """A task's card."""
    card = known_task(name)
    detail = card.model_dump(
        include={
            "chance", "ceiling", "split", "grouping", "citation", "homepage", "size",
            "published", "reference_scores",
        }
    )  # fmt: skip
    return {
        **task_out(card, per_task(session)),
        **detail,
        "classes": card.target.classes,
        "description": card.prose,
    }


@router.get(
    "/tasks/{name}/results",
    response_model=Page[ResultOut],
    responses=MISSING,
)
def task_results(
    session: ReadSession,
    paging: Annotated[Paging, Depends()],
    name: str,
    protocol: Annotated[str | None, Query(max_length=40)] = None,
) -> Any:
    """A task's results, best first within each protocol."""
    return paging.cut(of_task(session, known_task(name).name, protocol))


def known_task(name: str) -> TaskCard:
    """The card of a task, or a 404 that names the nearest one."""
    if name not in cards():
        raise Problem(404, f"there is no task {name!r}.{nearest(name, cards())}")
    return cards()[name]


def task_out(card: TaskCard, counted: dict[str, int]) -> dict[str, Any]:
    """A task as the API lists it."""
    return {
        **card.model_dump(
            include={
                "name", "title", "version", "modality", "metric", "protocols", "suites",
                "simulated", "access", "licence",
            }
        ),
        "target": card.target.kind,
        "encoders": counted.get(card.name, 0),
    }  # fmt: skip
