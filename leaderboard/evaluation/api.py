"""The server's public key, and results with their signature."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import select

from leaderboard.db import SHOWN, Result
from leaderboard.dependencies import ReadSession, SettingsDep
from leaderboard.evaluation.publishing import signed_file
from leaderboard.evaluation.signing import Signer

router = APIRouter(prefix="/api/v1", tags=["signatures"])


@router.get("/signing-key.pem", response_class=Response)
async def signing_key(settings: SettingsDep) -> Response:
    """The public Ed25519 key with which this server signs results, in PEM."""
    signer = await run_in_threadpool(Signer.load, settings.signing_key_file)
    return Response(signer.public_pem, media_type="application/x-pem-file")


@router.get("/results/{public_id}/signed")
def signed_result(public_id: str, session: ReadSession) -> dict[str, Any]:
    """A result with its signature, as `ssl-bench verify` checks it."""
    row = session.scalar(
        select(Result).where(Result.public_id == public_id, Result.state.in_(SHOWN))
    )
    content = None if row is None else signed_file(row)
    if content is None:
        raise HTTPException(404, "there is no such result, or it was not signed")
    return content
