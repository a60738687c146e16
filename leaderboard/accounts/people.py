"""What is done with accounts, whoever asks: pages, API, command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from benchmark.errors import SslBenchError
from leaderboard.accounts.audit import COMMAND_LINE, Origin, record
from leaderboard.accounts.passwords import hash_password
from leaderboard.accounts.secret_texts import INVITATION, TOKEN, digest, new_secret
from leaderboard.accounts.texts import printable
from leaderboard.db import Invitation, Role, Token, User, WebSession, now

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{1,38}[a-z0-9]")
RESERVED = frozenset(
    ("admin", "administrator", "root", "system", "worker", "ssl-bench", "maintainer", "-")
)
SCOPES = ("submit", "maintain")
MAX_TOKENS = 50  # of one person, in force


def scopes_of(role: Role) -> frozenset[str]:
    """What a person of this role may do."""
    return frozenset(SCOPES if role in (Role.MAINTAINER, Role.ADMIN) else SCOPES[:1])


def plain_line(field: str, text: str, longest: int) -> str:
    """Raises: SslBenchError: a character in `text` cannot be shown."""
    try:
        return printable(text)[:longest]
    except ValueError as error:
        raise SslBenchError(f"{field}: {error}") from None


def create_user(
    session: Session,
    name: str,
    role: Role = Role.SUBMITTER,
    *,
    password: str | None = None,
    display_name: str = "",
    by: User | None = None,
    origin: Origin = COMMAND_LINE,
) -> User:
    """A new account.

    Raises:
        SslBenchError: the name is taken or no name, or the password is too weak.
    """
    name = name.strip().lower()
    if not NAME.fullmatch(name) or (name in RESERVED and by is None and origin != COMMAND_LINE):
        raise SslBenchError(
            "the name: 3 to 40 letters a-z, digits, - and _, and none of the reserved ones; "
            "choose another one"
        )
    if session.scalar(select(User.id).where(User.name == name)) is not None:
        raise SslBenchError("the name: it is taken; choose another one")
    shown = plain_line("the name to show", display_name, 120)
    hashed = None if password is None else hash_password(password, name)
    user = User(name=name, display_name=shown, role=role, password_hash=hashed)
    session.add(user)
    session.flush()
    record(session, by or user, "user.created", "user", name, origin, role=str(role))
    return user


def find_user(session: Session, name: str) -> User:
    """Raises: SslBenchError: there is nobody of that name."""
    found = session.scalar(select(User).where(User.name == name.strip().lower()))
    if found is None:
        raise SslBenchError(f"there is no user {name!r}: `ssl-bench site user list` names them")
    return found


def set_password(
    session: Session,
    user: User,
    password: str,
    by: User | None = None,
    origin: Origin = COMMAND_LINE,
) -> None:
    """Another password; every browser is signed out.

    Raises:
        SslBenchError: it is too weak.
    """
    user.password_hash = hash_password(password, user.name)
    sign_out_everywhere(session, user)
    record(session, by, "user.password", "user", user.name, origin)


def set_active(
    session: Session,
    user: User,
    active: bool,
    by: User | None = None,
    origin: Origin = COMMAND_LINE,
) -> None:
    """Let a person in again, or shut them out at once: tokens and sessions end."""
    user.active = active
    if not active:
        sign_out_everywhere(session, user)
        session.execute(
            update(Token)
            .where(Token.user_id == user.id, Token.revoked.is_(None))
            .values(revoked=now())
        )
    record(session, by, "user.active" if active else "user.closed", "user", user.name, origin)


def sign_out_everywhere(session: Session, user: User) -> None:
    for found in session.scalars(select(WebSession).where(WebSession.user_id == user.id)):
        session.delete(found)


def invite(
    session: Session,
    days: float,
    role: Role = Role.SUBMITTER,
    note: str = "",
    by: User | None = None,
    origin: Origin = COMMAND_LINE,
) -> tuple[Invitation, str]:
    """An invitation and its code, which is known only now."""
    code = new_secret(INVITATION)
    found = Invitation(
        code_hash=digest(code),
        role=role,
        note=plain_line("the note", note, 200),
        created_by_id=None if by is None else by.id,
        expires=now() + timedelta(days=days),
    )
    session.add(found)
    session.flush()
    record(session, by, "invitation.created", "invitation", str(found.id), origin, role=str(role))
    return found, code


def open_invitation(session: Session, code: str) -> Invitation | None:
    """The invitation of a code, where it can still be used."""
    found = session.scalar(
        select(Invitation).where(Invitation.code_hash == digest(code.strip())).with_for_update()
    )
    good = found is not None and found.used is None and found.revoked is None
    return found if good and found is not None and found.expires > now() else None


def sign_up(
    session: Session, code: str, name: str, password: str, display_name: str, origin: Origin
) -> User:
    """Use an invitation.

    Raises:
        SslBenchError: it is not good (any more), or the name or the password is not.
    """
    invitation = open_invitation(session, code)
    if invitation is None:
        raise SslBenchError(
            "the invitation: it is unknown, used or expired; ask a maintainer for another one"
        )
    user = create_user(
        session,
        name,
        invitation.role,
        password=password,
        display_name=display_name,
        origin=origin,
    )
    invitation.used, invitation.used_by_id = now(), user.id
    record(session, user, "invitation.used", "invitation", str(invitation.id), origin)
    return user


def create_token(
    session: Session,
    user: User,
    name: str,
    scopes: Sequence[str],
    days: float,
    by: User | None = None,
    origin: Origin = COMMAND_LINE,
) -> tuple[Token, str]:
    """A token and its text, which is known only now.

    Raises:
        SslBenchError: scopes beyond the role's, or too many tokens.
    """
    wanted = set(scopes)
    if not wanted or not wanted <= scopes_of(user.role):
        known = ", ".join(sorted(scopes_of(user.role)))
        raise SslBenchError(f"the scopes: {user.name} may have {known}; choose among them")
    alive = select(func.count(Token.id)).where(
        Token.user_id == user.id, Token.revoked.is_(None), Token.expires > now()
    )
    if (session.scalar(alive) or 0) >= MAX_TOKENS:
        raise SslBenchError(f"the tokens: {MAX_TOKENS} are in force; revoke one first")
    text = new_secret(TOKEN)
    token = Token(
        user_id=user.id,
        name=plain_line("the token's name", name, 80),
        hash=digest(text),
        scopes=sorted(wanted),
        expires=now() + timedelta(days=days),
    )
    session.add(token)
    session.flush()
    record(
        session, by or user, "token.created", "token", token.public_id, origin, scopes=token.scopes
    )
    return token, text


def revoke_token(
    session: Session, token: Token, by: User | None = None, origin: Origin = COMMAND_LINE
) -> None:
    """End a token, and the sessions that were opened with it; again changes nothing."""
    if token.revoked is None:
        token.revoked = now()
        for found in session.scalars(select(WebSession).where(WebSession.token_id == token.id)):
            session.delete(found)
        record(session, by, "token.revoked", "token", token.public_id, origin)


def tokens_of(session: Session, user: User) -> Sequence[Token]:
    """A person's tokens, the newest first."""
    return session.scalars(
        select(Token).where(Token.user_id == user.id).order_by(Token.id.desc()).limit(200)
    ).all()
