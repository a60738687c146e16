"""The README: every command in it runs, and its files work as they stand."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [
    line.partition("  #")[0].strip()
    for block in blocks("bash")
    for line in block.splitlines()
    if line.strip()
]


OTHERS = [
    c for c in COMMANDS if c.startswith("ssl-bench") and "--data-dir" not in c and "beeps" not in c
]
OWN_ENCODER = [c for c in OTHERS if "my_encoder" in c or "runs/" in c or " site " in c]
ANYTHING_ELSE = [c for c in OTHERS if c not in OWN_ENCODER]
SERVERS = [command for command in COMMANDS if command.startswith("ssl-bench serve")]


def serve(command: str, folder: Path) -> None:
    """Start a server of the README on a free port, ask it whether it is ready, and stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": "", "SSL_BENCH_SITE_PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark.cli", *command.split()[1:]], cwd=folder, env=environment
    )
    try:
        for _ in range(300):
            assert process.poll() is None, command
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
                    assert json.load(answer)["ready"]
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/encoders/mfcc") as page:
                    assert b"Task by task" in page.read()
                break
            time.sleep(0.1)
        else:
            pytest.fail(f"{command} does not answer")
    finally:
        process.terminate()
    assert process.wait(20) in (0, -15)


def run(command: str, folder: Path, **environment: str) -> str:
    """Run one `ssl-bench ...` line of the README in `folder`; returns what it printed."""
    words = command.split()
    assert words[0] == "ssl-bench"
    done = subprocess.run(
        [sys.executable, "-m", "benchmark.cli", *words[1:]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", **environment},  # without the tests' plug-in
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_the_two_commands_are_what_ci_runs() -> None:
    makes = {command for command in COMMANDS if command.startswith("make")}
    assert makes == {"make eval", "make test"}
    ci = (ROOT / ".ci/run").read_text()
    assert all(command in ci for command in makes)
    for target in ("eval", "test", "test-long", "bench", "lint", "serve"):
        assert subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True).returncode == 0


def test_every_command_is_run_by_a_test() -> None:
    makes = [command for command in COMMANDS if command.startswith("make")]
    beeps = [command for command in COMMANDS if "beeps" in command]
    public = [
        command for command in COMMANDS if "--data-dir data" in command and "beeps" not in command
    ]
    assert len(makes + beeps + public + OWN_ENCODER + ANYTHING_ELSE) == len(COMMANDS)
    assert len(OWN_ENCODER) >= 8
    assert len(ANYTHING_ELSE) >= 10


@pytest.mark.long
@pytest.mark.timeout(900)
def test_an_encoder_of_ones_own_is_checked_scored_compared_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For someone who has only read the README, and saved its file."""
    (encoder,) = [block for block in blocks("python") if "class MyEncoder" in block]
    (tmp_path / "my_encoder.py").write_text(encoder)
    monkeypatch.setenv("SSL_BENCH_SITE_HOME", str(tmp_path / "site"))
    printed = {c: run(c, tmp_path) for c in OWN_ENCODER if c not in SERVERS}
    check = printed["ssl-bench check my_encoder.py"]
    assert "ready" in check
    assert "FAIL" not in check
    mine = printed["ssl-bench eval --model my_encoder.py:MyEncoder --task all --out runs/mine"]
    assert "MyEncoder" in mine
    assert "on percussion-onsets/linear-probe: the encoder gives no frames" in mine
    assert "oneshot-family" in printed["ssl-bench compare runs/mine runs/mfcc"]
    assert (tmp_path / "runs/mine/report.html").stat().st_size > 10_000
    for command in SERVERS:
        serve(command, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_other_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_BENCH_SITE_HOME", str(tmp_path / "site"))
    for command in ANYTHING_ELSE:
        run(command, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_dataset_example_works_as_it_stands(tmp_path: Path) -> None:
    """In a copy of the tasks and cards, over a data folder in the layout that the example reads."""
    for folder in ("tasks", "data_cards"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    (card,) = blocks("markdown")
    (tmp_path / "data_cards/beeps.md").write_text(card)
    (source,) = [block for block in blocks("python") if "class Beeps" in block]
    assert len(source.splitlines()) <= 60
    (tmp_path / "tasks/audio/beeps.py").write_text(source)
    audio = tmp_path / "data/beeps/audio"
    audio.mkdir(parents=True)
    rows = ["file,label,speaker,split"]
    for index in range(64):
        rng = np.random.default_rng(index)
        label = ("low", "high")[index % 2]
        pitch = {"low": 300, "high": 900}[label] + rng.normal(0, 20)
        wave = np.sin(np.arange(4000) * 2 * np.pi * pitch / 8000) + rng.normal(0, 0.3, 4000)
        soundfile.write(audio / f"{index}.wav", 0.2 * wave, 8000)
        split = ("train", "train", "validation", "test")[index // 16]
        rows.append(f"{index}.wav,{label},s{index // 2},{split}")
    (audio.parent / "meta.csv").write_text("\n".join(rows))
    path = str(tmp_path)
    commands = [command for command in COMMANDS if "beeps" in command]
    assert len(commands) == 2
    for command in commands:
        printed = run(command, tmp_path, PYTHONPATH=path)
    assert "beeps" in printed
    shutil.rmtree(audio)
    missing = subprocess.run(
        [sys.executable, "-m", "benchmark.cli", *commands[1].split()[1:], "--fresh"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert missing.returncode == 1
    assert "beeps lacks audio/*.wav; `ssl-bench data fetch beeps`" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_links_and_paths_of_the_readme_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    for path in re.findall(
        r"`((?:benchmark|tasks|baselines|tests|data_cards|leaderboard)/[\w./]*)`", README
    ):
        if "beeps" not in path and "<" not in path:
            assert (ROOT / path).exists(), path


def test_every_public_dataset_is_in_the_table() -> None:
    from benchmark.catalog import task_cards

    section = README[README.index("## Public datasets") : README.index("## Look around")]
    lacking = [c.name for c in task_cards() if "core" in c.suites and f"`{c.name}`" not in section]
    assert not lacking


@pytest.mark.long
@pytest.mark.shared_data
@pytest.mark.timeout(600)
def test_the_commands_for_public_datasets_run_where_the_data_are(
    shared_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").symlink_to(shared_data)
    commands = [c for c in COMMANDS if "--data-dir data" in c and "beeps" not in c]
    assert len(commands) == 4
    printed = {command: run(command, tmp_path) for command in commands}
    assert "is there" in printed["ssl-bench data fetch ludb --data-dir data"]
    assert "usgra-seg" in printed["ssl-bench data status --data-dir data"]
    assert "FAIL" not in printed["ssl-bench data check ludb --data-dir data"]
