"""What a step may use, and what it is asked to do. Standard library only: it is read before the
child process has put its limits on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

# where things lie inside: beside every path that an interpreter or a project may have outside
WORK, PRIVATE = "/ssl-bench/work", "/ssl-bench/private"
MODEL, DATA, PREPARED = "/ssl-bench/model", "/ssl-bench/data", "/ssl-bench/prepared"
EVALUATE = "leaderboard.evaluation.step:evaluate"


@dataclass(frozen=True)
class Limits:
    """Limits of one step. `memory_bytes` is address space; with a GPU, whose driver reserves far
    more than it uses, it bounds what is written to (RLIMIT_DATA) instead."""

    memory_bytes: int = 12 << 30
    cpu_seconds: int = 4 * 3600
    wall_seconds: float = 2 * 3600
    file_bytes: int = 8 << 30  # of one file
    disk_bytes: int = 32 << 30  # of everything in the step's folders
    processes: int = 128  # threads count
    open_files: int = 1024
    output_bytes: int = 8 << 20  # messages and result together


@dataclass(frozen=True)
class Job:
    """One step, as the child process is told it.

    `read_only` holds (path outside, path inside) pairs: besides them and the system's libraries
    there is nothing to see. `scratch` is the only folder kept between steps, seen as `WORK`.
    """

    arguments: dict[str, Any]
    entry: str = EVALUATE  # module:function, from the installed code
    read_only: tuple[tuple[str, str], ...] = ()
    devices: tuple[str, ...] = ()  # of a GPU
    scratch: str = ""
    private: str = ""  # seen as `PRIVATE`
    hidden: tuple[str, ...] = ()  # never shown, wherever it lies: database, uploads, keys
    path: tuple[str, ...] = ()  # sys.path
    prefixes: tuple[str, ...] = ()  # the interpreter and its packages
    threads: int = 1
    uid: int = 0  # 0: one that no other process has
    namespaces: bool = True  # False: as on machines that do not allow them
    limits: Limits = field(default_factory=Limits)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        fields = json.loads(text)
        for name in ("path", "prefixes", "devices", "hidden"):
            fields[name] = tuple(fields[name])
        fields["read_only"] = tuple((outside, inside) for outside, inside in fields["read_only"])
        return cls(**{**fields, "limits": Limits(**fields["limits"])})
