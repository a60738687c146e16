"""The pages: Jinja2 templates in `templates/`, rendered by `leaderboard.pages.rendering`."""

from fastapi import FastAPI


def install(app: FastAPI) -> None:
    """Add the pages and the static files to the application."""
    from leaderboard.pages import (
        about,
        charts,
        compare,
        domains,
        encoders,
        exports,
        feeds,
        home,
        static_files,
        tasks,
    )
    from leaderboard.pages.rendering import install_rendering

    install_rendering(app)
    for area in (home, domains, tasks, encoders, compare, about, charts, exports, feeds):
        app.include_router(area.router, include_in_schema=False)
    app.include_router(static_files.router)
