"""Data of another size than published: told by `data check`, kept in results, marked in tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from benchmark.catalog import load_task
from benchmark.commands.inspect import comparisons
from benchmark.datacheck import check_task
from benchmark.events import Event, RunOptions
from benchmark.plan import EncoderRef, Unit
from benchmark.published import other_size
from benchmark.report.page import write_page
from benchmark.report.summary import summarise
from benchmark.report.tables import overall_table, results_table
from benchmark.results import read_run
from benchmark.run import run_unit
from benchmark.task import TaskCard

from .test_disk import write

TOLD = "72 of the 90 published examples"


@pytest.mark.parametrize(
    ("here", "published", "told"),
    [
        ({"train": 5, "test": 2}, {"train": 5, "test": 2}, ""),
        ({"fold-1": 5, "fold-2": 2}, {"all": 7}, ""),
        ({"train": 5}, {}, ""),
        ({"fold-1": 400}, {"all": 2000}, "400 of the 2,000 published examples"),
        ({"train": 5, "test": 1}, {"test": 2}, "1 of the 2 published examples"),
        ({"train": 21_837}, {"all": 21_799}, "21,837 examples, while 21,799 were published"),
        (
            {"train": 4, "test": 3},
            {"train": 5, "test": 2},
            "another split than published (4 in train, published 5; 3 in test, published 2)",
        ),
    ],
)
def test_sizes_are_told_apart(here: dict[str, int], published: dict[str, int], told: str) -> None:
    assert other_size(here, published) == told


@pytest.mark.parametrize("published", [{"all": 3, "test": 1}, {"dev": 3}, {"test": 0}])
def test_a_card_gives_the_sizes_of_splits(published: dict[str, int]) -> None:
    fields = load_task("mock-disk").card.model_dump()
    with pytest.raises(ValueError, match="published"):
        TaskCard(**{**fields, "published": published})


def test_bags_are_counted(tmp_path: Path) -> None:
    task = load_task("mock-slides")
    task.card = task.card.model_copy(update={"published": {"all": 1}})
    found = {finding.check: finding for finding in check_task(task)}
    bags = {bag for data in task.load().values() for bag in data["bag"]}
    assert f"{len(bags)} examples, while 1 were published" in found["published size"].detail


def test_a_part_is_told_everywhere(tmp_path: Path) -> None:
    write(tmp_path, size=24)
    found = {f.check: f for f in check_task(load_task("mock-disk", tmp_path))}["published size"]
    assert (found.passed, found.note) == (True, True)
    assert found.detail == f"{TOLD}: scores are not comparable with published ones"

    told: list[Event] = []
    for encoder in ("mock-spectrum", "mock-net"):
        unit = Unit(EncoderRef(encoder, "audio"), (("mock-disk", ("linear-probe",)),))
        run_unit(unit, RunOptions(out=tmp_path / "run", data_dir=tmp_path), told.append)
    results = read_run(tmp_path / "run")
    assert [result.task.other_size for result in results] == [TOLD, TOLD]

    console = Console(width=200, record=True, file=(tmp_path / "tables").open("w"))
    console.print(results_table(results), overall_table(summarise(results)))
    text = console.export_text()
    assert text.count("]~‡") == 2
    assert f"‡ mock-disk: {TOLD}" in text
    assert text.count("~‡ #") == 2
    assert TOLD in write_page(results, tmp_path / "report.html", "a part").read_text()
    assert comparisons(results, None)[0]["other_size"] == TOLD


def test_the_whole_set_is_not_marked(tmp_path: Path) -> None:
    write(tmp_path)
    found = {f.check: f for f in check_task(load_task("mock-disk", tmp_path))}["published size"]
    assert (found.note, found.detail) == (False, "90 examples, as published")
