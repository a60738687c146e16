"""What every request goes through: security headers, request identity and errors, caching, bounds
of bodies."""

from fastapi import FastAPI


def install(app: FastAPI) -> None:
    """Wrap the application; the last one added is the outermost."""
    from leaderboard.middleware.bodies import BodyMiddleware
    from leaderboard.middleware.caching import CacheMiddleware
    from leaderboard.middleware.requests import RequestMiddleware
    from leaderboard.middleware.security import SecurityMiddleware

    app.add_middleware(BodyMiddleware)
    app.add_middleware(CacheMiddleware, site=app)
    app.add_middleware(RequestMiddleware, site=app)
    app.add_middleware(SecurityMiddleware, https=app.state.settings.https)
