"""`ssl-bench login`."""

from __future__ import annotations

import sys
from getpass import getpass

import typer

from benchmark.errors import SslBenchError
from leaderboard.client.api import Client
from leaderboard.client.login_file import plain_url, save_token


def login_command(server: str, forget: bool, insecure: bool) -> None:
    """Ask for a token, try it, keep it.

    Raises:
        SslBenchError: the server does not take it.
    """
    url = plain_url(server, insecure)
    if forget:
        typer.echo(f"{save_token(url, None)} holds no token of {url} any more")
        return
    if sys.stdin.isatty():
        token = getpass(f"token of {url} (from {url}/account/tokens): ").strip()
    else:
        token = sys.stdin.readline(1_000).strip()
    if not token or not token.isascii() or not token.isprintable():
        raise SslBenchError(f"that is no token: copy it from {url}/account/tokens")
    with Client(url, token) as client:
        person = client.me()
    path = save_token(url, token)
    scopes = ", ".join(person.scopes)
    typer.echo(f"signed in to {url} as {person.name} ({scopes}); the token is kept in {path}")
