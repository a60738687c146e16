"""Evaluation of submissions: the worker, the sandbox, publishing and signing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI


def install(app: FastAPI) -> None:
    """Add this area's routes to the application."""
    from leaderboard.evaluation.api import router

    app.include_router(router)
