"""`ssl-bench`: the command line. Commands import what they need when they run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from benchmark.errors import SslBenchError

app = typer.Typer(
    name="ssl-bench",
    help="How good is a frozen encoder on real domain tasks, and is the difference real?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
data_app = typer.Typer(
    help="The tasks' data: what is there, and is it sound?", no_args_is_help=True
)
cache_app = typer.Typer(help="The store of embeddings and results.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(cache_app, name="cache")

Model = Annotated[
    list[str],
    typer.Option(
        "--model",
        "-m",
        help="an encoder's name, my_encoder.py:MyEncoder, hf:NAME, timm:NAME, onnx:FILE, or all "
        "(those that need no weights); may be given several times",
    ),
]
DataDir = Annotated[
    str | None,
    typer.Option(
        envvar="SSL_BENCH_DATA",
        help="where the datasets lie in their official layouts: a folder, s3://BUCKET/PREFIX, ...",
    ),
]
Init = Annotated[
    Literal["random"] | None, typer.Option(help="leave the encoder untrained, as a control")
]
Checkpoint = Annotated[Path | None, typer.Option(help="weights in place of the encoder's own")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ... or auto")]
Store = Annotated[
    str | None,
    typer.Option(
        envvar="SSL_BENCH_STORE",
        help="where embeddings are kept: a folder, s3://BUCKET/PREFIX, gs://... [the cache]",
    ),
]
StoreUrl = Annotated[str | None, typer.Option("--store", help="an object store's URL [the cache]")]
Modality = Annotated[str | None, typer.Option(help="for hf:, timm: and onnx: encoders")]
Input = Annotated[
    str | None,
    typer.Option("--input", help="input options as JSON, such as '{\"sample_rate\": 16000}'"),
]

ExecutorName = Annotated[
    Literal["local", "ray"], typer.Option(help="this machine, or a Ray cluster")
]
Address = Annotated[
    str | None,
    typer.Option(
        help="of the Ray cluster: auto, HOST:PORT or ray://HOST:PORT [one of this run's own]"
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="processes; the number of cores on the CPU, 1 on a GPU, on Ray as many as fit",
    ),
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="of each worker; results are identified by it")
]


@app.command("eval")
def evaluate(
    model: Model,
    task: Annotated[list[str], typer.Option("--task", "-t", help="a task, a modality or all")] = [
        "all"
    ],
    suite: Annotated[
        str | None, typer.Option(help="only tasks of this suite, such as starter")
    ] = None,
    protocol: Annotated[
        list[str], typer.Option("--protocol", "-p", help="instead of those each task's card lists")
    ] = [],
    data_dir: DataDir = None,
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16, float16, or auto: bfloat16 on CUDA")
    ] = "auto",
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    executor: ExecutorName = "local",
    address: Address = None,
    workers: Workers = None,
    threads: Threads = None,
    seed: Annotated[
        int, typer.Option(min=0, help="of folds, episodes, resamples, random weights")
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="folder of the results [runs/SUITE]")] = None,
    checkpoint: Checkpoint = None,
    init: Init = None,
    modality: Modality = None,
    input_options: Input = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="encoders through torch.compile; needs a compiler")
    ] = False,
    store: Store = None,
    store_dtype: Annotated[
        str, typer.Option(help="of stored embeddings: float32, float16 or bfloat16")
    ] = "float32",
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="reuse what is known, or compute all anew")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="results as JSON on standard output")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be done, as `plan` does, and end")
    ] = False,
) -> None:
    """Score encoders on tasks and print a table; what is known already is not computed again."""
    from benchmark.commands.evaluate import EvalRequest, run_eval
    from benchmark.executors.choice import ExecutorRequest

    run = run_eval
    if dry_run:
        from benchmark.commands.plan import run_plan as run
    run(
        EvalRequest(
            models=model,
            tasks=task,
            suite=suite,
            protocols=protocol,
            data_dir=_place(data_dir),
            executor=ExecutorRequest(executor, address, workers, threads, device, precision),
            batch_size=batch_size,
            seed=seed,
            out=out,
            checkpoint=checkpoint,
            init=init,
            compiled=compiled,
            modality=modality,
            input_options=_json_options(input_options),
            fresh=not resume,
            store=store,
            store_dtype=store_dtype,
            as_json=as_json,
        )
    )


def _place(text: str | None) -> Path | str | None:
    """A folder as a path; the URL of an object store as it is."""
    from benchmark.paths import is_url, local_path

    return text if text is None or is_url(text) else local_path(text)


def _json_options(text: str | None) -> dict[str, Any]:
    import json

    if text is None:
        return {}
    try:
        options = json.loads(text)
    except ValueError as error:
        raise SslBenchError(
            f"--input is not JSON ({error}): quote it, '{{\"size\": 224}}'"
        ) from None
    if not isinstance(options, dict):
        raise SslBenchError("--input must be a JSON object, such as '{\"size\": 224}'")
    return options


@app.command()
def plan(
    model: Model,
    task: Annotated[list[str], typer.Option("--task", "-t", help="a task, a modality or all")] = [
        "all"
    ],
    suite: Annotated[str | None, typer.Option(help="only tasks of this suite")] = None,
    protocol: Annotated[list[str], typer.Option("--protocol", "-p")] = [],
    data_dir: DataDir = None,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="as for eval")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    executor: ExecutorName = "local",
    address: Address = None,
    workers: Workers = None,
    threads: Threads = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    checkpoint: Checkpoint = None,
    init: Init = None,
    modality: Modality = None,
    input_options: Input = None,
    compiled: Annotated[bool, typer.Option("--compile")] = False,
    store: Store = None,
    store_dtype: Annotated[str, typer.Option(help="as for eval")] = "float32",
    resume: Annotated[bool, typer.Option("--resume/--fresh")] = True,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="prepare data and embed a shard where nothing has been measured"
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Say what `eval` with these options would do: shards, bytes, hours, and what is there."""
    from benchmark.commands.evaluate import EvalRequest
    from benchmark.commands.plan import run_plan
    from benchmark.executors.choice import ExecutorRequest

    request = EvalRequest(
        models=model,
        tasks=task,
        suite=suite,
        protocols=protocol,
        data_dir=_place(data_dir),
        executor=ExecutorRequest(executor, address, workers, threads, device, precision),
        batch_size=batch_size,
        seed=seed,
        checkpoint=checkpoint,
        init=init,
        compiled=compiled,
        modality=modality,
        input_options=_json_options(input_options),
        fresh=not resume,
        store=store,
        store_dtype=store_dtype,
        as_json=as_json,
    )
    run_plan(request, measure)


