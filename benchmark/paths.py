"""Where things are kept on the user's machine."""

import os
from pathlib import Path


def cache_root() -> Path:
    """`$SSL_BENCH_CACHE`, else the platform's cache folder for ssl-bench."""
    chosen = os.environ.get("SSL_BENCH_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("ssl-bench"))


def store_root() -> Path:
    """The embedding store."""
    return cache_root() / "embeddings"
