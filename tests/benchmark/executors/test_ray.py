"""On a real Ray cluster: the local executor's scores, whatever happens to workers and nodes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from s3_server import Server, bench_server

from benchmark.errors import SslBenchError
from benchmark.events import Event, RunOptions
from benchmark.executors import shards
from benchmark.executors.cluster import connect
from benchmark.executors.local import execute
from benchmark.executors.ray import execute_on
from benchmark.executors.site import Site, this_site
from benchmark.plan import EncoderRef, Plan, make_plan, select_tasks
from benchmark.results import read_result

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


def plan_of(models: Sequence[str], tasks: Sequence[str]) -> Plan:
    encoders = [EncoderRef(name, "audio") for name in models]
    return make_plan(encoders, select_tasks(tasks, None))


def run(
    cluster: Any, plan: Plan, out: Path | None, most: int | None = None, **options: Any
) -> list[Event]:
    events: list[Event] = []
    with connect(cluster.address) as connected:
        execute_on(connected, plan, RunOptions(out, **options), events.append, most)
    return events


def run_locally(
    plan: Plan, cache: Path, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> list[Event]:
    events: list[Event] = []
    with monkeypatch.context() as patch:
        patch.setenv("SSL_BENCH_CACHE", str(cache))
        execute(plan, RunOptions(None, **options), events.append)
    return events


def scores(events: list[Event]) -> dict[str, dict[str, object]]:
    """Everything of the results but what they cost."""
    return {
        event.result.identity: event.result.model_dump(exclude={"cost"})
        for event in events
        if event.result is not None
    }


def told(events: list[Event], phase: str) -> set[tuple[str, str, str]]:
    return {(e.encoder, e.task, e.detail) for e in events if e.phase == phase}


@pytest.mark.long
def test_a_run_gives_what_the_local_executor_gives_and_is_reused(
    ray_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(["mock-spectrum", "mock-net"], ["mock-pitch", "mock-tags"])
    missing = EncoderRef("mock-pretrained", "audio", checkpoint=tmp_path / "none.safetensors")
    plan.units += make_plan([missing], select_tasks(["mock-pitch"], None)).units
    events = run(ray_cluster, plan, tmp_path / "out")
    local = run_locally(plan, tmp_path / "local", monkeypatch)
    assert len(scores(local)) == 6
    assert scores(events) == scores(local)
    assert told(events, "failure") == told(local, "failure")
    assert len(told(events, "failure")) == 1
    written = {read_result(p).identity for p in (tmp_path / "out" / "results").glob("*.json")}
    assert written == set(scores(local))
    assert {e.phase for e in events} >= {"prepare", "prepared", "embed", "score", "result"}

    again: list[Event] = []
    execute(plan, RunOptions(None), again.append)  # the same store
    assert all(event.reused for event in again if event.phase == "result")
    assert scores(again) == scores(local)


object_store = pytest.fixture(scope="module")(bench_server)


def test_a_run_into_an_object_store_gives_the_local_scores_and_fills_the_store(
    ray_cluster: Any, object_store: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray_cluster.aws.write_text(
        f"[default]\nendpoint_url = {object_store.endpoint}\nregion = us-east-1\n"
        "aws_access_key_id = test\naws_secret_access_key = test\n"
    )
    plan = plan_of(["mock-net"], ["mock-pitch", "mock-tags"])
    url = f"s3://bench/{tmp_path.name}"
    object_store.fail("500", "PUT", times=2)
    events = run(ray_cluster, plan, tmp_path / "out", store=url)
    assert not told(events, "failure")
    local = run_locally(plan, tmp_path / "local", monkeypatch)
    assert len(scores(local)) == 3
    assert scores(events) == scores(local)

    object_store.seen.clear()
    elsewhere = run_locally(plan, tmp_path / "elsewhere", monkeypatch, store=url)
    assert scores(elsewhere) == scores(local)
    methods = {method for method, _ in object_store.seen}
    assert "GET" in methods
    assert "PUT" not in methods  # another machine finds all of it in the store


@pytest.mark.slow
def test_workers_that_crash_are_replaced_and_what_always_crashes_is_told(
    ray_cluster: Any, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MAX_CRASHES", 2)  # it takes seconds to start a worker
    weights = own_cache / "weights.safetensors"
    from safetensors.torch import save_file

    from benchmark.encoder import load_encoder

    save_file(load_encoder("mock-net").module.state_dict(), weights)
    tasks = select_tasks(["mock-pitch"], None)
    names = ("mock-stumbling", "mock-crashing")
    plan = make_plan([EncoderRef(name, "audio", weights) for name in names], tasks)
    events = run(ray_cluster, plan, None)
    assert {(e.encoder, e.detail) for e in events if e.phase == "result"} == {
        ("mock-stumbling", "linear-probe"),
        ("mock-stumbling", "knn"),
    }
    [(encoder, task, detail)] = told(events, "failure")
    assert (encoder, task) == ("mock-crashing", "mock-pitch")
    assert "lost its worker again and again" in detail


@pytest.mark.slow
def test_a_node_that_does_not_see_the_files_is_one_clear_error(
    ray_cluster: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = plan_of(["mock-net"], ["mock-pitch"])

    @contextmanager
    def of_another_machine(*arguments: Any) -> Iterator[Site]:
        with this_site(*arguments) as site:
            yield replace(site, tokens=(tmp_path / "other" / "token",))

    monkeypatch.setattr("benchmark.executors.ray.this_site", of_another_machine)
    monkeypatch.setattr("benchmark.executors.site.LATE_SECONDS", 0.0)
    with pytest.raises(SslBenchError, match=r"the node .* does not see the folder"):
        run(ray_cluster, plan, None)


def test_no_room_is_one_clear_error(ray_cluster: Any) -> None:
    plan = plan_of(["mock-net"], ["mock-pitch"])
    with pytest.raises(SslBenchError, match=r"no node of the cluster has room .*64 CPU"):
        run(ray_cluster, plan, None, threads=64)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_nodes_come_and_go_and_the_scores_stay(
    ray_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOCK_SECONDS", "0.1")
    plan = plan_of(["mock-slow", "mock-net"], ["mock-many", "mock-pitch"])
    nodes = [ray_cluster.add_node(**NODE) for _ in range(2)]
    rng = random.Random(1)
    events: list[Event] = []
    killed: list[int] = []

    def tell(event: Event) -> None:
        events.append(event)
        told_of = sum(other.phase == "embed" for other in events)
        if event.phase == "embed" and told_of in (2, 5, 9):
            killed.append(told_of)
            ray_cluster.remove_node(nodes.pop(rng.randrange(2)), allow_graceful=False)
            nodes.append(ray_cluster.add_node(**NODE))

    try:
        with connect(ray_cluster.address) as connected:
            execute_on(connected, plan, RunOptions(None), tell)
    finally:
        for node in nodes:
            ray_cluster.remove_node(node)
    monkeypatch.setenv("MOCK_SECONDS", "0")
    local = run_locally(plan, tmp_path / "local", monkeypatch)
    assert killed == [2, 5, 9]
    assert not told(events, "failure")
    assert scores(events) == scores(local)
    assert len(scores(local)) == 6
