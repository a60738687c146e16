"""The command line as a user meets it: in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import run, start

from benchmark.commands.browse import show_card


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["list", "tasks"], ["show", "mock-pitch"]]
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; sys.argv = ['ssl-bench', *sys.argv[1:]]\n"
        "from benchmark.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'datasets', 'sklearn', 'scipy', 'pandas', 'numpy', 'matplotlib'}\n"
        "heavy |= {'fastapi', 'sqlalchemy', 'dbos', 'plotly'}\n"
        "loaded = heavy & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_looking_at_data_and_planning_need_no_torch() -> None:
    code = (
        "import sys, benchmark.commands.data, benchmark.commands.evaluate, benchmark.datacheck\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_engine_is_light() -> None:
    code = "import sys, benchmark; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_eval_prints_a_table_writes_results_and_reuses_them(tmp_path: Path) -> None:
    command = ["eval", "-m", "mock-spectrum", "-m", "mock-net", "-m", "mock-colours"]
    command += ["--suite", "mock"]
    first = run(*command, "--workers", "2", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    for text in ("mock-pitch", "linear-probe", "Histopath.", "1 lacking", "simulated"):
        assert text in first.stdout
    assert (
        "skipped mock-net on mock-onsets/linear-probe: the encoder gives no frames" in first.stderr
    )
    assert "11 results in runs/mock/results" in first.stderr
    files = sorted((tmp_path / "runs/mock/results").glob("*.json"))
    assert len(files) == 11
    before = {path.name: path.read_bytes() for path in files}
    again = run(*command, "--workers", "2", "--out", "elsewhere", cwd=tmp_path)
    assert "11 results (11 known from earlier runs) in elsewhere/results" in again.stderr
    after = {p.name: p.read_bytes() for p in (tmp_path / "elsewhere/results").glob("*.json")}
    assert before == after
    fresh = run(*command, "--workers", "2", "--fresh", "--out", "fresh", cwd=tmp_path)
    assert "11 results in fresh/results" in fresh.stderr
    for path in (tmp_path / "fresh/results").glob("*.json"):
        assert path.read_bytes().split(b'"cost"')[0] == before[path.name].split(b'"cost"')[0]


def test_eval_json_is_json_and_nothing_else(tmp_path: Path) -> None:
    done = run("eval", "-m", "mock-spectrum", "-t", "mock-pitch", "--json", "--out", str(tmp_path))
    results = json.loads(done.stdout)
    assert [r["protocol"]["name"] for r in results] == ["knn", "linear-probe"]
    assert all(r["metrics"]["accuracy"]["value"] > 0.5 for r in results)


@pytest.mark.long
def test_task_all_says_what_it_skipped_and_why(tmp_path: Path) -> None:
    command = ["eval", "-m", "mock-colours", "-t", "mock-pitch", "-t", "mock-slides"]
    done = run(*command, "--out", str(tmp_path))
    assert "skipped mock-colours on mock-pitch: audio task, histopathology encoder" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval", "-m", "mock-spectrun"], "Did you mean 'mock-spectrum'?"),
        (["eval", "-m", "mock-spectrum", "-t", "mock-pich"], "Did you mean 'mock-pitch'?"),
        (["eval", "-m", "mock-spectrum", "--suite", "moc"], "Did you mean 'mock'?"),
        (["eval", "-m", "mock-spectrum", "-p", "linear"], "Did you mean 'linear-probe'?"),
        (["eval", "-m", "mock-spectrum", "-t", "echo"], "no encoder named meets a task"),
        (["eval", "-m", "mock-spectrum", "--device", "cuda:9"], "--device cuda:9 cannot be used"),
        (["eval", "-m", "mock-spectrum", "--precision", "int4"], "'int4' is not one of float32"),
        (["eval", "-m", "all", "--init", "random"], "go with one encoder"),
        (["eval", "-m", "x.py:A"], "there is no file x.py"),
        (["eval", "-m", "mock-net", "--input", "{"], "--input is not JSON"),
        (["show", "mock-nett"], "Did you mean 'mock-net'?"),
        (["list", "task"], "Did you mean 'tasks'?"),
        (["compare", "nowhere"], "nowhere holds no results"),
        (["report", "nowhere"], "nowhere holds no results"),
        (["check", "mock-pretrained"], "needs its weights"),
        (["data", "check", "mock-pich"], "Did you mean 'mock-pitch'?"),
        (["cache", "prune", "--all", "--encoder", "x"], "--all removes everything"),
    ],
)
def test_bad_input_gets_one_line_and_status_two(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


ONE = ["--workers", "1"]  # process


@pytest.mark.long
def test_an_encoder_that_fails_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import torch\nclass Bad(torch.nn.Module):\n    modality = 'audio'\n    input = {}\n"
        "    def forward(self, waveform, lengths):\n        return waveform[:, 0]\n"
    )
    command = ["eval", "-m", str(bad), "-m", "mock-spectrum", "-t", "mock-pitch"]
    done = run(*command, "--workers", "2", cwd=tmp_path)
    assert done.returncode == 1
    assert "failed" in done.stderr
    assert "it should be (B, D)" in done.stderr
    assert "2 results" in done.stderr


@pytest.mark.long
def test_an_unforeseen_exception_is_one_line_of_its_encoder(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import torch\nclass Bad(torch.nn.Module):\n    modality = 'audio'\n    input = {}\n"
        "    def forward(self, waveform, lengths):\n"
        "        return torch.empty(len(waveform), 4, device='meta')\n"
    )
    command = ["eval", "-m", f"{bad}:Bad", "-m", "mock-spectrum", "-t", "mock-pitch"]
    done = run(*command, *ONE, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "2 results" in done.stderr


@pytest.mark.long
def test_list_options_and_unusable_places(tmp_path: Path) -> None:
    options = ["--input", '{"leads": ["I"]}']
    done = run("eval", "-m", "ecg-features", "-t", "mock-pitch", *options, cwd=tmp_path)
    assert "no encoder named meets a task" in done.stderr  # not a traceback about lists
    (tmp_path / "file").write_text("")
    out = run("eval", "-m", "mock-net", "-t", "mock-pitch", "--out", "file", cwd=tmp_path)
    assert out.returncode == 2
    assert "choose another --out" in out.stderr
    place = str(tmp_path / "file")
    cache = run("eval", "-m", "mock-net", "-t", "mock-pitch", cwd=tmp_path, SSL_BENCH_CACHE=place)
    assert cache.returncode == 1
    assert "set SSL_BENCH_CACHE" in cache.stderr
    assert "Traceback" not in out.stderr + cache.stderr


@pytest.mark.long
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_or_a_scheduler_keeps_what_was_done(
    number: signal.Signals, status: int, tmp_path: Path, own_cache: Path
) -> None:
    slow = {"MOCK_SECONDS": "0.3"}  # it must not end before it is stopped
    process = start("eval", "-m", "mock-slow", "-t", "mock-many", cwd=tmp_path, **slow)
    while not list(own_cache.glob("embeddings/*/*/*.safetensors")) and process.running:
        time.sleep(0.02)
    process.send_signal(number)
    done = process.wait()
    assert done.returncode == status
    assert "the same command goes on from there" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_compare_report_and_cache_on_a_run(tmp_path: Path) -> None:
    command = ["eval", *ONE, "-m", "mock-net", "-t", "mock-pitch"]
    run(*command, "-m", "mock-spectrum", "--out", "a", cwd=tmp_path)
    run(*command, "--seed", "1", "--out", "b", cwd=tmp_path)
    rows = json.loads(run("compare", "a", "--json", cwd=tmp_path).stdout)
    assert {(r["a"], r["b"], r["protocol"]) for r in rows} == {
        ("mock-net", "mock-spectrum", "knn"),
        ("mock-net", "mock-spectrum", "linear-probe"),
    }
    for row in rows:
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["difference"] == pytest.approx(row["value_a"] - row["value_b"])
    other = run("compare", "a", "b", cwd=tmp_path)
    assert other.returncode == 2
    assert "other versions, data or seeds" in other.stderr
    page = run("report", "a", cwd=tmp_path)
    assert page.returncode == 0
    html = (tmp_path / "a/report.html").read_text()
    assert "mock-spectrum" in html
    assert "src=" not in html  # self-contained
    assert run("cache", "verify").returncode == 0
    assert "mock-spectrum" in run("cache", "ls").stdout
    assert "removed" in run("cache", "prune", "--all").stdout
    assert "0 entries" in run("cache", "ls").stdout


@pytest.mark.long
def test_a_damaged_shard_is_told_and_the_score_stays(tmp_path: Path, own_cache: Path) -> None:
    command = ["eval", "-m", "mock-spectrum", "-t", "mock-pitch", "--out"]
    run(*command, "a", cwd=tmp_path)
    (own_cache / "results").rename(own_cache / "hidden")
    shard = next(own_cache.glob("embeddings/*/*/00000.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    shard.write_bytes(content)
    done = run(*command, "b", cwd=tmp_path)
    told = " ".join(done.stderr.split())  # the terminal breaks long lines
    assert "is damaged (its checksum is wrong); it is computed again" in told
    for path in (tmp_path / "a/results").glob("*.json"):
        other = tmp_path / "b/results" / path.name
        assert path.read_text().partition('"cost"')[0] == other.read_text().partition('"cost"')[0]


@pytest.mark.long
def test_data_commands(tmp_path: Path) -> None:
    done = run("data", "check", "mock-pitch", "mock-slides")
    assert done.returncode == 0
    assert "no group is in two splits" in done.stdout
    status = run("data", "status")
    assert "mock-pitch" in status.stdout
    assert "simulated" in status.stdout


def test_version() -> None:
    assert run("--version").stdout.startswith("ssl-bench ")


@pytest.mark.long
@pytest.mark.parametrize("model", ["mert", "ssast"])
def test_missing_weights_are_said_before_any_work(model: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmark.cli", "eval", "-m", model, "-t", "oneshot-family"],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--checkpoint FILE" in done.stderr
    assert "https://" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.long
def test_show_tells_all_that_the_card_knows(capsys: pytest.CaptureFixture[str]) -> None:
    def shown(name: str) -> str:
        show_card(name)
        return " ".join(capsys.readouterr().out.split())

    card = shown("phikon-v2")
    for fact in ("303,350,784", "size 224", "1024", "tcga, cptac, gtex", "MHIST"):
        assert fact in card
    assert "the first download pins" in shown("astrom3")
    assert "commit 12af15fef9d0ac838c3f475bfbbf26d2060dd4f5" in shown("mert")


def test_an_untrained_encoder_has_seen_nothing(tmp_path: Path) -> None:
    command = ["eval", "-m", "mock-pretrained", "--init", "random", "-t", "mock-pitch", "-p", "knn"]
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.rglob("results/*.json")
    encoder = json.loads(path.read_text())["encoder"]
    assert (encoder["weights"], encoder["seen_in_pretraining"]) == ("random", False)
    assert "seen in pretraining" not in done.stdout


@pytest.mark.long
def test_a_dataset_that_was_seen_in_pretraining_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "class Mine(torch.nn.Module):\n"
        "    modality, input = 'audio', dict(sample_rate=8000, seconds=1)\n"
        "    card = dict(pretraining_data=('mock-audio',), licence='none')\n"
        "    def forward(self, waveform, lengths):\n"
        "        spectrum = torch.fft.rfft(waveform, 512, dim=1).abs()\n"
        "        return spectrum[:, :64].log1p()\n"
    )
    command = ["eval", "-m", "mine.py:Mine", "-m", "mock-net", "-t", "mock-pitch", "-p", "knn"]
    done = run(*command, *ONE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = [json.loads(path.read_text()) for path in tmp_path.rglob("results/*.json")]
    seen = {
        result["encoder"]["name"]: result["encoder"]["seen_in_pretraining"] for result in results
    }
    assert seen == {"Mine": True, "mock-net": False}
    assert "seen in pretraining" in " ".join(done.stdout.split())


def test_a_failing_text_tower_costs_only_the_zero_shot_score(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "class Mine(torch.nn.Module):\n"
        "    modality, input = 'audio', dict(sample_rate=8000, seconds=1)\n"
        "    def forward(self, waveform, lengths):\n"
        "        return torch.fft.rfft(waveform, 512, dim=1).abs()[:, :64].log1p()\n"
        "    def encode_text(self, texts):\n"
        "        raise RuntimeError('no vocabulary')\n"
    )
    command = ["eval", "-m", "mine.py:Mine", "-t", "mock-pitch", "-p", "zero-shot", "-p", "knn"]
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 1
    assert "no vocabulary" in done.stderr
    assert "Traceback" not in done.stderr
    results = [json.loads(path.read_text()) for path in tmp_path.rglob("runs/*/results/*.json")]
    assert [result["protocol"]["name"] for result in results] == ["knn"]
