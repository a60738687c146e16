"""Which publication is the newest: what caches ask before they answer."""

from __future__ import annotations

import time

import structlog
from anyio import Lock, to_thread
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from leaderboard.results.publish import generation


class Generation:
    """The generation, read from the database at most once per `seconds`.

    While the database does not answer, the last one known stands: the site stays readable.
    """

    def __init__(self, sessions: sessionmaker[Session], seconds: float) -> None:
        self.sessions = sessions
        self.seconds = seconds
        self.value = -1
        self.read = float("-inf")
        self.lock = Lock()

    async def __call__(self) -> int:
        if time.monotonic() - self.read >= self.seconds:
            async with self.lock:
                if time.monotonic() - self.read >= self.seconds:
                    await to_thread.run_sync(self.refresh)
        return self.value

    def current(self) -> int:
        """The same, for handlers that run in a thread."""
        if time.monotonic() - self.read >= self.seconds:
            self.refresh()
        return self.value

    def refresh(self) -> int:
        """Ask the database now."""
        try:
            with self.sessions() as session:
                self.value = generation(session)
        except SQLAlchemyError as error:
            structlog.get_logger("ssl_bench").warning(
                "the database does not answer", error=str(error)
            )
        self.read = time.monotonic()
        return self.value
