"""What those who run the site look at: /healthz, /readyz, /metrics; and the log's format."""

from __future__ import annotations

import logging
import sys
from datetime import timedelta

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from leaderboard.db import SHOWN, Result, Submission, Worker, now
from leaderboard.db.migrate import revisions
from leaderboard.middleware.generation import Generation
from leaderboard.middleware.requests import RequestMeters
from leaderboard.settings import Settings

ALIVE = timedelta(seconds=60)  # a worker with a younger heartbeat
router = APIRouter(include_in_schema=False)


def install(app: FastAPI) -> None:
    """Meters, the cache's generation, and the three addresses."""
    registry = CollectorRegistry()
    registry.register(SiteCollector(app.state.sessions))  # type: ignore[arg-type]
    app.state.registry = registry
    app.state.meters = RequestMeters(registry)
    app.state.generation = Generation(app.state.sessions, app.state.settings.cache_seconds)
    app.include_router(router)


class SiteCollector:
    """Figures that stand in the database, read when they are asked for."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self.sessions = sessions

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> list[Metric]:
        results = GaugeMetricFamily("ssl_bench_results", "Results shown")
        queue = GaugeMetricFamily("ssl_bench_submissions", "Submissions", labels=["state"])
        workers = GaugeMetricFamily("ssl_bench_workers_alive", "Workers with a young heartbeat")
        try:
            with self.sessions() as session:
                shown = select(func.count(Result.id)).where(Result.state.in_(SHOWN))
                results.add_metric([], session.scalar(shown) or 0)
                counted = select(Submission.state, func.count()).group_by(Submission.state)
                for state, count in session.execute(counted):
                    queue.add_metric([str(state)], count)
                alive = select(func.count(Worker.id)).where(Worker.heartbeat > now() - ALIVE)
                workers.add_metric([], session.scalar(alive) or 0)
        except SQLAlchemyError:
            return []
        return [results, queue, workers]


@router.get("/healthz")
async def healthz() -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n", headers={"Cache-Control": "no-store"})


@router.get("/readyz")
def readyz(request: Request) -> Response:
    """The database answers and has this version's schema."""
    problem = _unready(request.app.state.engine)
    return JSONResponse(
        {"ready": problem is None, "problem": problem},
        503 if problem else 200,
        headers={"Cache-Control": "no-store"},
    )


def _unready(engine: Engine) -> str | None:
    try:
        current, head = revisions(engine)
    except SQLAlchemyError:
        return "the database does not answer"
    if current != head:
        return f"the schema is {current}, this version needs {head}: ssl-bench site migrate"
    return None


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    text = generate_latest(request.app.state.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


def configure_logs(settings: Settings) -> None:
    """Structured lines on standard output: of structlog and of the standard library alike."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_json
        else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    logging.getLogger("alembic").setLevel("WARNING")
