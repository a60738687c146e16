"""Tokens of servers, in a file that only its owner reads."""

from __future__ import annotations

import json
import os
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from platformdirs import user_config_dir

from benchmark.errors import SslBenchError


def login_file() -> Path:
    return Path(os.environ.get("SSL_BENCH_CONFIG") or user_config_dir("ssl-bench")) / "login.json"


def plain_url(server: str, insecure: bool = False) -> str:
    """A server's address as it is stored and compared.

    Raises:
        SslBenchError: no address, or one that would show the token to the network.
    """
    url = server.strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise SslBenchError(f"--server {server!r}: give an address such as https://example.org")
    if parts.username or parts.password:
        raise SslBenchError("--server: leave name and password out of the address")
    if parts.scheme == "http" and not insecure and not _loopback(parts.hostname):
        raise SslBenchError(
            f"--server {url}: without https everybody on the way reads your token; "
            "use https://, or --insecure-http on a network of your own"
        )
    return url


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def save_token(server: str, token: str | None) -> Path:
    """Keep a server's token, or, None, forget it; the file has mode 0600 from its first byte."""
    path = login_file()
    known = _read(path) if path.exists() else {}
    known.pop(server, None)
    if token is not None:
        known = {server: token, **known}  # the newest first: it is the one without --server
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_suffix(f".{os.getpid()}")
    handle = os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump({"servers": known}, file, indent=1)
    os.replace(scratch, path)
    return path


def find_token(server: str | None, insecure: bool = False) -> tuple[str, str]:
    """(server, token): from the arguments, SSL_BENCH_TOKEN, or the file.

    Raises:
        SslBenchError: there is no server or no token.
    """
    path = login_file()
    known = _read(path) if path.exists() else {}
    if server is None:
        server = next(iter(known), None)
    if server is None:
        raise SslBenchError("say which leaderboard: --server URL (or `ssl-bench login` first)")
    url = plain_url(server, insecure)
    token = os.environ.get("SSL_BENCH_TOKEN") or known.get(url)
    if not token:
        raise SslBenchError(
            f"there is no token for {url}: `ssl-bench login --server {url}`, or set SSL_BENCH_TOKEN"
        )
    if not token.isascii() or not token.isprintable() or len(token) > 200:
        raise SslBenchError("SSL_BENCH_TOKEN is no token: copy it again from the page Tokens")
    return url, token


def _read(path: Path) -> dict[str, str]:
    if path.stat().st_mode & 0o077:
        raise SslBenchError(f"{path} can be read by others: chmod 600 {path}")
    try:
        servers = json.loads(path.read_text())["servers"]
        return {str(url): str(token) for url, token in servers.items()}
    except (ValueError, KeyError, AttributeError, OSError):
        raise SslBenchError(f"{path} is damaged: delete it and `ssl-bench login` again") from None
