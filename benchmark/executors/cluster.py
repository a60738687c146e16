"""Connecting to a Ray cluster, or starting one on this machine for the length of a run."""

from __future__ import annotations

import importlib.util
import io
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

from benchmark.errors import SslBenchError
from benchmark.executors.threads import THREAD_VARIABLES
from benchmark.paths import cache_root

OBJECT_STORE = 128 << 20  # bytes on a cluster of our own: only answers pass through it
CONNECT_SECONDS = 5.0
NOT_THERE = (
    "--executor ray needs Ray, which is not installed: pip install 'ssl-bench[ray]' "
    "(the default, --executor local, does without)"
)


@dataclass(frozen=True)
class Cluster:
    """The cluster that this process is connected to."""

    address: str  # "local": of our own

    def nodes(self) -> list[Mapping[str, float]]:
        """Resources of every node that is alive."""
        import ray

        return [node["Resources"] for node in ray.nodes() if node["Alive"]]

    @property
    def device(self) -> str:
        """What `--device auto` means there."""
        return "cuda" if any(node.get("GPU", 0) >= 1 for node in self.nodes()) else "cpu"

    def __str__(self) -> str:
        nodes = self.nodes()
        total = {name: sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU")}
        amount = ", ".join(f"{value:g} {name}" for name, value in total.items() if value)
        return f"{len(nodes)} node{'s' * (len(nodes) != 1)} with {amount}"


def require_ray() -> None:
    """See that Ray is there without importing it.

    Raises:
        SslBenchError: it is not installed; says how to install it.
    """
    if importlib.util.find_spec("ray") is None:
        raise SslBenchError(NOT_THERE)


@contextmanager
def connect(address: str | None, cpus: int | None = None) -> Iterator[Cluster]:
    """Connect for the length of the block.

    `address` is `auto` (the cluster of this machine), HOST:PORT, ray://HOST:PORT, or None: that of
    RAY_ADDRESS, which `ray job submit` sets, else a cluster on this machine alone, with `cpus`
    CPUs (default: those this process may use), which is gone afterwards.

    Raises:
        SslBenchError: Ray is not installed, or there is no cluster at the address.
    """
    require_ray()
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {
        "log_to_driver": False,  # workers' warnings come with their answers
        "logging_level": "ERROR",
    }
    if address == "local":
        # as the local executor's processes, workers do not stand back behind other programs
        os.environ.setdefault("RAY_worker_niceness", "0")
        options |= {
            "include_dashboard": False,
            "num_cpus": cpus or len(os.sched_getaffinity(0)),
            "object_store_memory": OBJECT_STORE,
        }
    else:
        _knock(address)
    import ray

    with _quiet():
        try:
            ray.init(address=address, **options)
        except Exception as error:
            raise SslBenchError(_unreachable(address, str(error))) from None
        try:
            yield Cluster(address)
        finally:
            ray.shutdown()


def worker_environment(threads: int, own_cache: bool = False) -> dict[str, str]:
    """Variables of worker processes: libraries read the number of threads when they are loaded.
    Where nodes may have caches of their own, only one that was named is passed on."""
    ours = {name: value for name, value in os.environ.items() if name.startswith("SSL_BENCH_")}
    ours |= {name: os.environ[name] for name in ("HF_HUB_OFFLINE", "HF_HOME") if name in os.environ}
    if not own_cache or "SSL_BENCH_CACHE" in ours:
        ours["SSL_BENCH_CACHE"] = str(cache_root().absolute())
    return {**ours, **dict.fromkeys(THREAD_VARIABLES, str(threads))}


def _knock(address: str) -> None:
    """See that something listens at HOST:PORT: Ray itself would end this process if not."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # auto, local, or what Ray will complain about
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise SslBenchError(_unreachable(address, f"nothing answers there: {error}")) from None


def _unreachable(address: str, reason: str) -> str:
    reason = " ".join(reason.split()).rstrip(".")[:300]
    if address == "local":
        return f"Ray cannot be started on this machine: {reason}"
    remedy = (
        "see `ray status` there; the address is HOST:6379, ray://HOST:10001 or auto, and where the "
        "cluster asks for a token, RAY_AUTH_MODE=token shows yours"
    )
    if address == "auto":
        remedy = "start one with `ray start --head`, or leave --address out: the run starts its own"
    if "ray[client]" in reason:
        reason, remedy = "Ray's client is not installed", "pip install 'ray[client]'"
    return f"--address {address}: no Ray cluster can be reached ({reason}): {remedy}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray prints what befalls its processes to standard output, where `--json` has its results;
    what matters of it is told by the run itself."""
    if os.environ.get("SSL_BENCH_DEBUG"):
        with redirect_stdout(sys.stderr):
            yield
        return
    with redirect_stdout(_Nowhere()):
        yield


class _Nowhere(io.StringIO):
    def write(self, text: str) -> int:
        return len(text)
