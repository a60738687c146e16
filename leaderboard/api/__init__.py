"""The public API, `/api/v1`: everything that the pages show."""

from fastapi import FastAPI


def install(app: FastAPI) -> None:
    """Add the API to the application."""
    from leaderboard.api import boards, encoders, results, tasks
    from leaderboard.api.problems import install_problems

    install_problems(app)
    for area in (boards, tasks, encoders, results):
        app.include_router(area.router, prefix="/api/v1")
