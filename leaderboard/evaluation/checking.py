"""`ssl-bench verify`: was this result published by that server, and is it unchanged?"""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import typer

from benchmark.errors import SslBenchError
from benchmark.results import Result
from leaderboard.evaluation.signing import check, read_public_key

KEY_PATH = "/api/v1/signing-key.pem"
MAX_KEY_BYTES = 16 << 10


def verify_command(result: Path, server: str | None, key: Path | None) -> None:
    """Print what the signature says.

    Raises:
        SslBenchError: no key, no signed result, or a signature that does not fit.
    """
    if (server is None) == (key is None) and key is None:
        raise SslBenchError("say whose signature it should be: --server URL or --key FILE")
    try:
        text = result.read_bytes()
        public = read_public_key(
            key.read_bytes() if key is not None else _fetch(server or ""), str(key or server)
        )
    except OSError as error:
        raise SslBenchError(f"{error.filename or result}: {error.strerror or error}") from None
    document, origin = check(text, public, str(result))
    found = Result.model_validate(document)
    score = found.score
    means = (
        "computed by the server"
        if origin == "server"
        else "reported by its submitter; the server did not compute it"
    )
    typer.echo(
        f"the signature fits: {found.encoder.name}, {found.task.name} / {found.protocol.name}, "
        f"{found.metric} {score.value:.4f}, {means}"
    )


def _fetch(server: str) -> bytes:
    url = server.rstrip("/") + KEY_PATH
    if not url.startswith(("http://", "https://")):
        raise SslBenchError(f"--server {server!r} is no http:// or https:// address")
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            content: bytes = answer.read(MAX_KEY_BYTES)
            return content
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise SslBenchError(f"{url} cannot be read: {reason}") from None
