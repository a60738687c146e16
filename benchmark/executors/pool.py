"""Worker actors on a Ray cluster: as many as there is work and room for, replaced when lost."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from benchmark.errors import SslBenchError
from benchmark.events import RunOptions
from benchmark.executors.cluster import Cluster, worker_environment
from benchmark.executors.jobs import Answer, Job
from benchmark.executors.resources import Shape, no_room
from benchmark.executors.site import Site
from benchmark.executors.worker import Worker
from benchmark.plan import EncoderRef

log = logging.getLogger("ssl_bench")
LOOK_SECONDS = 1.0  # between looks at the cluster's nodes
IDLE_SECONDS = 30.0  # before a worker that is not needed gives back what it holds
PATIENCE_SECONDS = 300.0  # without a single worker, before the run gives up
STARTING_SECONDS = 3600.0  # the same, where an autoscaler may have to start the first machine
MAX_FAILED_STARTS = 20  # in a row


@dataclass
class Member:
    """One worker actor."""

    actor: Any
    ready: bool = False
    job: Job | None = None
    held: EncoderRef | None = None
    since: float = 0.0  # idle since


@dataclass(frozen=True)
class Done:
    job: Job
    answer: Answer


@dataclass(frozen=True)
class Lost:
    job: Job
    reason: str
    crashed: bool  # the worker itself, not its node


class Pool:
    """The workers of one shape. Each has one job at a time, so that no more jobs are under way on
    the cluster than there are workers, however many wait."""

    def __init__(
        self, cluster: Cluster, shape: Shape, options: RunOptions, site: Site, most: int | None
    ) -> None:
        self.cluster, self.shape, self.most = cluster, shape, most
        self._failed_starts, self._why = 0, ""
        self._arguments, self._site = (options, site), site
        self._members: dict[Any, Member] = {}  # by what is awaited of it: hello, or an answer
        self._idle: list[Member] = []
        self._looked = 0.0
        self._room = 0
        self._alone_since = time.monotonic()
        self._had_workers = False
        self._told = False  # that machines are waited for

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for member in [*self._members.values(), *self._idle]:
            ray.kill(member.actor)

    @property
    def size(self) -> int:
        """Workers, also those that are starting."""
        return len(self._members) + len(self._idle)

    def adjust(self, parallel: int) -> None:
        """Start or let go workers, so that there are as many as jobs that can run in `parallel`,
        and room.

        Raises:
            SslBenchError: no node has room for even one, or none comes up.
        """
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            nodes = self.cluster.nodes()
            self._room = self.most or sum(self.shape.fits(node) for node in nodes)
            self._see_that_there_is_hope(nodes)
        wanted = min(self._room, parallel)
        while self.size < wanted:
            actor = _remote_worker(self.shape, not self._site.tokens).remote(*self._arguments)
            self._members[actor.hello.remote()] = Member(actor)
        for reference, member in list(self._members.items()):
            if self.size > max(wanted, 1) and not member.ready:
                del self._members[reference]
                ray.kill(member.actor)
        for member in list(self._idle):
            if self.size > wanted and time.monotonic() - member.since > IDLE_SECONDS:
                self._idle.remove(member)
                ray.kill(member.actor)

    def idle(self) -> list[Member]:
        """Workers without a job."""
        return list(self._idle)

    def holders(self, apart_from: Member) -> Counter[EncoderRef]:
        """How many of the other workers hold each encoder."""
        everyone = [*self._members.values(), *self._idle]
        return Counter(m.held for m in everyone if m is not apart_from and m.held is not None)

    def give(self, member: Member, job: Job) -> None:
        """Let an idle worker do a job."""
        self._idle.remove(member)
        member.job = job
        member.held = job.encoder or member.held
        self._members[member.actor.do.remote(job)] = member

    def wait(self, seconds: float) -> list[Done | Lost]:
        """What has come about, after at most so many seconds.

        Raises:
            SslBenchError: a node does not see what the driver sees.
        """
        if not self._members:
            time.sleep(seconds if not self._idle else 0.01)
            return []
        awaited = list(self._members)
        first, _ = ray.wait(awaited, num_returns=1, timeout=seconds)
        if not first:
            return []
        there, _ = ray.wait(awaited, num_returns=len(awaited), timeout=0)
        return [found for reference in there if (found := self._take(reference)) is not None]

    def _take(self, reference: Any) -> Done | Lost | None:
        member = self._members.pop(reference)
        job = member.job
        try:
            answer = ray.get(reference)
        except RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            raise cause from None
        except RayError as error:
            ray.kill(member.actor)
            if job is None:
                self._failed_starts, self._why = self._failed_starts + 1, _reason(error)
                return None
            return Lost(job, _reason(error), not _with_its_node(error))
        self._failed_starts = 0
        member.ready, member.job, member.since = True, None, time.monotonic()
        self._idle.append(member)
        return None if job is None else Done(job, answer)

    def _see_that_there_is_hope(self, nodes: list[Mapping[str, float]]) -> None:
        if self._idle or any(member.ready for member in self._members.values()):
            self._alone_since, self._had_workers = time.monotonic(), True
            return
        alone = time.monotonic() - self._alone_since
        if not self._room and (not self._had_workers or alone > PATIENCE_SECONDS):
            raise SslBenchError(no_room(self.shape, nodes))
        patience = PATIENCE_SECONDS
        if not any(self.shape.fits(node) for node in nodes):  # workers were asked for by number
            patience = STARTING_SECONDS
            if not self._told:
                self._told = True
                log.warning(
                    "no machine of the cluster has room for a worker (%s) yet; waiting for some "
                    "to start (`ray status` shows them)", self.shape,
                )  # fmt: skip
        if alone > patience:
            raise SslBenchError(
                f"no worker ({self.shape}) came up in {patience:.0f} s: `ray status` shows "
                "what the cluster is busy with"
            )
        if self._failed_starts > MAX_FAILED_STARTS:
            raise SslBenchError(
                f"workers die as they start ({self._why}); the logs of Ray's session on their "
                "nodes say more"
            )


def _remote_worker(shape: Shape, own_cache: bool) -> Any:
    """The actor class; not restarted by Ray: its jobs go to another, wherever there is room."""
    return ray.remote(Worker).options(
        num_cpus=shape.cpus,
        num_gpus=shape.gpus or None,
        memory=shape.memory or None,
        runtime_env={"env_vars": worker_environment(shape.cpus, own_cache)},
        scheduling_strategy="SPREAD",
        max_restarts=0,
        max_task_retries=0,
    )


def _reason(error: RayError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in lines if "OOM" in line or "memory" in line.lower()), lines[0])
    return told[:200]


def _with_its_node(error: RayError) -> bool:
    """Whether the node went, by a fault or by preemption, and not the worker by itself."""
    return bool(getattr(error, "preempted", False)) or "node has died" in str(error)
