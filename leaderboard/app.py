"""The web application: `create_app(settings)`.

Areas are routers; each lives in its package and is imported when the application is made.
What requests share is on `app.state`: `settings`, `engine`, `sessions` (for reading), `writing`
(sessions that will write), `generation` (counts publications), `registry` (Prometheus).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec

from fastapi import FastAPI

from benchmark import __version__
from leaderboard import middleware, operations
from leaderboard.db.engine import make_engine, make_sessions, writing_sessions
from leaderboard.db.migrate import migrate
from leaderboard.queries.boards import Boards
from leaderboard.settings import Settings, load_settings

AREAS = (  # each has `install(app)`, which adds its routers and middleware
    "leaderboard.api",
    "leaderboard.pages",
    "leaderboard.accounts",
    "leaderboard.submissions",
    "leaderboard.evaluation",
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application of one installation; the schema is brought up to date first.

    Raises:
        SslBenchError: the settings or the database cannot be used.
    """
    settings = settings or load_settings()
    engine = make_engine(settings)
    if settings.migrate_on_start:
        migrate(engine)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        engine.dispose()

    app = FastAPI(
        title=settings.title,
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # a page of ours: nothing comes from a CDN
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    app.state.settings = settings
    app.state.engine = engine
    app.state.sessions = make_sessions(engine)
    app.state.writing = writing_sessions(engine)
    app.state.boards = Boards(app.state.sessions)
    operations.install(app)
    for area in AREAS:
        if find_spec(area) is not None:
            import_module(area).install(app)
    middleware.install(app)
    return app
