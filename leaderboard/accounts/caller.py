"""Who is asking: by a bearer token (API) or a session cookie (pages)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from leaderboard.accounts.audit import Origin, origin_of
from leaderboard.accounts.people import scopes_of
from leaderboard.accounts.rates import Rates, address_key
from leaderboard.accounts.secret_texts import digest
from leaderboard.api.problems import Problem
from leaderboard.db import Token, User, now

NOTED_EVERY = timedelta(minutes=5)  # how exactly `last_used` is kept
bearer = HTTPBearer(
    auto_error=False, bearerFormat="sslb_...", description="a token from the page Tokens"
)


@dataclass(frozen=True)
class Caller:
    """A person, and what they may do in this request."""

    user: User
    scopes: frozenset[str]
    origin: Origin
    token_id: int | None = None

    @property
    def maintains(self) -> bool:
        return "maintain" in self.scopes


def find_token(session: Session, text: str) -> Token | None:
    """A token in force, of a person who may come in."""
    token = session.scalar(select(Token).where(Token.hash == digest(text)))
    if token is None or token.revoked is not None or not token.user.active:
        return None
    return token if token.expires is None or token.expires > now() else None


def _caller(
    request: Request,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Caller:
    rates: Rates = request.app.state.rates
    origin = origin_of(request)
    address = f"address {address_key(origin.address)}"
    if given is None:
        raise unauthorised("this address needs a token: send it as `Authorization: Bearer ...`")
    rates.check_attempts(address)
    with request.app.state.sessions() as session:
        token = find_token(session, given.credentials)
    if token is None:
        rates.count_attempt(address)
        raise unauthorised("the token is unknown, revoked or expired: make another one")
    rates.count_request(f"token {token.id}")
    if token.last_used is None or now() - token.last_used > NOTED_EVERY:
        with request.app.state.writing.begin() as session:
            session.execute(update(Token).where(Token.id == token.id).values(last_used=now()))
    scopes = frozenset(token.scopes) & scopes_of(token.user.role)
    return Caller(token.user, scopes, origin, token.id)


def unauthorised(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="ssl-bench"'})


def require(caller: Caller, scope: str) -> None:
    """Raises: Problem (403) where the caller's token lacks a scope."""
    if scope not in caller.scopes:
        raise Problem(403, f"this needs a token with the scope `{scope}`")


def _submitter(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
    require(caller, "submit")
    return caller


def _maintainer(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
    require(caller, "maintain")
    return caller


AnyCaller = Annotated[Caller, Depends(_caller)]
Submitter = Annotated[Caller, Depends(_submitter)]
Maintainer = Annotated[Caller, Depends(_maintainer)]
