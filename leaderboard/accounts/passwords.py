"""Passwords: argon2id, and an answer that takes the same time whether the name exists."""

from __future__ import annotations

import threading
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from benchmark.errors import SslBenchError

SHORTEST, LONGEST = 12, 256  # characters; hashing a very long one would cost the server
AT_ONCE = 2  # hashes of one process: each takes 64 MiB and a core
_turns = threading.Semaphore(AT_ONCE)
_hasher = PasswordHasher()  # argon2-cffi's defaults are RFC 9106's low-memory recommendation


def hash_password(password: str, name: str) -> str:
    """The hash to store.

    Raises:
        SslBenchError: too short, too long, or the name itself.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise SslBenchError(
            f"the password: it needs {SHORTEST} to {LONGEST} characters; choose another one"
        )
    if name.lower() in password.lower() or len(set(password)) < 5:
        raise SslBenchError("the password: it is too easy to guess; choose another one")
    with _turns:
        return _hasher.hash(password)


@cache
def _nobody() -> str:
    return _hasher.hash("nobody has this password")


def password_fits(stored: str | None, password: str) -> bool:
    """Whether `password` is the stored one; as slow where there is none."""
    other = _nobody()
    try:
        with _turns:
            fits = _hasher.verify(stored or other, password[: LONGEST + 1])
    except (Argon2Error, InvalidHashError):
        return False
    return fits and stored is not None


def needs_rehash(stored: str) -> bool:
    """Whether it was hashed with weaker settings than today's."""
    return _hasher.check_needs_rehash(stored)
