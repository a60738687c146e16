"""`ssl-bench eval`."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import typer
from rich.console import Console
from rich.markup import escape

from benchmark.catalog import encoder_cards
from benchmark.errors import SslBenchError
from benchmark.events import COMPILED, RunOptions
from benchmark.executors.choice import Executor, ExecutorRequest, chosen
from benchmark.mirror import mirror
from benchmark.modalities import MODALITIES
from benchmark.paths import is_url
from benchmark.plan import (
    EncoderRef,
    Plan,
    Skip,
    catalog_refs,
    make_plan,
    plan_cells,
    select_protocols,
    select_tasks,
)
from benchmark.progress import Tally, display
from benchmark.results import write_cells
from benchmark.shards import check_dtype
from benchmark.store import open_store
from benchmark.task import TaskCard


@dataclass(frozen=True)
class EvalRequest:
    """The options of one call of `ssl-bench eval`."""

    models: list[str]
    tasks: list[str] = field(default_factory=lambda: ["all"])
    suite: str | None = None
    protocols: list[str] = field(default_factory=list)
    data_dir: Path | str | None = None
    executor: ExecutorRequest = field(default_factory=ExecutorRequest)
    batch_size: int = 32
    seed: int = 0
    out: Path | None = None
    checkpoint: Path | None = None
    init: Literal["random"] | None = None
    compiled: bool = False
    modality: str | None = None
    input_options: dict[str, Any] = field(default_factory=dict)
    fresh: bool = False
    store: str | None = None
    store_dtype: str = "float32"
    as_json: bool = False


@dataclass(frozen=True)
class Work:
    """What a request comes to: the plan, and the tasks left out because their data is not there."""

    plan: Plan
    references: list[EncoderRef]
    absent: list[TaskCard]


def run_eval(request: EvalRequest) -> None:
    """Evaluate, print the tables and the paths; exit status 1 when something failed."""
    work = planned(request)
    with chosen(request.executor) as executor:
        for reference in work.references:
            _have_weights(reference)
        tally = _carry_out(work.plan, request, executor)
    console = Console(stderr=True)
    _tell(tally, work.plan, out_folder(request), request, console)
    if work.absent:
        text = escape(_absence(work.absent, request))
        console.print(f"[dim]left out: {text}[/]", highlight=False, soft_wrap=True)
    if tally.failures:
        sys.exit(1)


def planned(request: EvalRequest) -> Work:
    """Which encoder meets which task.

    Raises:
        SslBenchError: unknown names, options that exclude each other, nothing to do.
    """
    check_dtype(request.store_dtype)
    open_store(request.store).check()
    if request.data_dir is not None and is_url(request.data_dir):
        mirror(str(request.data_dir)).check()
    cards, absent = _with_data(select_tasks(request.tasks, request.suite), request)
    protocols = select_protocols(request.protocols)
    references = encoder_references(request)
    taken = {reference.modality for reference in references}
    absent = [card for card in absent if card.modality in taken]
    if absent and not any(card.modality in taken for card in cards):
        raise SslBenchError(f"nothing to evaluate: {_absence(absent, request)}")
    plan = make_plan(references, cards, protocols)
    if not plan.units:
        raise SslBenchError(_nothing_to_do(references, cards))
    return Work(plan, references, absent)


def out_folder(request: EvalRequest) -> Path:
    """Where results are written."""
    return request.out or Path("runs") / (request.suite or "-".join(request.tasks)[:60])


def run_options(request: EvalRequest, executor: Executor) -> RunOptions:
    """How the run is done on the executor."""
    precision = executor.precision
    if request.compiled:
        precision += COMPILED  # other kernels, other last digits: never mixed with the rest
    return RunOptions(
        out=out_folder(request),
        data_dir=request.data_dir,
        device=executor.device,
        precision=precision,
        batch_size=request.batch_size,
        seed=request.seed,
        fresh=request.fresh,
        threads=executor.threads,
        store=request.store,
        store_dtype=request.store_dtype,
    )


def _carry_out(plan: Plan, request: EvalRequest, executor: Executor) -> Tally:
    out = out_folder(request)
    write_cells(out, plan_cells(plan))
    console = Console(stderr=True)
    with display(console, len(plan)) as shown, _terminated_as_interrupted() as signals:
        try:
            executor.execute(plan, run_options(request, executor), shown)
        except KeyboardInterrupt:
            done = len(shown.tally.results)
            console.print(
                f"[yellow]stopped[/] with {done} of {len(plan)} results in {escape(str(out))}; "
                "the same command goes on from there",
                highlight=False,
                soft_wrap=True,
            )
            sys.exit(128 + (signals or [signal.SIGINT])[0])
    return shown.tally


@contextmanager
def _terminated_as_interrupted() -> Iterator[list[int]]:
    """SIGTERM, with which schedulers end a job, is taken like Ctrl-C, by this process alone."""
    ours, came = os.getpid(), list[int]()

    def stop(number: int, frame: object) -> None:
        if os.getpid() == ours:
            came.append(number)
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _with_data(
    cards: list[TaskCard], request: EvalRequest
) -> tuple[list[TaskCard], list[TaskCard]]:
    """Tasks to run, and those left out because their data is not there. A task that is named is
    never left out: evaluating it fails, and says what is missing."""
    from benchmark.datacheck import lacks_data

    absent = [
        card
        for card in cards
        if card.access != "embedded"
        and card.name not in request.tasks
        and lacks_data(card.name, request.data_dir)
    ]
    return [card for card in cards if card not in absent], absent


def _absence(absent: list[TaskCard], request: EvalRequest) -> str:
    names = ", ".join(card.name for card in absent[:6])
    more = f" and {len(absent) - 6} more" if len(absent) > 6 else ""
    where = f"not (whole) in {request.data_dir}" if request.data_dir else "read from --data-dir"
    return (
        f"{len(absent)} task{'s' * (len(absent) > 1)} whose data is {where} ({names}{more}); "
        "`ssl-bench data status` shows what is missing, `ssl-bench data fetch TASK` gets it"
    )


def encoder_references(request: EvalRequest) -> list[EncoderRef]:
    """One reference per encoder named; `all` means those that need no weights.

    Raises:
        SslBenchError: an unknown name, or options that cannot hold for several encoders.
    """
    names = list(dict.fromkeys(request.models))
    if "all" in names:
        if request.checkpoint or request.init:
            raise SslBenchError("--checkpoint and --init go with one encoder, not with --model all")
        names.remove("all")
        every = catalog_refs()
        names = [ref.name for ref in every] + [n for n in names if n not in encoder_cards()]
    if request.checkpoint is not None and len(names) > 1:
        raise SslBenchError("--checkpoint goes with one --model")
    return [_reference(name, request) for name in names]


def _have_weights(reference: EncoderRef) -> None:
    """Download the published weights before any work begins, and say so early if they cannot be."""
    card = encoder_cards().get(reference.name)
    if card is None or card.kind != "pretrained" or reference.checkpoint or reference.init:
        return
    from benchmark.hub import newer_commit, published_weights
    from benchmark.pins import pin_path

    published = published_weights(card, card.name)
    newer = newer_commit(card.hub, published) if card.hub else None
    if newer:
        Console(stderr=True).print(
            f"[yellow]{card.name}[/]: the hub has another {card.hub.file} since commit {newer}; "  # type: ignore[union-attr]
            f"this run uses the one of commit {published.commit} that is here (to take the new "
            f"one, delete {escape(str(pin_path(card.hub)))})",  # type: ignore[arg-type]
            highlight=False,
            soft_wrap=True,
        )


def _reference(name: str, request: EvalRequest) -> EncoderRef:
    modality = request.modality
    if modality is not None and modality not in MODALITIES:
        raise SslBenchError(f"--modality {modality!r} is not one of {', '.join(MODALITIES)}")
    card = encoder_cards().get(name)
    if card is not None and card.kind != "adapter":
        modality = card.modality
    reference = EncoderRef(
        name,
        modality or "",
        request.checkpoint,
        request.init,
        json.dumps(request.input_options, sort_keys=True),
    )
    if modality is None or card is None:
        from benchmark.run import loaded

        found = loaded(reference, request.seed).modality
        reference = EncoderRef(
            name, found, reference.checkpoint, reference.init, reference.input_options
        )
    return reference


def _nothing_to_do(references: list[EncoderRef], cards: list[TaskCard]) -> str:
    encoders = ", ".join(f"{ref.name} ({ref.modality})" for ref in references)
    tasks = ", ".join(sorted({card.modality for card in cards}))
    return (
        f"no encoder named meets a task of its modality: encoders {encoders}; tasks of {tasks}. "
        "Choose --task by the encoder's modality, or --task all"
    )


def _tell(tally: Tally, plan: Plan, out: Path, request: EvalRequest, console: Console) -> None:
    results = sorted(tally.results, key=lambda r: (r.encoder.name, r.task.name, r.protocol.name))
    if request.as_json:
        typer.echo(json.dumps([result.model_dump(mode="json") for result in results], indent=1))
    elif results:
        from benchmark.report.summary import summarise
        from benchmark.report.tables import overall_table, results_table

        screen = Console()
        wide = screen if screen.is_terminal else Console(width=200)
        wide.print(results_table(results, tally.skipped))
        wide.print(overall_table(summarise(results, plan_cells(plan))))
    planned = plan.skipped if "all" not in request.models else []
    _tell_skips([*planned, *tally.skipped], console)
    _tell_pace(tally, console)
    for failure in tally.failures:
        console.print(
            f"[red]failed[/] {escape(failure.encoder)} on {failure.task}: {escape(failure.reason)}",
            highlight=False,
            soft_wrap=True,
        )
    if results:
        reused = f" ({tally.reused} known from earlier runs)" if tally.reused else ""
        console.print(
            f"{len(results)} results{reused} in {escape(str(out / 'results'))}\n"
            f"[dim]ssl-bench report {escape(str(out))} writes the page; "
            f"ssl-bench compare {escape(str(out))} says which differences are real[/]",
            highlight=False,
            soft_wrap=True,
        )


def _tell_pace(tally: Tally, console: Console) -> None:
    """How long encoders computed, and how long they waited for data."""
    whole = tally.waiting + tally.computing
    if whole:
        console.print(
            f"[dim]embedding: encoders computed for {tally.computing:.1f} s and waited for data "
            f"for {tally.waiting:.1f} s ({tally.waiting / whole:.0%})[/]",
            highlight=False,
            soft_wrap=True,
        )


def _tell_skips(skips: list[Skip], console: Console) -> None:
    """One line per (encoder, reason), with the first eight of what is skipped."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for skip in skips:
        label = f"{skip.task}/{skip.protocol}" if skip.protocol else skip.task
        grouped.setdefault((skip.encoder, skip.reason), []).append(label)
    for (encoder, reason), labels in grouped.items():
        named = ", ".join(labels[:8]) + (f" and {len(labels) - 8} more" if labels[8:] else "")
        console.print(
            f"[dim]skipped {escape(encoder)} on {named}: {escape(reason)}[/]",
            highlight=False,
            soft_wrap=True,
        )
