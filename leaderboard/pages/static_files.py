"""Static files: kept in memory, compressed once, addressed by content so that they never expire."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

FOLDER = Path(__file__).parent / "static"
FOREVER = "public, max-age=31536000, immutable"
SHORT = "public, max-age=300"
router = APIRouter(include_in_schema=False)
mimetypes.add_type("font/woff2", ".woff2")
mimetypes.add_type("application/manifest+json", ".webmanifest")


@dataclass(frozen=True)
class StaticFile:
    body: bytes
    zipped: bytes | None
    kind: str
    version: str


@lru_cache(maxsize=128)
def static_file(name: str) -> StaticFile | None:
    """A file of `static/`, or plotly.min.js of the installed plotly package."""
    path = _paths().get(name)
    if path is None:
        return None
    body = path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    text = kind.startswith("text/") or kind.endswith(("json", "svg+xml", "javascript"))
    return StaticFile(
        body,
        gzip.compress(body, 6, mtime=0) if text else None,
        kind + ("; charset=utf-8" if text else ""),
        hashlib.blake2b(body, digest_size=6).hexdigest(),
    )


def static_url(name: str) -> str:
    """The address of a static file, with its version.

    Raises:
        KeyError: no such file: a template names one that is not there.
    """
    found = static_file(name)
    if found is None:
        raise KeyError(f"no static file {name}")
    return f"/static/{name}?v={found.version}"


@cache
def plotly_style_ids() -> list[str]:
    """Identifiers of the style sheets that Plotly's bundle would put into a page when it is loaded
    (for maps, which we do not draw); it leaves out those whose element is there already."""
    found = static_file("vendor/plotly.min.js")
    ids = re.findall(rb'getElementById\("([0-9a-f]{64})"\)', found.body) if found else []
    return sorted({name.decode() for name in ids})


@cache
def _paths() -> dict[str, Path]:
    paths = {str(path.relative_to(FOLDER)): path for path in FOLDER.rglob("*") if path.is_file()}
    plotly = find_spec("plotly")
    if plotly is not None and plotly.origin is not None:
        paths["vendor/plotly.min.js"] = (
            Path(plotly.origin).parent / "package_data" / "plotly.min.js"
        )
    return paths


@router.get("/static/{name:path}")
def static(request: Request, name: str) -> Response:
    """A static file."""
    found = static_file(name)
    if found is None:
        raise HTTPException(404)
    lasting = request.query_params.get("v") == found.version or name.endswith(".woff2")
    headers = {
        "Cache-Control": FOREVER if lasting else SHORT,
        "ETag": f'"{found.version}"',
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if found.zipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(found.zipped, media_type=found.kind, headers=headers)
    return Response(found.body, media_type=found.kind, headers=headers)


@router.get("/favicon.ico")
def favicon(request: Request) -> Response:
    """For browsers that ask without reading the page."""
    return static(request, "favicon.ico")
