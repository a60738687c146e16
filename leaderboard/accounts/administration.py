"""What the commands about people do."""

from __future__ import annotations

import sys
from getpass import getpass

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from benchmark.errors import SslBenchError
from leaderboard.accounts import people
from leaderboard.accounts.audit import COMMAND_LINE, record
from leaderboard.accounts.secret_texts import digest
from leaderboard.db import AuditEvent, Role, Token, User
from leaderboard.settings import load_settings


def role_of(text: str) -> Role:
    """Raises: SslBenchError: no role."""
    try:
        return Role(text)
    except ValueError:
        raise SslBenchError(f"--role {text}: it is {', '.join(Role)}") from None


def ask_password() -> str:
    """Twice at a terminal, once from a pipe.

    Raises:
        SslBenchError: the two differ.
    """
    if not sys.stdin.isatty():
        return sys.stdin.readline(1_000).rstrip("\n")
    first, second = getpass("password: "), getpass("again: ")
    if first != second:
        raise SslBenchError("the passwords differ: nothing was changed; try again")
    return first


def create_command(session: Session, name: str, role: str, password: bool) -> None:
    chosen = role_of(role)
    text = ask_password() if password else None
    user = people.create_user(session, name, chosen, password=text)
    typer.echo(f"{user.name} is here as {user.role}")


def list_command(session: Session) -> None:
    table = Table("name", "role", "state", "signs in with", "since")
    for user in session.scalars(select(User).order_by(User.name)):
        means = "password, tokens" if user.password_hash else "tokens"
        state = "open" if user.active else "closed"
        table.add_row(user.name, user.role, state, means, f"{user.created:%Y-%m-%d}")
    Console().print(table)


def role_command(session: Session, name: str, role: str) -> None:
    user = people.find_user(session, name)
    user.role = role_of(role)
    record(session, None, "user.role", "user", user.name, COMMAND_LINE, role=str(user.role))
    typer.echo(f"{user.name} is {user.role}")


def quota_command(session: Session, name: str, per_day: int) -> None:
    user = people.find_user(session, name)
    user.quota = None if per_day < 0 else per_day
    record(session, None, "user.quota", "user", user.name, COMMAND_LINE, quota=user.quota)
    typer.echo(f"{user.name}: {'the default' if user.quota is None else user.quota} a day")


def password_command(session: Session, name: str) -> None:
    user = people.find_user(session, name)
    people.set_password(session, user, ask_password())
    typer.echo(f"{user.name} has another password and is signed out everywhere")


def close_command(session: Session, name: str, again: bool) -> None:
    user = people.find_user(session, name)
    people.set_active(session, user, again)
    typer.echo(f"{user.name} may come in again" if again else f"{user.name} is shut out")


def invite_command(session: Session, role: str, days: float | None, note: str) -> None:
    settings = load_settings()
    lasts = settings.invitation_days if days is None else days
    invitation, code = people.invite(session, lasts, role_of(role), note)
    where = settings.base_url.rstrip("/") or f"http://{settings.host}:{settings.port}"
    typer.echo(f"{where}/join?code={code}")
    typer.echo(f"good once, until {invitation.expires:%Y-%m-%d %H:%M} UTC", err=True)


def token_command(session: Session, name: str, scopes: list[str], days: float, label: str) -> None:
    user = people.find_user(session, name)
    token, text = people.create_token(session, user, label, scopes, days)
    typer.echo(text)
    typer.echo(
        f"of {user.name}: {', '.join(token.scopes)}, until {token.expires:%Y-%m-%d}", err=True
    )


def revoke_command(session: Session, given: str) -> None:
    token = session.scalar(
        select(Token).where(or_(Token.hash == digest(given), Token.public_id == given))
    )
    if token is None:
        raise SslBenchError("there is no such token: give its text or its identifier")
    people.revoke_token(session, token)
    typer.echo(f"the token {token.name!r} of {token.user.name} is revoked")


def audit_command(session: Session, last: int, who: str | None) -> None:
    wanted = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(last)
    if who is not None:
        wanted = wanted.where(AuditEvent.actor == who)
    table = Table("when, UTC", "who", "what", "on", "from", "detail")
    for event in reversed(session.scalars(wanted).all()):
        detail = ", ".join(f"{key} {value}" for key, value in event.detail.items())
        subject = f"{event.subject_kind} {event.subject}"
        row = (event.actor, event.action, subject, event.address, detail)
        table.add_row(f"{event.at:%Y-%m-%d %H:%M:%S}", *(escape(part) for part in row))
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)