@app.command("list")
def list_things(
    what: Annotated[str, typer.Argument(help="tasks, models, suites or protocols")] = "all",
) -> None:
    """List tasks, models, suites and protocols."""
    from benchmark.commands.browse import list_catalog

    list_catalog(what)


@app.command()
def show(name: Annotated[str, typer.Argument(help="a task or an encoder")]) -> None:
    """Show the card of a task or an encoder."""
    from benchmark.commands.browse import show_card

    show_card(name)


@app.command()
def check(
    encoder: Annotated[str, typer.Argument(help="as for eval --model")],
    checkpoint: Checkpoint = None,
    init: Init = None,
    device: Device = "cpu",
    modality: Modality = None,
    input_options: Input = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Say in seconds what is wrong with an encoder: shapes, NaN, dependence on batch or padding."""
    from benchmark.commands.inspect import check_command

    check_command(encoder, checkpoint, init, device, modality, _json_options(input_options), seed)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="two runs (folders or result files), or one")],
    protocol: Annotated[str | None, typer.Option(help="only this protocol")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Compare encoders by paired bootstrap: which differences are real?"""
    from benchmark.commands.inspect import compare_command

    compare_command(runs, protocol, as_json)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="one or more runs")],
    out: Annotated[Path | None, typer.Option(help="the HTML file [RUN/report.html]")] = None,
    title: Annotated[str, typer.Option()] = "ssl-bench report",
) -> None:
    """Write one self-contained HTML page: tables, ranks, curves, confusion matrices."""
    from benchmark.commands.inspect import report_command

    report_command(runs, out, title)


@data_app.command("status")
def data_status(data_dir: DataDir = None) -> None:
    """A table of all tasks: present, partial or absent, size, licence, access."""
    from benchmark.commands.data import status_command

    status_command(_place(data_dir))


@data_app.command("fetch")
def data_fetch(
    task: Annotated[list[str], typer.Argument(help="tasks, modalities or all")],
    data_dir: DataDir = None,
    workers: Annotated[int, typer.Option(min=1, help="files at a time")] = 4,
    accept_terms: Annotated[
        bool,
        typer.Option("--accept-terms", help="you have agreed to the terms that a publisher asks"),
    ] = False,
) -> None:
    """Download what may be downloaded; for the rest, say where to apply and where to put it."""
    from benchmark.commands.fetch import fetch_command

    fetch_command(task, _place(data_dir), workers, accept_terms)


@data_app.command("check")
def data_check(
    task: Annotated[list[str], typer.Argument(help="tasks, modalities or all")],
    data_dir: DataDir = None,
) -> None:
    """Check files, labels, groups that leak and inputs that stand in two splits."""
    from benchmark.commands.data import check_command

    check_command(task, _place(data_dir))


@cache_app.command("ls")
def cache_ls(store: StoreUrl = None) -> None:
    """What the store holds."""
    from benchmark.commands.cache import ls_command

    ls_command(store)


@cache_app.command("verify")
def cache_verify(store: StoreUrl = None) -> None:
    """Read every shard and check its checksum; damaged ones are removed."""
    from benchmark.commands.cache import verify_command

    verify_command(store)


@cache_app.command("prune")
def cache_prune(
    older_than: Annotated[float | None, typer.Option(min=0, help="days since last use")] = None,
    encoder: Annotated[str | None, typer.Option(help="only this encoder's")] = None,
    everything: Annotated[bool, typer.Option("--all", help="the whole store")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would go, remove nothing")
    ] = False,
    store: StoreUrl = None,
) -> None:
    """Remove leavings of killed runs, and what the options name."""
    from benchmark.commands.cache import prune_command

    prune_command(older_than, encoder, everything, dry_run, store)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[
        bool, typer.Option("--version", help="show the version", is_eager=True)
    ] = False,
) -> None:
    if version:
        from benchmark import __version__

        typer.echo(f"ssl-bench {__version__}")
        raise typer.Exit


def _add_commands() -> None:
    """Commands of the packages that offer some: a typer application per entry point."""
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group="ssl_bench.commands"), key=lambda point: point.name):
        try:
            offered = point.load()
        except Exception as error:  # a broken plug-in must not take the built-in ones with it
            typer.secho(f"the commands of {point.name!r} are left out: {error}", err=True)
            continue
        app.registered_commands += offered.registered_commands
        app.registered_groups += offered.registered_groups


def main() -> None:
    """Console entry point: an error of ours is one line on standard error and exit status 2."""
    import os

    try:
        _add_commands()
        app(standalone_mode=True)
    except SslBenchError as error:
        if os.environ.get("SSL_BENCH_DEBUG"):
            raise
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.secho("stopped; the same command goes on from here", fg="yellow", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)


if __name__ == "__main__":
    main()
