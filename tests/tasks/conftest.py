"""What tests of datasets on disk share: score one, check one, have one refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.catalog import load_task
from benchmark.datacheck import check_task
from benchmark.errors import DatasetError
from benchmark.events import Event, RunOptions
from benchmark.findings import Finding
from benchmark.plan import EncoderRef, Unit
from benchmark.prepare import prepare
from benchmark.results import Result
from benchmark.run import run_unit
from benchmark.splits import read_targets

Score = Callable[..., Result]
Findings = Callable[[str, Path], dict[str, Finding]]
Refused = Callable[[str, Path], str]


@pytest.fixture
def score(tmp_path: Path) -> Score:
    """Evaluates one encoder of the catalog (or `file.py:Class`) on one task through the engine."""

    def evaluate(task: str, root: Path, model: str, protocol: str = "linear-probe") -> Result:
        told: list[Event] = []
        card = load_task(task, root).card
        unit = Unit(EncoderRef(model, card.modality), ((task, (protocol,)),))
        run_unit(unit, RunOptions(out=tmp_path / "run", data_dir=root), told.append)
        problems = [e.detail for e in told if e.phase in ("failure", "skip")]
        assert not problems, problems
        (result,) = [event.result for event in told if event.result is not None]
        return result

    return evaluate


@pytest.fixture
def findings() -> Findings:
    """What `ssl-bench data check TASK` finds, by the name of the check."""
    return lambda task, root: {found.check: found for found in check_task(load_task(task, root))}


@pytest.fixture
def refused() -> Refused:
    """The one error that a damaged dataset gets."""

    def refuse(name: str, root: Path) -> str:
        with pytest.raises(DatasetError) as caught:
            task = load_task(name, root)
            prepare(task)
            for split in task.splits:
                read_targets(task, split)
        return str(caught.value)

    return refuse
