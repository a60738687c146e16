"""Executors: speed-up of Ray workers, what the executor itself costs, and the plan's prediction.

    python tests/bench/executor.py speedup [--encoder speed-waiting]   two workers against one
    python tests/bench/executor.py ceiling [--encoder speed-resnet]   the same without any executor
    python tests/bench/executor.py overhead [--shards 1000]      Ray against local, tiny shards
    python tests/bench/executor.py many [--shards 10000]         the driver with many tiny shards
    python tests/bench/executor.py plan [--executor ray]         predicted against measured time

Each run has a cache of its own. Times are of the work, from the first job handed out to the end;
starting Ray and its workers is listed apart.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PLUGIN = str(HERE / "plugin")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [PLUGIN, os.environ.get("PYTHONPATH")]))
sys.path.insert(0, PLUGIN)
os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass
class Watch:
    """Takes the events of a run; notes when the first shard was done and when the last."""

    begun: float = field(default_factory=time.perf_counter)
    first: float = 0.0
    embedded: float = 0.0
    results: int = 0

    def __call__(self, event: object) -> None:
        now = time.perf_counter()
        phase = event.phase  # type: ignore[attr-defined]
        if phase == "prepared" or (phase == "embed" and not self.first):
            self.first = now
        if phase == "embed":
            self.embedded = now
        if phase == "result":
            self.results += 1
        if phase == "failure":
            raise SystemExit(event.detail)  # type: ignore[attr-defined]

    @property
    def embedding(self) -> float:
        return self.embedded - self.first


def run(executor: str, encoder: str, workers: int, cache: Path) -> Watch:
    """One evaluation in this process; data is prepared beforehand."""
    from benchmark.catalog import load_task
    from benchmark.events import RunOptions
    from benchmark.executors.choice import ExecutorRequest, chosen
    from benchmark.plan import EncoderRef, make_plan, select_tasks
    from benchmark.prepare import prepare

    os.environ["SSL_BENCH_CACHE"] = str(cache)
    prepare(load_task("speed-tiles"))
    cards = select_tasks(["speed-tiles"], None)
    plan = make_plan([EncoderRef(encoder, "histopathology")], cards)
    request = ExecutorRequest(executor, workers=workers, threads=1, device="cpu")  # type: ignore[arg-type]
    with chosen(request) as found:
        watch = Watch()
        found.execute(plan, RunOptions(None, threads=1), watch)
    return watch


def speedup(examples: int, encoder: str) -> None:
    """An embedding-bound run by two local workers against one."""
    os.environ["SSL_BENCH_SPEED_EXAMPLES"] = str(examples)
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for workers in (1, 2):
            watch = run("ray", encoder, workers, Path(folder, str(workers)))
            seconds[workers] = watch.embedding
            rate = examples / watch.embedding
            print(
                f"{workers} worker{'s' * (workers > 1)}: {watch.embedding:.1f} s of embedding, "
                f"{rate:.0f} tiles/s; Ray's workers started in {watch.first - watch.begun:.1f} s"
            )
    print(f"speed-up {seconds[1] / seconds[2]:.2f}")


def forwards(encoder: str, examples: int, start: Any, took: Any) -> None:
    """The forward alone over batches of 32 noise tiles, one thread, when all are ready."""
    import torch

    from benchmark.encoder import load_encoder

    torch.set_num_threads(1)
    loaded = load_encoder(encoder, init="random")
    side = loaded.spec.size  # type: ignore[attr-defined]
    batch = torch.randn(32, 3, side, side)
    with torch.inference_mode():
        loaded.module(batch)
        start.wait()
        begun = time.perf_counter()
        for _ in range(examples // len(batch)):
            loaded.module(batch)
    took.put(time.perf_counter() - begun)


def ceiling(examples: int, encoder: str) -> None:
    """What two processes that do nothing but the forward gain over one: of the machine, not ours.

    One and two processes in turn, three times; the medians count.
    """
    import multiprocessing
    import statistics

    context = multiprocessing.get_context("spawn")
    rates: dict[int, list[float]] = {1: [], 2: []}
    for count in (1, 2) * 3:
        start, took = context.Barrier(count), context.Queue()
        many = [
            context.Process(target=forwards, args=(encoder, examples // 2, start, took))
            for _ in range(count)
        ]
        for process in many:
            process.start()
        seconds = max(took.get() for _ in many)
        for process in many:
            process.join()
        rates[count].append(count * (examples // 2) / seconds)
        print(f"{count} process{'es' * (count > 1)}: {rates[count][-1]:.0f} tiles/s")
    one, two = (statistics.median(rates[count]) for count in (1, 2))
    print(f"two processes against one, the forward alone: {two / one:.2f}")


def overhead(shards: int) -> None:
    """Shards of one tiny example: by one Ray worker, and in this process."""
    from benchmark.executors import shards as handing

    tiny(shards)
    with tempfile.TemporaryDirectory() as folder:
        local = run("local", "speed-nothing", 1, Path(folder, "local")).embedding
        print(f"local: {1000 * local / shards:.2f} ms per shard")
        for most in (handing.MOST, 1):
            handing.MOST = most
            ray = run("ray", "speed-nothing", 1, Path(folder, f"ray-{most}")).embedding
            cost = 1000 * (ray - local) / shards
            print(
                f"ray, up to {most} shard{'s' * (most > 1)} to a job: {1000 * ray / shards:.2f} ms "
                f"per shard, {cost:.2f} ms of them the executor's"
            )


def many(shards: int) -> None:
    """The driver while it hands out very many shards."""
    tiny(shards)
    with tempfile.TemporaryDirectory() as folder:
        from benchmark.executors import pool

        most, give = 0, pool.Pool.give

        def counted(self: pool.Pool, *arguments: object) -> None:
            nonlocal most
            give(self, *arguments)  # type: ignore[arg-type]
            most = max(most, sum(m.job is not None for m in self._members.values()))

        pool.Pool.give = counted  # type: ignore[method-assign]
        run("local", "speed-nothing", 1, Path(folder, "warm-up"))
        before = resource.getrusage(resource.RUSAGE_SELF)
        watch = run("ray", "speed-nothing", 2, Path(folder, "ray"))
        after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    grown = (after.ru_maxrss - before.ru_maxrss) / 1024
    print(
        f"{shards} shards by 2 workers in {watch.embedding:.1f} s "
        f"({1000 * watch.embedding / shards:.2f} ms each); the driver: {cpu:.1f} CPU seconds, "
        f"{grown:.0f} MiB more at its peak, at most {most} jobs under way"
    )


def tiny(shards: int) -> None:
    """One example of 8 × 8 pixels to a shard."""
    os.environ |= {
        "SSL_BENCH_SPEED_EXAMPLES": str(shards),
        "SSL_BENCH_SPEED_SIDE": "8",
        "SSL_BENCH_SPEED_SHARD": "1",
    }


def plan(executor: str, models: list[str], tasks: list[str], workers: int) -> None:
    """A first run fills the throughput table; then the plan of a second against that run."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SSL_BENCH_CACHE"] = folder
        what = [part for name in models for part in ("-m", name)]
        what += [part for name in tasks for part in ("-t", name)]
        what += ["--executor", executor, "--workers", str(workers)]

        def command(*arguments: str) -> tuple[str, float]:
            begun = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "benchmark.cli", *arguments],
                check=True,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
            )
            return done.stdout, time.perf_counter() - begun

        command("eval", *what)
        said, took = command("plan", *what, "--fresh", "--json")
        predicted = json.loads(said)["seconds"]
        _, measured = command("eval", *what, "--fresh")
    print(
        f"{executor}, {workers} workers: predicted {predicted:.1f} s, measured {measured:.1f} s "
        f"({100 * (predicted / measured - 1):+.0f}%); the plan took {took:.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["speedup", "ceiling", "overhead", "many", "plan"])
    parser.add_argument("--examples", type=int, default=4096)
    parser.add_argument("--shards", type=int)
    parser.add_argument("--executor", default="local", choices=["local", "ray"])
    parser.add_argument("--encoder", default="speed-resnet", help="of speedup")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", nargs="+", default=["speed-resnet", "speed-nothing"])
    parser.add_argument("--task", nargs="+", default=["speed-tiles"])
    arguments = parser.parse_args()
    os.environ["SSL_BENCH_SPEED_EXAMPLES"] = str(arguments.examples)
    if arguments.what == "speedup":
        speedup(arguments.examples, arguments.encoder)
    elif arguments.what == "ceiling":
        ceiling(arguments.examples, arguments.encoder)
    elif arguments.what == "overhead":
        overhead(arguments.shards or 1000)
    elif arguments.what == "many":
        many(arguments.shards or 10_000)
    else:
        plan(arguments.executor, arguments.model, arguments.task, arguments.workers)


if __name__ == "__main__":
    main()
