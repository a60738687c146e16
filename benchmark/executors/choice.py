"""The executor that the user chose, with the device, workers and threads that follow from it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from benchmark.errors import SslBenchError
from benchmark.events import Event, RunOptions, Tell
from benchmark.executors.device import choose_device, choose_precision, named_device
from benchmark.executors.local import default_workers, execute
from benchmark.plan import Plan
from benchmark.planning.machines import Machines
from benchmark.planning.throughput import Measurement, record

if TYPE_CHECKING:
    from benchmark.executors.cluster import Cluster

GPU_THREADS = 4  # of a worker on a cluster: to decode and collate while the GPU works


@dataclass(frozen=True)
class ExecutorRequest:
    """What was asked for; None: what suits the machines."""

    name: Literal["local", "ray"] = "local"
    address: str | None = None
    workers: int | None = None
    threads: int | None = None
    device: str = "auto"
    precision: str = "auto"


@dataclass(frozen=True)
class Executor:
    """Ready to carry out plans."""

    device: str
    precision: str
    threads: int  # of each worker
    workers: int | None  # at most; None on a cluster: as many as fit
    cluster: Cluster | None = None
    connecting: float = 0.0  # seconds that it took to connect

    def execute(self, plan: Plan, options: RunOptions, tell: Tell) -> None:
        """Run every unit of a plan; `tell` receives the events of all of them."""
        timed = _timed_start(tell, self)
        if self.cluster is None:
            execute(plan, options, timed, self.workers or 1)
            return
        from benchmark.executors.ray import execute_on

        execute_on(self.cluster, plan, options, timed, self.workers)

    def machines(self, plan: Plan) -> Machines:
        """What a run of the plan would have."""
        device, threads = self.device.partition(":")[0], self.threads
        if self.cluster is None:
            workers = min(self.workers or 1, max(1, len(plan.units)))
            return Machines(self.name, workers, threads, device)
        from benchmark.executors.ray import room

        workers, share = room(self.cluster, plan, self.device, threads, self.workers)
        return Machines(self.name, workers, threads, device, share)

    @property
    def name(self) -> str:
        return "local" if self.cluster is None else "ray"


def _timed_start(tell: Tell, executor: Executor) -> Tell:
    """Passes events on, and records when the first tells that a worker is at work."""
    begun, started = time.perf_counter(), False

    def told(event: Event) -> None:
        nonlocal started
        if not started and event.phase in ("prepare", "embed", "score"):
            started = True
            seconds = executor.connecting + time.perf_counter() - begun
            record(Measurement("start", round(seconds, 3), source=executor.name))
        tell(event)

    return told


@contextmanager
def chosen(request: ExecutorRequest) -> Iterator[Executor]:
    """The executor, connected for the length of the block.

    Raises:
        SslBenchError: a device that is not there, no Ray, no cluster at the address.
    """
    cores = len(os.sched_getaffinity(0))
    if request.name == "local":
        if request.address is not None:
            raise SslBenchError("--address goes with --executor ray")
        device = choose_device(request.device)
        workers = request.workers or default_workers(device)
        threads = request.threads or max(1, cores // workers)
        yield Executor(device, choose_precision(request.precision, device), threads, workers)
        return
    from benchmark.executors.cluster import connect

    asked = (request.workers or 1) * (request.threads or 1)
    begun = time.perf_counter()
    with connect(request.address, max(cores, asked)) as cluster:
        connecting = time.perf_counter() - begun
        # a worker sees the GPU that Ray gives it, and no other
        named = named_device(request.device) if request.device != "auto" else cluster.device
        device = named.partition(":")[0]
        threads = request.threads or (GPU_THREADS if device.startswith("cuda") else 1)
        precision = choose_precision(request.precision, device)
        yield Executor(device, precision, threads, request.workers, cluster, connecting)
