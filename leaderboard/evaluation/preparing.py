"""Preparing a task's data, once for all submissions: in a process of its own, so that the worker
stays small, but outside the sandbox, for it reads what the site's owner put there."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import SslBenchError


@dataclass(frozen=True)
class Prepared:
    """A folder in the cache of the worker's user, readable by all."""

    folder: Path
    name: str


_known: dict[tuple[str, Path | None], Prepared] = {}


def prepared(task: str, data_dir: Path | None) -> Prepared:
    """The prepared data of a task, made where it is missing.

    Raises:
        SslBenchError: the dataset is missing or damaged.
    """
    known = _known.get((task, data_dir))
    if known is not None and (known.folder / "prepared.json").is_file():
        return known
    command = [sys.executable, "-m", __name__, json.dumps([task, str(data_dir or "")])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise SslBenchError(f"the data of {task} cannot be prepared: {last}")
    folder, name = json.loads(done.stdout.splitlines()[-1])
    _known[task, data_dir] = Prepared(Path(folder), name)
    return _known[task, data_dir]


def _main() -> None:
    from benchmark.catalog import load_task
    from benchmark.paths import cache_root
    from benchmark.prepare import prepare

    logging.disable(logging.INFO)
    task, data_dir = json.loads(sys.argv[1])
    try:
        folder = prepare(load_task(task, Path(data_dir) if data_dir else None))
    except SslBenchError as error:
        sys.exit(str(error))
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the sandbox has another user
    print(json.dumps([str(folder), str(folder.relative_to(cache_root() / "datasets"))]))


if __name__ == "__main__":
    _main()
