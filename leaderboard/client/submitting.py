"""`ssl-bench submit`: convert, send, follow."""

from __future__ import annotations

import json
import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from benchmark.errors import SslBenchError
from leaderboard.client.api import Client, Submission, Upload
from leaderboard.client.files import as_safetensors, results_bundle
from leaderboard.client.login_file import find_token

POLL = 2.0  # seconds


@dataclass(frozen=True)
class Order:
    """What is to be submitted, as the command line said it."""

    name: str
    checkpoint: Path | None
    architecture: str
    onnx: Path | None
    results: Path | None
    suite: str
    modality: str | None
    input_options: str | None
    description: str
    licence: str
    paper: str
    pretraining: str
    pretraining_data: tuple[str, ...]
    gpu: bool

    def check(self) -> str:
        """The kind of file.

        Raises:
            SslBenchError: none or several, or options that do not go with it.
        """
        given = [
            kind
            for kind, path in (
                ("checkpoint", self.checkpoint),
                ("onnx", self.onnx),
                ("results", self.results),
            )
            if path is not None
        ]
        if len(given) != 1:
            raise SslBenchError("give one of --checkpoint FILE, --onnx FILE, --results DIR")
        (kind,) = given
        if kind == "checkpoint" and not self.architecture:
            raise SslBenchError("--checkpoint needs --arch NAME: `ssl-bench list models`")
        if kind != "checkpoint" and self.architecture:
            raise SslBenchError(f"--arch goes with --checkpoint, not with --{kind}: leave it out")
        if kind != "onnx" and self.input_options:
            raise SslBenchError(f"--input goes with --onnx, not with --{kind}: leave it out")
        return kind

    def fields(self) -> dict[str, Any]:
        """What goes along with the file."""
        options = None
        if self.input_options is not None:
            try:
                options = json.loads(self.input_options)
            except ValueError as error:
                raise SslBenchError(f"--input is not JSON ({error})") from None
        return {
            "name": self.name,
            "architecture": self.architecture,
            "modality": self.modality,
            "input_options": options,
            "suite": self.suite,
            "description": self.description,
            "licence": self.licence,
            "paper": self.paper,
            "pretraining": self.pretraining,
            "pretraining_data": list(self.pretraining_data),
            "gpu": self.gpu,
        }


def submit_command(order: Order, server: str | None, wait: bool, insecure: bool) -> None:
    """Send a file and, unless told otherwise, follow it to its end.

    Raises:
        SslBenchError: what is wrong, on either side.
        typer.Exit: status 1, it ended without being evaluated.
    """
    kind, fields = order.check(), order.fields()
    url, token = find_token(server, insecure)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="ssl-bench-submit-") as folder:
        if order.checkpoint is not None:
            path = as_safetensors(order.checkpoint, Path(folder))
        elif order.results is not None:
            path = results_bundle(order.results, Path(folder))
        else:
            path = order.onnx or Path()
            if not path.is_file():
                raise SslBenchError(f"there is no file {path}: check the path given to --onnx")
        with Client(url, token) as client:
            upload = _send(client, path, kind, console)
            console.print(f"[dim]checking {escape(path.name)} on the server[/]", highlight=False)
            found = client.submit(upload, secrets.token_urlsafe(24), **fields)
            typer.echo(f"{url}/submissions/{found.id}")
            if not wait:
                return
            try:
                found = _follow(client, found, console)
            except KeyboardInterrupt:
                console.print(f"it goes on without you: {url}/submissions/{found.id}")
                raise
    if found.state != "done":
        typer.secho(f"{found.state}: {found.reason or 'no reason was given'}", fg="red", err=True)
        raise typer.Exit(1)
    where = f": {url}/encoders/{found.encoder}" if found.encoder else ""
    typer.echo(f"{found.name} is on the leaderboard{where}")


def _send(client: Client, path: Path, kind: str, console: Console) -> Upload:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(escape(path.name), total=path.stat().st_size)
        return client.upload(path, kind, lambda sent: bar.update(task, completed=sent))


def _follow(client: Client, found: Submission, console: Console) -> Submission:
    """Show what happens until it has ended."""
    told, seen = "", 0
    with console.status("waiting") as status:
        while True:
            for line in client.log(found.id, seen):
                seen = line.id
                colour = "red" if line.level == "error" else "dim"
                console.print(f"[{colour}]{escape(line.message)}[/]", highlight=False)
            if found.ended:
                return found
            now = _state(found)
            if now != told:
                status.update(escape(now))
                told = now
            time.sleep(POLL)
            found = client.submission(found.id)


def _state(found: Submission) -> str:
    if found.ahead is not None:
        return f"{found.state}, {found.ahead} ahead"
    running = [step for step in found.steps if step.state == "running"]
    doing = "".join(f": {step.task} / {step.protocol} {step.message}" for step in running[:1])
    return f"{found.state}, {found.done} of {found.total}{doing}"
