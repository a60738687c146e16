"""People: invitations, passwords, tokens, sessions, and the log of who did what."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI


def install(app: FastAPI) -> None:
    """Add the pages and addresses of accounts, and what tells requests who is asking."""
    from leaderboard.accounts.api import router as api
    from leaderboard.accounts.middleware import SessionMiddleware
    from leaderboard.accounts.pages import router as pages
    from leaderboard.accounts.rates import Rates

    app.state.rates = Rates(app.state.settings)
    app.include_router(api)
    app.include_router(pages)
    app.add_middleware(SessionMiddleware, site=app)
