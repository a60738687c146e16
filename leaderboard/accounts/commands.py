"""`ssl-bench site user | invite | token | audit`: people, by whoever runs the site."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from leaderboard.cli import extra, site_app

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

user_app = typer.Typer(help="Accounts.", no_args_is_help=True)
token_app = typer.Typer(help="Tokens of people.", no_args_is_help=True)
site_app.add_typer(user_app, name="user")
site_app.add_typer(token_app, name="token")
Role = Annotated[str, typer.Option(help="submitter, maintainer or admin")]


@contextmanager
def writing() -> Iterator[Session]:
    """A transaction on this installation's database."""
    with extra():
        from leaderboard.db.engine import make_engine, writing_sessions
        from leaderboard.db.migrate import migrate
        from leaderboard.settings import load_settings
    engine = make_engine(load_settings())
    migrate(engine)
    with writing_sessions(engine).begin() as session:
        yield session
    engine.dispose()


@user_app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="3 to 40 letters a-z, digits, - and _")],
    role: Role = "submitter",
    password: Annotated[
        bool, typer.Option("--password/--no-password", help="ask for one, or tokens alone")
    ] = True,
) -> None:
    """Make an account."""
    from leaderboard.accounts.administration import create_command

    with writing() as session:
        create_command(session, name, role, password)


@user_app.command("list")
def list_users() -> None:
    """Everybody, with role and state."""
    from leaderboard.accounts.administration import list_command

    with writing() as session:
        list_command(session)


@user_app.command("role")
def role(name: str, role: Annotated[str, typer.Argument(help="the new one")]) -> None:
    """Give a person another role."""
    from leaderboard.accounts.administration import role_command

    with writing() as session:
        role_command(session, name, role)


@user_app.command("quota")
def quota(
    name: str,
    per_day: Annotated[int, typer.Argument(min=-1, help="submissions; -1: the site's default")],
) -> None:
    """How many submissions a day a person may send."""
    from leaderboard.accounts.administration import quota_command

    with writing() as session:
        quota_command(session, name, per_day)


@user_app.command("password")
def password(name: str) -> None:
    """Set another password; every browser of that person is signed out."""
    from leaderboard.accounts.administration import password_command

    with writing() as session:
        password_command(session, name)


@user_app.command("close")
def close(
    name: str, again: Annotated[bool, typer.Option("--reopen", help="let them in again")] = False
) -> None:
    """Shut a person out at once: sessions and tokens end."""
    from leaderboard.accounts.administration import close_command

    with writing() as session:
        close_command(session, name, again)


@site_app.command("invite")
def invite(
    role: Role = "submitter",
    days: Annotated[float | None, typer.Option(min=0.01, help="[the site's setting]")] = None,
    note: Annotated[str, typer.Option(help="for whom")] = "",
) -> None:
    """Make an invitation, to be used once; its code is shown only now."""
    from leaderboard.accounts.administration import invite_command

    with writing() as session:
        invite_command(session, role, days, note)


@token_app.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="whose")],
    scope: Annotated[list[str] | None, typer.Option(help="submit, maintain [submit]")] = None,
    days: Annotated[float, typer.Option(min=0.01)] = 90,
    label: Annotated[str, typer.Option(help="what for")] = "command line",
) -> None:
    """Make a token; its text is shown only now."""
    from leaderboard.accounts.administration import token_command

    with writing() as session:
        token_command(session, name, scope or ["submit"], days, label)


@token_app.command("revoke")
def revoke_token(
    token: Annotated[str, typer.Argument(help="its text, or its identifier")],
) -> None:
    """Revoke a token that leaked."""
    from leaderboard.accounts.administration import revoke_command

    with writing() as session:
        revoke_command(session, token)


@site_app.command("audit")
def audit(
    last: Annotated[int, typer.Option(min=1, help="so many events")] = 50,
    who: Annotated[str | None, typer.Option(help="of this person only")] = None,
) -> None:
    """Who did what, the newest last."""
    from leaderboard.accounts.administration import audit_command

    with writing() as session:
        audit_command(session, last, who)
