"""What a step does inside the sandbox: the engine's own evaluation of one (task, protocol)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark.events import Event, RunOptions
from benchmark.paths import cache_root
from benchmark.plan import EncoderRef, Unit


@dataclass(frozen=True)
class Cell:
    """One (task, protocol) of one encoder, and how it is run; as JSON in a job's arguments."""

    task: str
    protocol: str
    modality: str
    architecture: str = ""  # catalog name or adapter reference; empty for an ONNX file
    checkpoint: str = ""  # safetensors
    onnx: str = ""
    input_options: str = "{}"
    data_dir: str = ""
    prepared: str = ""  # folder of the task's prepared data
    prepared_name: str = ""  # its name in the cache
    device: str = "cpu"
    precision: str = "float32"
    batch_size: int = 32
    threads: int = 1
    seed: int = 0

    def arguments(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    arguments: dict[str, Any], places: dict[str, str], tell: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Run a cell: {"result": ...}, {"skip": reason} or {"failure": reason}.

    places: where the files named in the arguments lie inside the sandbox.
    """
    import torch
    from threadpoolctl import threadpool_limits

    from benchmark.run import run_unit

    cell = Cell(**arguments)
    end: dict[str, Any] = {}
    told = [0.0]

    def on_event(event: Event) -> None:
        if event.phase == "result" and event.result is not None:
            end["result"] = event.result.model_dump(mode="json")
        elif event.phase in ("skip", "failure"):
            end[event.phase] = event.detail
        elif event.phase != "embed" or event.done in (0, event.total) or _due(told):
            tell({key: value for key, value in asdict(event).items() if key != "result"})

    if cell.prepared:
        link = cache_root() / "datasets" / cell.prepared_name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(places.get(cell.prepared, cell.prepared))
    data_dir = places.get(cell.data_dir, cell.data_dir)
    options = RunOptions(
        out=Path(os.environ["TMPDIR"]) / "out",
        data_dir=Path(data_dir) if data_dir else None,
        device=cell.device,
        precision=cell.precision,
        batch_size=cell.batch_size,
        threads=cell.threads,
        seed=cell.seed,
    )
    torch.set_num_threads(cell.threads)
    with threadpool_limits(limits=cell.threads):
        unit = Unit(_reference(cell, places), ((cell.task, (cell.protocol,)),))
        run_unit(unit, options, on_event)
    return end or {"failure": "the evaluation ended without a result"}


def _reference(cell: Cell, places: dict[str, str]) -> EncoderRef:
    options = json.dumps(json.loads(cell.input_options), sort_keys=True)
    if cell.onnx:
        name = f"onnx:{places.get(cell.onnx, cell.onnx)}"
        return EncoderRef(name, cell.modality, input_options=options)
    path = Path(places.get(cell.checkpoint, cell.checkpoint))
    return EncoderRef(cell.architecture, cell.modality, path, input_options=options)


def _due(told: list[float]) -> bool:
    """At most two messages of progress a second."""
    if time.monotonic() - told[0] < 0.5:
        return False
    told[0] = time.monotonic()
    return True
