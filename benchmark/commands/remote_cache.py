"""`ssl-bench cache ... --store URL`: what an object store holds."""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmark.objects import Bucket, DamagedObjectError, changed_at

UNNAMED_SECONDS = 86_400  # after which a shard that no manifest names belongs to no run


@dataclass
class _Held:
    """The objects of one entry."""

    manifest: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    changed: dict[str, float] = field(default_factory=dict)

    @property
    def named(self) -> set[str]:
        """Ends of the names of the shards that the manifest lists."""
        listed = self.manifest.get("shards", {})
        return {f"/{int(index):05d}-{sha256}.safetensors" for index, sha256 in listed.items()}

    def unnamed(self) -> list[str]:
        """Shards of a complete entry that its manifest does not list."""
        ends = tuple(self.named)
        shards = [name for name in self.sizes if name.endswith(".safetensors")]
        return [name for name in shards if ends and not name.endswith(ends)]


def _held(bucket: Bucket) -> dict[str, _Held]:
    found: dict[str, _Held] = defaultdict(_Held)
    for name, facts in sorted(bucket.facts("").items()):
        prefix, _, last = name.rpartition("/")
        found[prefix].sizes[name] = int(facts["size"])
        found[prefix].changed[name] = changed_at(facts)
        if last == "manifest.json":
            try:
                found[prefix].manifest = dict(json.loads(bucket.read(name)))
            except (ValueError, FileNotFoundError):
                continue
    return found


def ls_remote(url: str) -> None:
    """Every entry of the store and its size."""
    table = Table(title=url, title_justify="left", header_style="bold")
    columns = ("encoder", "source", "split", "kind", "precision", "dtype")
    for column in (*columns, "examples", "MB"):
        table.add_column(column, overflow="fold")
    entries = _held(Bucket(url))
    for held in entries.values():
        about = held.manifest.get("about", {})
        state = str(held.manifest.get("count", "[yellow]incomplete"))
        size = sum(held.sizes.values())
        table.add_row(*(str(about.get(c, "?")) for c in columns), state, f"{size / 1e6:.1f}")
    console = Console()
    wide = console if console.is_terminal else Console(width=160)
    wide.print(table)
    total = sum(sum(held.sizes.values()) for held in entries.values())
    wide.print(f"{len(entries)} entries, {total / 1e6:.1f} MB")


def verify_remote(url: str) -> None:
    """Read every shard and compare it with the checksum in its name; damaged ones are removed. Exit
    status 1 when one was damaged, or one that a manifest lists is gone."""
    bucket, console = Bucket(url), Console()
    damaged = shards = 0
    for prefix, held in _held(bucket).items():
        for name in held.sizes:
            sha256 = name.removesuffix(".safetensors").rpartition("-")[2]
            if not name.endswith(".safetensors") or len(sha256) != 64:
                continue
            shards += 1
            try:
                bucket.read(name, sha256)
            except DamagedObjectError:
                damaged += 1
                bucket.remove(name)
                console.print(f"[red]damaged[/] {url}/{name}: removed", soft_wrap=True)
        present = tuple(held.sizes)
        for end in sorted(held.named):
            if not any(name.endswith(end) for name in present):
                damaged += 1
                console.print(f"[red]gone[/] {url}/{prefix}{end}", soft_wrap=True)
    again = "; what is missing is computed again when next needed" if damaged else ""
    console.print(f"{shards} shards checked, {damaged} damaged or gone{again}")
    if damaged:
        sys.exit(1)


def prune_remote(url: str, encoder: str | None, everything: bool, dry_run: bool) -> None:
    """Remove shards that a second writer left and no manifest lists, and entries by encoder."""
    bucket = Bucket(url)
    chosen: dict[str, int] = {}
    limit = time.time() - UNNAMED_SECONDS
    for held in _held(bucket).values():
        made_by = held.manifest.get("about", {}).get("encoder")
        if everything or (encoder is not None and made_by == encoder):
            chosen |= held.sizes
        else:
            old = [name for name in held.unnamed() if held.changed[name] < limit]
            chosen |= {name: held.sizes[name] for name in old}
    for name in sorted(chosen, key=lambda name: not name.endswith("manifest.json")):
        if not dry_run:  # the manifest first: what is left of an entry is computed anew
            bucket.remove(name)
    word = "would be removed" if dry_run else "removed"
    Console().print(f"{len(chosen)} objects, {sum(chosen.values()) / 1e6:.1f} MB {word}")
