"""From an upload to a place in the queue: what people send, and what becomes of it."""

from fastapi import FastAPI


def install(app: FastAPI) -> None:
    """Add the pages and addresses of uploads and submissions."""
    from leaderboard.submissions.api import router as api
    from leaderboard.submissions.decisions_api import router as decisions
    from leaderboard.submissions.pages import router as pages
    from leaderboard.submissions.screening import Screening
    from leaderboard.submissions.storage import Storage
    from leaderboard.submissions.uploads_api import router as uploads

    app.state.storage = Storage(app.state.settings.storage)
    app.state.screening = Screening(app.state.settings)
    for router in (uploads, api, decisions, pages):
        app.include_router(router)
