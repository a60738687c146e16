"""Load on the leaderboard: readers of the home page and of the API while publications go on.

    python tests/bench/site.py [--encoders 500 --tasks 100 --protocols 3 --readers 50 --seconds 30]
    python tests/bench/site.py --database postgresql+psycopg://user:password@host/empty_database
    python tests/bench/site.py --postgresql --processes 2 --uploads 4 --workers 2 ...

Fills an empty database with rows that are marked as bench data (their scores are random), starts
`ssl-bench serve`, and lets the readers ask, each over one connection, with a pause after each
answer (`--pause 0`: none): half of them for the table as it opens, half sorted, filtered or paged.
Meanwhile one publication comes every few seconds, which makes all kept answers void. Prints the
server's time to the first byte (its own `Server-Timing`), the time that the readers saw, and the
processor time that the server took: on a busy machine only the last one means much.

`--postgresql` starts Debian's on a free port for the length of the bench. With `--uploads N` so
many people send and submit `--each` checkpoints meanwhile (`site_uploads.py`), into moto's S3
server, and `--workers M` evaluate them on a mock task; in the end it is seen that nothing was lost,
doubled or cut, and that sessions and limits hold over all `--processes`. The exit status is 1 where
they do not.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import psutil
import site_uploads
from sqlalchemy import Engine, func, insert, select, text

from benchmark.catalog import task_cards
from leaderboard.db import (
    Encoder,
    EncoderSource,
    Kind,
    Result,
    ResultPayload,
    ResultState,
    Submission,
    User,
    now,
)  # fmt: skip
from leaderboard.db.engine import make_engine, writing_sessions
from leaderboard.db.migrate import migrate
from leaderboard.results.publish import bump_generation, serialise
from leaderboard.settings import load_settings
from leaderboard.standings.update import rebuild, update_standings

PROTOCOLS = ("linear-probe", "knn", "few-shot")
NOTE = "row of the load bench: random, not measured"


def fill(engine: Engine, given: argparse.Namespace) -> None:
    """Random results of every encoder on every task and protocol, older ones of each, and the
    standings they give."""
    encoders, tasks, history = given.encoders, given.tasks, given.history
    rng = np.random.default_rng(0)
    cards = [card for card in task_cards() if not card.name.startswith("mock-")][:tasks]
    skill = rng.normal(0.5, 0.15, encoders)
    moment = now()
    with writing_sessions(engine).begin() as session:
        session.add(User(name="bench"))
        session.execute(
            insert(Encoder),
            [
                {
                    "id": index + 1, "slug": f"bench-{index:04}", "name": f"bench-{index:04}",
                    "title": NOTE, "modality": cards[index % len(cards)].modality,
                    "kind": ("pretrained", "control", "features")[index % 3],
                    "source": EncoderSource.RUN, "parameters": int(10 ** rng.uniform(5, 9)),
                    "licence": ("MIT", "Apache-2.0", "CC-BY-4.0")[index % 3], "card": {},
                }
                for index in range(encoders)
            ],
        )  # fmt: skip
        number = 0
        for card in cards:
            for protocol in PROTOCOLS[: given.protocols]:
                noise = rng.normal(0, 0.02, given.replicates)
                scores = np.clip(skill + rng.normal(0, 0.05, encoders), 0.01, 0.99)
                own = rng.normal(0, 0.01, (encoders, given.replicates))
                drawn = np.clip(scores[:, None] + noise + own, 0, 1)
                rows, payloads = [], []
                for index, score in enumerate(map(float, scores)):
                    number += 1
                    rows.append(
                        {
                            "id": number, "public_id": f"bench{number:019}", "metric": "accuracy",
                            "encoder_id": index + 1, "state": ResultState.VERIFIED,
                            "task": card.name, "task_version": card.version, "protocol": protocol,
                            "protocol_version": 1, "modality": card.modality,
                            "simulated": card.simulated, "seed": 0, "identity": f"bench {number}",
                            "fingerprint": NOTE, "score": score, "low": score - 0.04,
                            "high": score + 0.04, "chance": 0.0, "ceiling": 1.0,
                            "normalised": score, "normalised_low": score - 0.04,
                            "normalised_high": score + 0.04, "encoder_digest": "bench",
                            "samples_per_second": 10 ** rng.uniform(0, 4), "measured": moment,
                        }
                    )  # fmt: skip
                    payloads.append(
                        {
                            "result_id": number, "document": {"note": NOTE},
                            "replicates": drawn[index].astype("<f4").tobytes(),
                        }
                    )  # fmt: skip
                for age in range(history + 1):
                    if age:
                        for row, payload in zip(rows, payloads, strict=True):
                            number += 1
                            row |= {
                                "id": number, "public_id": f"bench{number:019}",
                                "identity": f"bench {number}", "state": ResultState.SUPERSEDED,
                            }  # fmt: skip
                            payload["result_id"] = number
                    session.execute(insert(Result), rows)
                    session.execute(insert(ResultPayload), payloads)
        if engine.dialect.name == "postgresql":  # ids were given; the next ones come after them
            for table in ("encoder", "result"):
                new = (
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"
                )
                session.execute(text(new))
    print(f"{number:,} results of {encoders} encoders, now the standings", flush=True)
    began = time.perf_counter()
    with writing_sessions(engine).begin() as session:
        cells = rebuild(session)
        bump_generation(session)
    print(f"standings of {cells} cells in {time.perf_counter() - began:.0f} s", flush=True)


def publish(url: str, home: str, every: float, alone: bool, stop: object) -> None:
    """What a worker does to the database: a submission comes in (where nobody sends any: `alone`),
    a result is published."""
    engine = make_engine(load_settings(home=Path(home), database_url=url))
    rng = random.Random(1)
    times: list[tuple[float, float]] = []
    shown = Result.fingerprint == NOTE, Result.state == ResultState.VERIFIED
    with engine.connect() as connection:
        last = connection.scalar(select(func.max(Result.id)).where(*shown)) or 1
    while not stop.wait(every):  # type: ignore[attr-defined]
        began, worked = time.perf_counter(), time.process_time()
        with writing_sessions(engine).begin() as session:
            if alone:
                session.add(
                    Submission(owner_id=1, kind=Kind.CHECKPOINT, name=NOTE, modality="audio")
                )
        with writing_sessions(engine).begin() as session:
            serialise(session)
            chosen = select(Result).where(Result.id >= rng.randint(1, last), *shown)
            row = session.scalars(chosen.order_by(Result.id).limit(1)).one()
            row.score = row.normalised = min(0.99, row.score + rng.uniform(-0.01, 0.01))
            update_standings(session, {(row.task, row.protocol): {row.encoder_id}})
            bump_generation(session)
        times.append((time.perf_counter() - began, time.process_time() - worked))
    if times:
        whole, processor = np.mean(times, axis=0)
        print(
            f"{len(times)} publications meanwhile, {whole:.1f} s each (queueing and all), "
            f"{processor:.1f} s of it processor time",
            flush=True,
        )


def addresses(rng: random.Random) -> str:
    """The home page or the API: as it opens, or sorted by a column, or of one domain, ..."""
    base = rng.choice(("/", "/api/v1/leaderboard"))
    if rng.random() < 0.5:
        return base
    return base + rng.choice(STATES)


STATES = [f"?sort={column}" for column in ("audio", "-ecg", "parameters", "speed", "encoder")]
STATES += [f"?domain={domain}" for domain in ("audio", "pointcloud", "ecg", "astronomy")]
STATES += ["?page=2", "?suite=core", "?suite=all", "?protocol=knn", "?kind=control", "?q=bench-01"]


async def read(
    port: int, seed: int, until: float, pause: float, seen: list[tuple[str, float, float, int]]
) -> None:
    """One reader: asks, waits for the whole answer, asks again."""
    rng = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.monotonic() < until:
        address = addresses(rng)
        began = time.perf_counter()
        writer.write(
            f"GET {address} HTTP/1.1\r\nHost: bench\r\nAccept-Encoding: gzip\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
        await reader.readexactly(length)
        spent = 1000 * (time.perf_counter() - began)
        server = float(re.search(rb"(?i)app;dur=([\d.]+)", head)[1])  # type: ignore[index]
        kind = "API" if address.startswith("/api") else "home"
        seen.append((kind, server, spent, int(head[9:12])))
        await asyncio.sleep(rng.uniform(0, 2 * pause))
    writer.close()


async def load(
    port: int, readers: int, seconds: float, pause: float
) -> list[tuple[str, float, float, int]]:
    seen: list[tuple[str, float, float, int]] = []
    until = time.monotonic() + seconds
    await asyncio.gather(*(read(port, seed, until, pause, seen) for seed in range(readers)))
    return seen


def table(seen: list[tuple[str, float, float, int]], seconds: float) -> None:
    print(
        f"\n{'':8}{'requests':>9}{'per s':>8}   server ms: p50   p95   p99   readers ms: p50   p95"
    )
    for kind in ("home", "API", "both"):
        own = [row for row in seen if kind in (row[0], "both")]
        server = np.percentile([row[1] for row in own], [50, 95, 99])
        felt = np.percentile([row[2] for row in own], [50, 95])
        print(
            f"{kind:8}{len(own):9,}{len(own) / seconds:8.0f}   {server[0]:14.1f}{server[1]:6.1f}"
            f"{server[2]:6.1f}   {felt[0]:15.1f}{felt[1]:6.1f}"
        )
    wrong = [row for row in seen if row[3] != 200]
    print(f"answers other than 200: {len(wrong)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoders", type=int, default=500)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--protocols", type=int, default=3)
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--pause", type=float, default=0.5, help="mean seconds of reading")
    parser.add_argument("--every", type=float, default=5, help="seconds between publications")
    parser.add_argument("--database", default="", help="an empty database; SQLite in a folder")
    parser.add_argument("--home", help="keep the database here, and use it when it is there")
    parser.add_argument("--history", type=int, default=0, help="older results of each")
    parser.add_argument("--replicates", type=int, default=100, help="an evaluation has 1,000")
    parser.add_argument("--processes", type=int, default=1, help="of the web server")
    parser.add_argument("--postgresql", action="store_true", help="start one for the bench")
    parser.add_argument("--uploads", type=int, default=0, help="people who send checkpoints")
    parser.add_argument("--each", type=int, default=5, help="checkpoints of each person")
    parser.add_argument("--workers", type=int, default=1, help="that evaluate them")
    given = parser.parse_args()
    with ExitStack() as services:
        if given.postgresql:
            given.database = services.enter_context(site_uploads.own_postgres())
        if given.uploads:
            site_uploads.use_mock_plugin()
            os.environ["SSL_BENCH_SITE_STORAGE_URL"] = services.enter_context(
                site_uploads.object_storage()
            )
        wrong = bench(given)
    for line in wrong:
        print(f"WRONG: {line}")
    sys.exit(1 if wrong else 0)


def bench(given: argparse.Namespace) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="ssl-bench-load-") as scratch:
        home = Path(given.home or scratch)
        home.mkdir(parents=True, exist_ok=True)
        engine = make_engine(load_settings(home=home, database_url=given.database))
        migrate(engine)
        with engine.connect() as connection:
            ready = connection.execute(select(Encoder.id).limit(1)).first() is not None
        if not ready:
            fill(engine, given)
        print(f"{engine.dialect.name}, {given.readers} readers, {os.cpu_count()} cores", flush=True)
        try:
            return run(given, home, engine)
        finally:
            engine.dispose()


def run(given: argparse.Namespace, home: Path, engine: Engine) -> list[str]:
    """Serve, read, publish and send; gives what went wrong."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ, "SSL_BENCH_SITE_HOME": str(home), "SSL_BENCH_SITE_PORT": str(port),
        "SSL_BENCH_SITE_DATABASE_URL": given.database, "SSL_BENCH_SITE_LOG_LEVEL": "warning",
        "SSL_BENCH_SITE_SUBMISSIONS_PER_DAY": str(given.each),
        "SSL_BENCH_SITE_WORKER_POLL_SECONDS": "0.3",
    }  # fmt: skip
    uploads = site_uploads.Uploads(given.uploads, given.each)
    uploads.prepare(engine)
    command = [sys.executable, "-m", "benchmark.cli", "serve", "--processes", str(given.processes)]
    server = subprocess.Popen(command, env=environment)
    stop = multiprocessing.Event()
    workers = []
    arguments = (given.database, str(home), given.every, not given.uploads, stop)
    publisher = multiprocessing.Process(target=publish, args=arguments)
    try:
        began = time.perf_counter()
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if server.poll() is not None:
                    sys.exit(f"the server ended with status {server.returncode}")
                time.sleep(0.1)
        print(f"the server answers after {time.perf_counter() - began:.1f} s", flush=True)
        asyncio.run(load(port, 2, 3, 0.0))  # what is loaded once is not measured
        home_page(port)
        if given.uploads:
            environment["SSL_BENCH_CACHE"] = str(home / "cache")
            workers = site_uploads.start_workers(given.workers, environment, home)
            uploads.start(port)
        publisher.start()
        before, _ = usage(server.pid)
        seen = asyncio.run(load(port, given.readers, given.seconds, given.pause))
        table(seen, given.seconds)
        after, memory = usage(server.pid)
        print(
            f"server: {1000 * (after - before) / len(seen):.1f} ms of processor time per request, "
            f"{memory >> 20} MiB in {given.processes} processes"
        )
        stop.set()
        publisher.join(60)
        wrong = (
            [f"{len(bad)} bad answers"] if (bad := [row for row in seen if row[3] != 200]) else []
        )
        if given.uploads:
            storage = os.environ["SSL_BENCH_SITE_STORAGE_URL"]
            wrong += site_uploads.verify(uploads, engine, storage, port, 300)
            uploads.report()
        return wrong
    finally:
        stop.set()
        if publisher.pid:
            publisher.join(60)
        for process in (*workers, server):
            process.terminate()
        for process in (*workers, server):
            process.wait(30)


def usage(pid: int) -> tuple[float, int]:
    """Seconds of processor time, and bytes of memory that are their own, of the web processes."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    times = [one.cpu_times() for one in family]
    seconds = sum(time.user + time.system for time in times)
    return seconds, sum(one.memory_full_info().uss for one in family)


def home_page(port: int) -> None:
    """Bytes of the home page, and the time that making it anew takes."""
    for query in ("", "?q=nothing-is-called-so", "?suite=all"):
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            began = time.perf_counter()
            with client.stream("GET", f"/{query}", headers={"Accept-Encoding": "gzip"}) as answer:
                sent = sum(len(block) for block in answer.iter_raw())
                spent = time.perf_counter() - began
            plain = len(client.get(f"/{query}", headers={"Accept-Encoding": "identity"}).content)
        print(f"/{query}: {plain:,} bytes, {sent:,} compressed, {1000 * spent:.0f} ms")


if __name__ == "__main__":
    main()
