"""Random texts that open something: shown once, stored as sha256."""

from __future__ import annotations

import hashlib
import secrets

TOKEN, SESSION, INVITATION = "sslb", "sess", "inv"  # what a leaked one is recognised by


def new_secret(kind: str) -> str:
    """256 random bits behind a readable beginning."""
    return f"{kind}_{secrets.token_urlsafe(32)}"


def digest(secret: str) -> str:
    """What is stored. 256 random bits cannot be searched for, so no salt and no slow hash; and a
    look-up by digest tells nothing about the secret by its timing."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def same(first: str, second: str) -> bool:
    """Equality that takes the same time whatever the texts are."""
    return secrets.compare_digest(
        first.encode("utf-8", "replace"), second.encode("utf-8", "replace")
    )
