"""Choosing an executor: what is wrong is said in one line; `local` knows nothing of Ray."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run

from benchmark.errors import SslBenchError
from benchmark.executors.choice import ExecutorRequest, chosen
from benchmark.executors.cluster import connect, worker_environment
from benchmark.executors.device import choose_precision, named_device


def test_the_local_executor_does_not_import_ray() -> None:
    code = (
        "import sys, benchmark.commands.evaluate\n"
        "from benchmark.executors.choice import ExecutorRequest, chosen\n"
        "with chosen(ExecutorRequest(device='cpu')) as executor: pass\n"
        "assert 'ray' not in sys.modules and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_workers_and_threads_of_the_local_executor() -> None:
    with chosen(ExecutorRequest(workers=1, threads=3, device="cpu")) as executor:
        assert (executor.workers, executor.threads, executor.precision) == (1, 3, "float32")
    with (
        pytest.raises(SslBenchError, match="--address goes with --executor ray"),
        chosen(ExecutorRequest(address="auto")),
    ):
        pass


def test_without_ray_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(SslBenchError, match=r"pip install 'ssl-bench\[ray\]'"),
        chosen(ExecutorRequest("ray")),
    ):
        pass


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "nothing answers there"),
        ("ray://127.0.0.1:1", "nothing answers there"),
        ("nowhere", "HOST:6379"),
    ],
)
def test_a_bad_address_is_one_clear_error(address: str, said: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(SslBenchError, match=said) as error, connect(address):
        pass
    assert str(error.value).startswith(f"--address {address}: no Ray cluster can be reached")


@pytest.mark.long
def test_the_command_line_ends_with_status_two(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    command = ["eval", "-m", "mock-net", "-t", "mock-pitch", "--executor", "ray"]
    done = run(*command, "--address", "127.0.0.1:1", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_workers_have_the_threads_and_places_of_the_run(own_cache: Path) -> None:
    variables = worker_environment(3)
    assert variables["OMP_NUM_THREADS"] == variables["OPENBLAS_NUM_THREADS"] == "3"
    assert variables["SSL_BENCH_CACHE"] == str(own_cache)


def test_devices_and_precisions() -> None:
    assert named_device("cuda:3") == "cuda:3"
    assert choose_precision("auto", "cuda") == "bfloat16"
    with pytest.raises(SslBenchError, match="--device 'gpu'"):
        named_device("gpu")
    with pytest.raises(SslBenchError, match="--precision 'half'"):
        choose_precision("half", "cpu")
