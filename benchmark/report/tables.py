"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from rich.table import Table
from rich.text import Text

from benchmark.metrics import higher_is_better
from benchmark.modalities import MODALITIES, TITLES
from benchmark.plan import Skip
from benchmark.report.summary import Row, Summary, other_sizes
from benchmark.results import Metric, Result
from benchmark.splits import NO_TEXT_TOWER

SIMULATED = "~"  # stands beside every score on simulated data
PARTLY = "(~)"  # beside a mean over simulated and real tasks
OTHER_SIZE = "‡"  # beside a score on another number of examples than were published
OTHER_SIZE_TOLD = "a task has another number of examples than were published"
SEEN = "†"  # beside the score of an encoder whose pretraining data holds the task's data


def overall_table(summary: Summary) -> Table:
    """Encoders × six domains: chance-normalised score in %, its 95% interval, rank interval."""
    table = Table(title="Encoders × domains", title_style="bold", header_style="bold")
    table.caption = (
        "chance-normalised score in %, mean over this run's tasks and protocols, #rank in this\n"
        "run, 95% interval; encoders that share a rank are not separable at 5%\n"
        f"{SIMULATED} simulated data  {PARTLY} partly  · the encoder is of another domain"
    )
    if any(score.seen for row in summary.rows for score in row.domains.values()):
        table.caption += f"\n{SEEN} data of a task was seen in pretraining"
    if any(summary.other_size.values()):
        table.caption += f"\n{OTHER_SIZE} {OTHER_SIZE_TOLD}"
    table.caption_justify = "left"
    table.add_column("encoder", overflow="fold", min_width=12)
    for domain in MODALITIES:
        table.add_column(TITLES[domain], justify="right", no_wrap=True)
    full = any(row.total for row in summary.rows)
    if full:
        table.add_column("mean", justify="right")
        table.add_column("Borda", justify="right")
    previous = None
    for row in summary.rows:
        modality = row.any_result.encoder.modality
        if previous not in (None, modality):
            table.add_section()
        previous = modality
        cells = [_domain_cell(row, domain, summary) for domain in MODALITIES]
        total = [Text("")] * 2 * full
        if row.total is not None and row.borda is not None:
            anything = any(count for count, _ in summary.simulated.values())
            total = [Text(_percent(row.total.value) + PARTLY * anything), Text(f"{row.borda:.1f}")]
        table.add_row(_encoder_name(row), *cells, *total)
    return table


def _encoder_name(row: Row) -> Text:
    info = row.any_result.encoder
    text = Text(row.encoder)
    if info.weights == "random" and "random" not in row.encoder:
        text.append(" (random)", "dim")
    return text


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _domain_cell(row: Row, domain: str, summary: Summary) -> Text:
    if domain in row.missing:
        return Text(f"incomplete\n{len(row.missing[domain])} lacking", "yellow")
    score = row.domains.get(domain)
    if score is None:
        return Text("·", "dim")
    simulated, tasks = summary.simulated[domain]
    estimate = score.estimate
    text = Text(_percent(estimate.value), _shade(estimate.value))
    text.append(SIMULATED if simulated == tasks else PARTLY if simulated else "", "magenta")
    text.append(SEEN if score.seen else "", "magenta")
    text.append(OTHER_SIZE if summary.other_size[domain] else "", "magenta")
    first, last = score.rank
    text.append(f" #{first}" if first == last else f" #{first}-{last}", "cyan")
    shown = f"{_percent(estimate.low)}-{_percent(estimate.high)}"
    text.append(f"\n{shown if isfinite(estimate.low) else 'no interval'}", "dim")
    return text


def _shade(value: float) -> str:
    return "green" if value >= 0.6 else "yellow" if value >= 0.25 else "red"


def number(metric: Metric) -> str:
    """`0.734 [0.701, 0.768]`, `0.734` without an interval."""
    if metric.low is None or metric.high is None:
        return f"{metric.value:.3f}"
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"


def results_table(results: Sequence[Result], skipped: Sequence[Skip] = ()) -> Table:
    """One line per result; of what was skipped, the encoders that can have no zero-shot score."""
    table = Table(title="Results", title_style="bold", header_style="bold")
    table.caption = f"{SIMULATED} simulated data; s: seconds to embed / to score, when computed"
    for task, differs in other_sizes(results).items():
        table.caption += f"\n{OTHER_SIZE} {task}: {differs}; not comparable with published scores"
    mute = dict.fromkeys(skip.encoder for skip in skipped if skip.reason == NO_TEXT_TOWER)
    if mute:
        table.caption += f"\nno zero-shot score, for want of a text tower: {', '.join(mute)}"
    table.caption_justify = "left"
    for name, justify in (
        ("task", "left"),
        ("protocol", "left"),
        ("encoder", "left"),
        ("metric", "left"),
        ("score [95% interval]", "right"),
        ("chance", "right"),
        ("s", "right"),
    ):
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name.startswith("score"))  # type: ignore[arg-type]
    order = {domain: index for index, domain in enumerate(MODALITIES)}
    ranked = sorted(
        results,
        key=lambda r: (
            order[r.task.modality],
            r.task.name,
            r.protocol.name,
            -r.score.value if higher_is_better(r.metric.partition("@")[0]) else r.score.value,
        ),
    )
    previous = None
    for result in ranked:
        if previous not in (None, result.task.modality):
            table.add_section()
        previous = result.task.modality
        other = OTHER_SIZE * bool(result.task.other_size)
        mark = SIMULATED * result.task.simulated + other or " "
        seen = " (seen in pretraining)" if result.encoder.seen_in_pretraining else ""
        table.add_row(
            result.task.name,
            result.protocol.name,
            result.encoder.name + seen,
            result.metric,
            f"{number(result.score)}{mark}",
            f"{result.task.chance:.3f}",
            f"{result.cost.embed_seconds:.1f} / {result.cost.probe_seconds:.1f}",
        )
    return table
