"""Every limit of the sandbox bites, in every mode that this machine has."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from leaderboard.evaluation import isolation
from leaderboard.evaluation import sandbox as sandbox_module
from leaderboard.evaluation.limits import Job, Limits
from leaderboard.evaluation.sandbox import Sandbox, StepError, StoppedError

SMALL = Limits(
    memory_bytes=1 << 30, cpu_seconds=20, wall_seconds=20, processes=40, output_bytes=1 << 20
)


@pytest.fixture(params=["namespaces", "landlock"])
def mode(request: pytest.FixtureRequest) -> bool:
    why = _refused(request.param)
    if why:
        pytest.skip(f"this machine does not allow {request.param} ({why})")
    return bool(request.param == "namespaces")


@cache
def _refused(mode: str) -> str:
    """Why a way to isolate is not to be had, found out by a process that tries it."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            job = Job({}, private="/tmp")
            why = isolation.namespaces(job) if mode == "namespaces" else isolation.own_files(job)
            os.write(writer, why.encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.wait()
    with os.fdopen(reader) as answer:
        return answer.read()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A place for the folders of these steps alone, and a name by which their processes are told
    from those of tests that run at the same time. Every user may pass through it."""
    tmp_path_factory.getbasetemp()  # made before the place for temporary files changes
    folder = Path(tempfile.mkdtemp(prefix="ssl-bench-sandbox-"))
    folder.chmod(0o711)
    (folder / "zygote.py").symlink_to(sandbox_module.ZYGOTE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        patch.setattr(sandbox_module, "ZYGOTE", folder / "zygote.py")
        yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def sandbox(own: Path) -> Iterator[Sandbox]:
    found = Sandbox(preload=("ssl_bench_hostile",))
    yield found
    found.close()


@pytest.fixture
def attempt(mode: bool, sandbox: Sandbox) -> Any:
    def run(name: str, arguments: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        extra = {key: fields.pop(key) for key in ("tell", "stop") if key in fields}
        job = Job(arguments or {}, f"ssl_bench_hostile:{name}", namespaces=mode, limits=SMALL)
        return sandbox.run(replace(job, **fields), **extra)

    return run


def with_limits(**limits: Any) -> Limits:
    return replace(SMALL, **limits)


def folders_of_steps() -> set[str]:
    folder = tempfile.gettempdir()
    return {name for name in os.listdir(folder) if name.startswith("ssl-bench-step-")}


def test_sees_neither_environment_nor_files_of_others(
    attempt: Any, mode: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    tmp_path.chmod(0o755)
    own, other = tmp_path / "model.safetensors", tmp_path / "other.safetensors"
    for path in (own, other):
        path.write_text(path.name)
        path.chmod(0o644)
    environ = f"/proc/{os.getpid()}/environ"
    files = [str(other), environ, "/etc/shadow", "/etc/passwd", "/root/.bashrc"]
    found = attempt("look", {"of": files, "in": [str(tmp_path)]}, read_only=((str(own), "/model"),))
    assert "hunter2" not in str(found)
    assert set(found["environment"]) <= {
        *("HOME", "TMPDIR", "LANG", "HF_HUB_OFFLINE", "HF_HOME", "MPLCONFIGDIR"),
        *("SSL_BENCH_CACHE", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
        *("MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "TORCHINDUCTOR_CACHE_DIR"),
    }
    assert found["own"] == {"got": "model.safetensors"}
    assert "refused" in found["write_own"]
    assert all("refused" in result for result in found["files"].values()), found["files"]
    assert all("refused" in result for result in found["folders"].values())
    if os.getuid() == 0:
        assert found["uid"] >= 10_000_000
    assert own.read_text() == "model.safetensors"
    if mode:
        assert "NoNewPrivs:\t1" in found["privileges"]
        assert "CapEff:\t0000000000000000" in found["privileges"]


def test_what_is_hidden_is_not_seen_inside_a_folder_of_code(attempt: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "state").mkdir(mode=0o755)
    secret = tmp_path / "state" / "key.pem"
    for path in (secret, tmp_path / "leaderboard.sqlite", tmp_path / "code.py"):
        path.write_text("text")
        path.chmod(0o644)
    files = [secret, tmp_path / "leaderboard.sqlite", tmp_path / "code.py"]
    found = attempt(
        "look",
        {"of": [str(path) for path in files]},
        prefixes=(sys.prefix, sys.base_prefix, str(tmp_path)),
        hidden=(str(tmp_path / "state"), str(tmp_path / "leaderboard.sqlite")),
    )["files"]
    assert found[str(files[2])] == {"got": "text"}
    assert found[str(files[0])].get("got") is None
    assert not found[str(files[1])].get("got")


def test_memory(attempt: Any) -> None:
    assert attempt("allocate", {"bytes": 100 << 20}) | {"phase": "end"} == {
        "phase": "end",
        "bytes": 100 << 20,
    }
    with pytest.raises(StepError, match="more than the 1 GiB of memory") as caught:
        attempt("allocate", {"bytes": 2 << 30})
    assert caught.value.final


@pytest.mark.parametrize("kind", ["fork", "thread"])
def test_processes(attempt: Any, kind: str) -> None:
    before = _sleeping()
    found = attempt(kind, {"times": 200}, limits=with_limits(memory_bytes=8 << 30))
    assert found["refused"]
    assert 0 < found[f"{kind}s"] <= 40
    _wait(lambda: _sleeping() <= before)  # nothing outlives the step


def _sleeping() -> int:
    """Processes of these steps, apart from the one that they are forked from: our own child."""
    count, zygote = 0, str(sandbox_module.ZYGOTE)
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = int(_read(f"/proc/{name}/stat").rpartition(")")[2].split()[1])
            count += parent != os.getpid() and zygote in _read(f"/proc/{name}/cmdline")
        except OSError:
            continue
    return count


def _read(path: str) -> str:
    return Path(path).read_text()


def test_processor_time(attempt: Any) -> None:
    with pytest.raises(StepError, match="processor time"):
        attempt("spin", limits=with_limits(cpu_seconds=1))


def test_wall_clock_and_everything_it_started(attempt: Any) -> None:
    before, folders = _sleeping(), folders_of_steps()
    with pytest.raises(StepError, match="took longer than") as caught:
        attempt("sleep", {"seconds": 60, "fork": True}, limits=with_limits(wall_seconds=1.5))
    assert not caught.value.final
    _wait(lambda: _sleeping() <= before)
    assert folders_of_steps() <= folders


def test_size_of_a_file_and_of_all_files(attempt: Any) -> None:
    with pytest.raises(StepError, match="a file larger than 4 MiB"):
        attempt("write", {"files": 1, "mib": 8}, limits=with_limits(file_bytes=4 << 20))
    limits = with_limits(file_bytes=4 << 20, disk_bytes=6 << 20)
    with pytest.raises(StepError, match="wrote more than 6 MiB"):
        attempt("write", {"files": 4, "mib": 3, "then": 15}, limits=limits)


def test_no_network(attempt: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = f"{tmp_path}/server.sock"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind(path)
        os.chmod(path, 0o777)
        local.listen()
        found = attempt("network", {"port": server.getsockname()[1], "path": path})
    assert "refused" in found["tcp"]
    assert "refused" in found["unix"]


def test_no_way_out(attempt: Any) -> None:
    found = attempt("escape", {"parent": os.getpid()})
    refused = {key: value for key, value in found.items() if key != "phase"}
    assert all("refused" in value for value in refused.values()), refused


def test_output_is_bounded_and_checked(attempt: Any) -> None:
    with pytest.raises(StepError, match="sent more than 1 MiB"):
        attempt("babble")
    with pytest.raises(StepError, match="no message"):
        attempt("nonsense")
    assert attempt("prints")["honest"]


def test_a_crash_is_told_in_words(attempt: Any) -> None:
    with pytest.raises(StepError, match="crashed") as caught:
        attempt("crash", {"signal": int(signal.SIGSEGV)})
    assert not caught.value.final
    with pytest.raises(StepError, match="ended without a result") as caught:
        attempt("crash", {"signal": 0})
    assert "still here" in caught.value.detail


def test_stopped_from_outside(attempt: Any) -> None:
    asleep = threading.Event()
    begun = time.monotonic()
    with pytest.raises(StoppedError):
        attempt("sleep", {"seconds": 60}, tell=lambda m: asleep.set(), stop=asleep.is_set)
    assert time.monotonic() - begun < 15


def test_dies_with_the_worker(mode: bool, own: Path, tmp_path: Path) -> None:
    """A worker that is killed leaves no step behind that would go on beside its successor."""
    code = (
        "import sys, json, pathlib; sys.path[:] = json.loads(sys.argv[1])\n"
        "from leaderboard.evaluation import sandbox\n"
        "from leaderboard.evaluation.limits import Job\n"
        "sandbox.ZYGOTE = pathlib.Path(sys.argv[3])\n"
        "job = Job({'seconds': 60, 'fork': True}, 'ssl_bench_hostile:sleep',"
        " namespaces=sys.argv[2] == 'True')\n"
        "sandbox.Sandbox(preload=()).run(job, tell=lambda m: print('asleep', flush=True))"
    )
    import json

    before = _sleeping()
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    tmp_path.chmod(0o755)
    zygote = str(own / "zygote.py")
    arguments = [sys.executable, "-c", code, json.dumps(sys.path), str(mode), zygote]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"asleep\n"
        worker.kill()
    _wait(lambda: _sleeping() <= before)


def _wait(condition: Any, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def nothing_left(own: Path) -> Iterator[None]:
    before = folders_of_steps()
    yield
    assert folders_of_steps() <= before


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up the rights of root")
def test_root_that_may_not_change_its_user_starts_nothing(tmp_path: Path) -> None:
    without = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]
    command = ["worker", "--once", "--home", str(tmp_path / "site")]
    found = subprocess.run(
        [*without, sys.executable, "-m", "benchmark.cli", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode != 0
    assert "must not run as root" in found.stderr
    assert "Traceback" not in found.stderr
