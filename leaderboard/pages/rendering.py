"""Rendering: one Jinja2 environment; every page extends `base.html`.

`render(request, "name.html", title=..., ...)` gives the response. In templates: `settings`,
`request`, `user` (None or the signed-in User: `request.state.user`), `csrf` (`request.state.csrf`,
to be put into every form as the hidden field `csrf`), `static("site.css")` (address of a static
file). No inline script or style: the Content-Security-Policy forbids them. Scripts are files below
`static/`. `public=True` marks a page that is the same for everybody: it is cached.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmark import __version__
from benchmark.modalities import MODALITIES
from leaderboard.api.reading import PUBLIC
from leaderboard.pages import names
from leaderboard.pages.formats import FILTERS, FUNCTIONS
from leaderboard.pages.static_files import plotly_style_ids, static_url

HERE = Path(__file__).parent


def install_rendering(app: FastAPI) -> None:
    """The Jinja2 environment, on `app.state.templates`."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= FILTERS
    environment.globals |= FUNCTIONS
    environment.globals |= {
        "settings": app.state.settings,
        "static": static_url,
        "plotly_style_ids": plotly_style_ids,
        "version": __version__,
        "domains": MODALITIES,
        "domain_titles": names.DOMAIN_TITLES,
        "short_titles": names.SHORT_TITLES,
        "kinds": names.KINDS,
    }
    app.state.templates = environment


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    public: bool = False,
    **context: Any,
) -> HTMLResponse:
    """The page `template` with `context`."""
    user = getattr(request.state, "user", None)
    anonymous = user is None and "cookie" not in request.headers
    html = request.app.state.templates.get_template(template).render(
        request=request,
        user=user,
        csrf=getattr(request.state, "csrf", ""),
        base_url=base_url(request),
        **context,
    )
    known = {"Cache-Control": PUBLIC if public and anonymous else "private, no-cache"}
    return HTMLResponse(html, status, {**known, **(headers or {})})


def base_url(request: Request) -> str:
    """The site's public address, without a slash at its end."""
    configured: str = request.app.state.settings.base_url
    return (configured or str(request.base_url)).rstrip("/")
