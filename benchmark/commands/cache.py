"""`ssl-bench cache`."""

from __future__ import annotations

import json
import shutil
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmark.errors import SslBenchError
from benchmark.paths import cache_root, file_checksum, is_url, store_root

STALE_SECONDS = 3600  # a temporary file older than this belongs to a run that was killed


def _manifest(folder: Path) -> dict[str, Any]:
    return _json(folder / "manifest.json")


def _json(path: Path) -> dict[str, Any]:
    """What stands in a file; nothing where it is missing or damaged."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _entries() -> list[Path]:
    from benchmark.store import EmbeddingStore

    return EmbeddingStore(store_root()).folders()


def _remote(store: str | None) -> bool:
    """Whether an object store is meant.

    Raises:
        SslBenchError: a folder, whose entries are files like those of the cache.
    """
    if store is not None and not is_url(store):
        raise SslBenchError(f"--store {store} is no URL: for a folder set SSL_BENCH_CACHE")
    return store is not None


def ls_command(store: str | None = None) -> None:
    """Every entry of the store, its size and age."""
    if _remote(store):
        from benchmark.commands.remote_cache import ls_remote

        return ls_remote(str(store))
    table = Table(title=str(store_root()), title_justify="left", header_style="bold")
    for column in ("encoder", "source", "split", "kind", "precision", "examples", "MB", "made"):
        table.add_column(column, overflow="fold")
    total = 0
    entries = _entries()
    for folder in entries:
        manifest = _manifest(folder)
        about = manifest.get("about", {})
        size = _size(folder)
        total += size
        made = datetime.fromtimestamp(folder.stat().st_mtime).strftime("%Y-%m-%d %H:%M")
        state = str(manifest.get("count", "[yellow]incomplete"))
        names = [
            str(about.get(key, "?")) for key in ("encoder", "source", "split", "kind", "precision")
        ]
        table.add_row(*names, state, f"{size / 1e6:.1f}", made)
    console = Console()
    wide = console if console.is_terminal else Console(width=160)
    wide.print(table)
    others = {
        name: _size(cache_root() / name)
        for name in ("datasets", "mirrors", "remote", "results")
        if (cache_root() / name).is_dir()
    }
    rest = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in others.items())
    wide.print(f"{len(entries)} entries, {total / 1e6:.1f} MB; {rest or 'nothing else'}")


def _verify_prepared(console: Console) -> tuple[int, int]:
    """How many prepared files were read to the end, and how many were not as written."""
    checked = damaged = 0
    for record in sorted(cache_root().glob("datasets/*/prepared.json")):
        splits = _json(record).get("splits", {})
        for split, stated in splits.items():
            path = record.parent / f"{split}.arrow"
            checked += 1
            if path.is_file() and file_checksum(path) == stated.get("checksum"):
                continue
            damaged += 1
            console.print(
                f"[red]damaged[/] {path}: its dataset is prepared again when next needed",
                soft_wrap=True,
            )
            record.unlink(missing_ok=True)
    return checked, damaged


def verify_command(store: str | None = None) -> None:
    """Check every shard of every complete entry; exit status 1 when one was damaged."""
    if _remote(store):
        from benchmark.commands.remote_cache import verify_remote

        return verify_remote(str(store))
    from benchmark.store import Entry, EntryKey

    console = Console()
    damaged = shards = 0
    for folder in _entries():
        manifest = _manifest(folder)
        if not manifest:
            console.print(f"[yellow]incomplete[/] {folder.name}: goes on when it is next needed")
            continue
        try:
            key = EntryKey(**manifest["key"])
            entry = Entry(folder, key, manifest["count"], manifest["size"], manifest["about"])
        except (KeyError, TypeError):
            console.print(f"[red]damaged[/] {folder / 'manifest.json'}: removed, it is rebuilt")
            (folder / "manifest.json").unlink()
            damaged += 1
            continue
        bad = entry.missing()
        shards += entry.shards
        damaged += len(bad)
        for index in bad:
            about = entry.about
            console.print(
                f"[red]damaged[/] {entry.path(index)} ({about.get('encoder')}, "
                f"{about.get('source')}): removed, it is computed again when next needed",
                soft_wrap=True,
            )
    prepared, broken = _verify_prepared(console)
    damaged += broken
    console.print(f"{shards} shards and {prepared} prepared files checked, {damaged} damaged")
    if damaged:
        sys.exit(1)


def prune_command(
    older_than: float | None,
    encoder: str | None,
    everything: bool,
    dry_run: bool,
    store: str | None = None,
) -> None:
    """Remove leavings of killed runs, and entries by age or encoder, or everything.

    Raises:
        SslBenchError: options that exclude each other.
    """
    if everything and (older_than is not None or encoder is not None):
        raise SslBenchError("--all removes everything: leave --older-than and --encoder out")
    if _remote(store):
        from benchmark.commands.remote_cache import prune_remote

        if older_than is not None:
            raise SslBenchError("--older-than: an object store does not note when it is read")
        return prune_remote(str(store), encoder, everything, dry_run)
    chosen = _leavings()
    if everything:
        parts = ("embeddings", "remote", "mirrors", "datasets", "results")
        chosen += [cache_root() / part for part in parts if (cache_root() / part).is_dir()]
    elif older_than is not None or encoder is not None:
        chosen += [folder for folder in _entries() if _matches(folder, older_than, encoder)]
    freed = sum(_size(path) if path.is_dir() else path.stat().st_size for path in chosen)
    for path in chosen if not dry_run else []:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    word = "would be removed" if dry_run else "removed"
    Console().print(f"{len(chosen)} items, {freed / 1e6:.1f} MB {word}")


def _leavings() -> list[Path]:
    limit = time.time() - STALE_SECONDS
    found = [*cache_root().rglob(".writing-*"), *(cache_root() / "datasets").glob(".*")]
    return [path for path in found if path.stat().st_mtime < limit]


def _matches(folder: Path, older_than: float | None, encoder: str | None) -> bool:
    if encoder is not None and _manifest(folder).get("about", {}).get("encoder") != encoder:
        return False
    newest = max((p.stat().st_atime for p in folder.glob("*")), default=folder.stat().st_mtime)
    return older_than is None or time.time() - newest > older_than * 86400
