"""Signatures of published results: Ed25519 (RFC 8032) over canonical JSON (RFC 8785).

What is signed is a *statement*: the result, and its origin, `server` where this server computed it
and `submitter` where it only passes on what it was told. A signed file is
`{"result": ..., "signature": {"algorithm", "key", "origin", "value"}}`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from benchmark.errors import SslBenchError

ALGORITHM = "Ed25519"
Origin = Literal["server", "submitter"]
ORIGINS: tuple[Origin, ...] = ("server", "submitter")


def statement(document: Mapping[str, Any], origin: Origin) -> bytes:
    """The bytes that are signed."""
    try:
        return rfc8785.dumps(
            {"format": "ssl-bench-result-1", "origin": origin, "result": dict(document)}
        )
    except rfc8785.CanonicalizationError as error:
        raise SslBenchError(f"the result cannot be written as canonical JSON: {error}") from None


def key_id(public: Ed25519PublicKey) -> str:
    """A short name of a public key."""
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:32]


@dataclass(frozen=True)
class Signer:
    """The server's key."""

    private: Ed25519PrivateKey

    @classmethod
    def load(cls, path: Path) -> Signer:
        """The key in `path`; made on first use, readable by its owner alone.

        Raises:
            SslBenchError: the file is no Ed25519 key, is open to others, or cannot be written.
        """
        try:
            if not path.exists():
                _create(path)
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise SslBenchError(f"{path} can be read by others: chmod 600 {path}")
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise SslBenchError(f"the signing key {path}: {error.strerror}") from error
        except ValueError as error:
            raise SslBenchError(
                f"{path} is no private key ({error}): restore it from a backup, or remove it and "
                "sign anew with another one"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise SslBenchError(f"{path} is no Ed25519 key")
        return cls(key)

    @property
    def key(self) -> str:
        return key_id(self.private.public_key())

    @property
    def public_pem(self) -> str:
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(encoding, form).decode()

    def sign(self, document: Mapping[str, Any], origin: Origin) -> str:
        """The base64 signature of a result's document."""
        return base64.b64encode(self.private.sign(statement(document, origin))).decode()


def _create(path: Path) -> None:
    """Write a new key whole or not at all; of two that try, the first wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".key-")  # 0600 by itself
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(scratch, path)
    finally:
        os.unlink(scratch)


def read_public_key(text: bytes, where: str) -> Ed25519PublicKey:
    """A public key in PEM.

    Raises:
        SslBenchError: it is none, or not Ed25519.
    """
    try:
        key = serialization.load_pem_public_key(text)
    except ValueError:
        raise SslBenchError(
            f"{where} is no public key in PEM: get the server's from /api/v1/signing-key.pem"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise SslBenchError(f"{where} is no Ed25519 key")
    return key


def envelope(
    document: Mapping[str, Any], signature: str, key: str, origin: Origin
) -> dict[str, Any]:
    """A signed file's content."""
    facts = {"algorithm": ALGORITHM, "key": key, "origin": origin, "value": signature}
    return {"result": dict(document), "signature": facts}


def is_signed(
    public: Ed25519PublicKey, document: Mapping[str, Any], value: str, origin: Origin
) -> bool:
    """Whether `value` is this key's signature of the statement."""
    try:
        public.verify(base64.b64decode(value, validate=True), statement(document, origin))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def check(text: bytes, public: Ed25519PublicKey, where: str) -> tuple[dict[str, Any], Origin]:
    """The result in a signed file, and where it comes from.

    Raises:
        SslBenchError: not a signed file, signed with another key, or changed since.
    """
    try:
        content = json.loads(text)
        document, facts = content["result"], content["signature"]
        value, origin, key = str(facts["value"]), facts["origin"], facts["key"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise SslBenchError(
            f"{where} is not a signed result: download it with its signature from the server"
        ) from None
    if (
        origin not in ORIGINS
        or facts.get("algorithm") != ALGORITHM
        or not isinstance(document, dict)
    ):
        raise SslBenchError(f"{where}: its signature is of a kind that is not known")
    if key != key_id(public):
        raise SslBenchError(
            f"{where} is signed with the key {key}, not {key_id(public)}: is it from this server?"
        )
    if not is_signed(public, document, value, origin):
        raise SslBenchError(f"{where}: the signature does not fit: the file was changed")
    return document, origin
