"""`ssl-bench login` and `ssl-bench submit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.cli import app, extra

Server = Annotated[
    str | None, typer.Option(envvar="SSL_BENCH_SERVER", help="address of the leaderboard")
]
Insecure = Annotated[
    bool, typer.Option("--insecure-http", help="send the token without https, to any address")
]


@app.command()
def login(
    server: Annotated[str, typer.Option(envvar="SSL_BENCH_SERVER", help="its address")],
    forget: Annotated[bool, typer.Option("--forget", help="delete the token kept here")] = False,
    insecure: Insecure = False,
) -> None:
    """Keep a token of a leaderboard, from its page Tokens; asked for, or read from a pipe."""
    with extra():
        from leaderboard.client.signing_in import login_command
    login_command(server, forget, insecure)


@app.command()
def submit(
    name: Annotated[str, typer.Option(help="as the leaderboard will show it")],
    checkpoint: Annotated[
        Path | None, typer.Option(help=".safetensors; .pt, .pth, .ckpt, .bin are converted here")
    ] = None,
    arch: Annotated[
        str, typer.Option(help="the checkpoint's architecture: a catalog name or timm:NAME")
    ] = "",
    onnx: Annotated[Path | None, typer.Option(help="an ONNX encoder instead")] = None,
    results: Annotated[
        Path | None, typer.Option(help="a run's folder instead: shown as self-reported")
    ] = None,
    server: Server = None,
    suite: Annotated[str, typer.Option()] = "starter",
    modality: Annotated[str | None, typer.Option(help="of timm: and ONNX encoders")] = None,
    input_options: Annotated[
        str | None, typer.Option("--input", help="input options of an ONNX encoder, as JSON")
    ] = None,
    description: Annotated[str, typer.Option()] = "",
    licence: Annotated[str, typer.Option(help="of the weights")] = "",
    paper: Annotated[str, typer.Option(help="a link, or words")] = "",
    pretraining: Annotated[str, typer.Option(help="in words")] = "",
    pretraining_data: Annotated[
        list[str] | None, typer.Option(help="a dataset seen in pretraining; several times")
    ] = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="evaluate on a GPU only")] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="follow it until it has ended")
    ] = True,
    insecure: Insecure = False,
) -> None:
    """Send an encoder, or results, to a leaderboard."""
    with extra():
        from leaderboard.client.submitting import Order, submit_command
    submit_command(
        Order(
            name=name,
            checkpoint=checkpoint,
            architecture=arch,
            onnx=onnx,
            results=results,
            suite=suite,
            modality=modality,
            input_options=input_options,
            description=description,
            licence=licence,
            paper=paper,
            pretraining=pretraining,
            pretraining_data=tuple(pretraining_data or ()),
            gpu=gpu,
        ),
        server,
        wait,
        insecure,
    )
