"""Rows as lines of JSON that mean the same for every database."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

FORMAT = 1
MANIFEST = "manifest.json"
KEY = "keys/signing.pem"
TABLES = "tables/"
UPLOADS = "uploads/"


def encode_row(row: dict[str, Any]) -> bytes:
    """One line."""
    return json.dumps({key: _encode(value) for key, value in row.items()}).encode() + b"\n"


def decode_row(line: bytes) -> dict[str, Any]:
    return {key: _decode(value) for key, value in json.loads(line).items()}


def _encode(value: Any) -> Any:
    """Times and bytes say what they are; lists and objects are JSON columns."""
    if isinstance(value, datetime):
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return {"time": moment.isoformat()}
    if isinstance(value, bytes | memoryview):
        return {"bytes": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, dict | list):
        return {"json": value}
    return value if isinstance(value, bool | int | float | type(None)) else str(value)


def _decode(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "time":
        return datetime.fromisoformat(content)
    return base64.b64decode(content) if kind == "bytes" else content
