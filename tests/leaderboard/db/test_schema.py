"""The schema that migrations build is the one that the models describe."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from alembic import command
from fastapi import FastAPI
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from benchmark.errors import SslBenchError
from leaderboard.db import Base, Encoder, EncoderSource, Kind, SiteState, User
from leaderboard.db.engine import make_engine
from leaderboard.db.migrate import configuration, migrate, revisions
from leaderboard.settings import Settings


def test_migrations_end_at_the_models(settings: Settings) -> None:
    engine = make_engine(settings)
    migrate(engine)
    command.check(configuration(engine))  # raises where a model and the schema differ
    assert set(Base.metadata.tables) < set(inspect(engine).get_table_names())
    current, head = revisions(engine)
    assert current == head


def test_migrations_can_be_undone_and_done_again(settings: Settings) -> None:
    engine = make_engine(settings)
    migrate(engine)
    command.downgrade(configuration(engine), "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    migrate(engine)
    command.check(configuration(engine))


def test_a_database_of_a_newer_version_is_refused(settings: Settings) -> None:
    engine = make_engine(settings)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SslBenchError, match="newer version"):
        migrate(engine)


def test_times_come_back_in_utc(site: FastAPI) -> None:
    berlin = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    with site.state.writing.begin() as session:
        session.add(User(name="a", created=berlin))
    with site.state.sessions() as session:
        assert session.query(User).one().created == datetime(2026, 1, 1, 0, tzinfo=UTC)


def test_foreign_keys_hold(site: FastAPI) -> None:
    orphan = Encoder(
        slug="e", name="e", modality="audio", kind="control", source=EncoderSource.RUN, owner_id=7
    )
    with pytest.raises(IntegrityError), site.state.writing.begin() as session:
        session.add(orphan)


def test_a_writer_does_not_stop_readers(site: FastAPI) -> None:
    with site.state.writing.begin() as writer:
        writer.add(SiteState(key="a", value=1))
        writer.flush()
        with site.state.sessions() as reader:
            assert reader.query(SiteState).count() == 0
    with site.state.sessions() as reader:
        assert reader.query(SiteState).count() == 1


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        Kind("zip")
