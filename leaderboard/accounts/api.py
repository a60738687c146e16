"""`/api/v1/me` and the caller's tokens."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy import select

from leaderboard.accounts.caller import AnyCaller
from leaderboard.accounts.people import revoke_token, tokens_of
from leaderboard.api.problems import Problem
from leaderboard.db import Role, Token
from leaderboard.dependencies import PublicId, ReadSession, WriteSession

router = APIRouter(prefix="/api/v1", tags=["account"])


class Me(BaseModel):
    """Who a token belongs to."""

    name: str
    display_name: str
    role: Role
    scopes: list[str]


class TokenView(BaseModel):
    """A token, without its text, which nobody has any more."""

    id: str
    name: str
    scopes: list[str]
    created: datetime
    expires: datetime | None
    last_used: datetime | None
    revoked: datetime | None


@router.get("/me")
def me(caller: AnyCaller) -> Me:
    """The person whom the token belongs to."""
    user = caller.user
    return Me(
        name=user.name,
        display_name=user.display_name,
        role=user.role,
        scopes=sorted(caller.scopes),
    )


@router.get("/me/tokens")
def my_tokens(caller: AnyCaller, session: ReadSession) -> list[TokenView]:
    """The caller's tokens, the newest first."""
    return [
        TokenView(
            id=token.public_id,
            name=token.name,
            scopes=token.scopes,
            created=token.created,
            expires=token.expires,
            last_used=token.last_used,
            revoked=token.revoked,
        )
        for token in tokens_of(session, caller.user)
    ]


@router.delete("/me/tokens/{token_id}", status_code=204)
def revoke(token_id: PublicId, caller: AnyCaller, session: WriteSession) -> None:
    """Revoke one of the caller's tokens at once; the one that asks, too."""
    token = session.scalar(
        select(Token).where(Token.public_id == token_id, Token.user_id == caller.user.id)
    )
    if token is None:
        raise Problem(404, "there is no such token of yours")
    revoke_token(session, token, caller.user, caller.origin)
