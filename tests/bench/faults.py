"""Kill the web server and the workers again and again while submissions are evaluated.

    python tests/bench/faults.py --submissions 10 --kills 20
    python tests/bench/faults.py --submissions 10 --kills 20 --database postgresql --restarts 2

Several people send weights for a mock encoder that takes its time, by the API, trying again until
they are accepted; workers evaluate them. Web server and workers are killed with SIGKILL at random
moments and started again; a PostgreSQL crashes and comes back `--restarts` times. At the end: is
every submission there and done, every cell published once, every score that of an undisturbed local
evaluation, to the last bit? Exit status 1 if not.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "plugin"), str(ROOT / "tests" / "leaderboard" / "evaluation")]
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(ROOT / "tests" / "plugin"), os.environ.get("PYTHONPATH")])
)

import httpx  # noqa: E402
from evaluation_lab import (  # noqa: E402
    ENDED,
    Lab,
    Scores,
    local_scores,
    make_lab,
)
from own_postgres import Postgres, binaries  # noqa: E402
from sqlalchemy import func, select  # noqa: E402

from leaderboard.accounts.people import create_token, create_user  # noqa: E402
from leaderboard.db import Result, Role, Submission, SubmissionState  # noqa: E402

PEOPLE = ("ada", "bob", "eve")


def weights(seed: int) -> bytes:
    import torch
    from safetensors.torch import save
    from ssl_bench_mock_parts import Net

    torch.manual_seed(seed)
    return save(Net().state_dict())


class Rig:
    """The processes under fire."""

    def __init__(self, lab: Lab, workers: int, port: int) -> None:
        self.lab, self.port = lab, port
        self.processes = {f"worker {number}": lab.start_worker() for number in range(workers)}
        self.processes["web"] = self._serve()
        self.kills: Counter[str] = Counter()

    def _serve(self) -> subprocess.Popen[bytes]:
        log = (self.lab.settings.home / "web.log").open("ab")
        command = [sys.executable, "-m", "benchmark.cli", "serve", "--port", str(self.port)]
        process = subprocess.Popen(
            command, env=self.lab.environment, stdout=log, stderr=log, start_new_session=True
        )
        self.lab.processes.append(process)
        return process

    def kill_one(self, dice: random.Random) -> str:
        """SIGKILL one process and start another in its place."""
        name = dice.choice(sorted(self.processes))
        self.lab.kill(self.processes[name])
        self.kills[name.split()[0]] += 1
        self.processes[name] = self._serve() if name == "web" else self.lab.start_worker()
        return name

    def web_answers(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self.port}/api/v1/signing-key.pem"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Sender:
    """People who send one submission after another, and try again until it is accepted."""

    def __init__(self, lab: Lab, port: int, contents: list[bytes]) -> None:
        self.url, self.contents = f"http://127.0.0.1:{port}/api/v1", contents
        self.accepted: list[str] = []  # public identifiers, in the order of contents
        self.again = 0
        self.thread = threading.Thread(target=self._send_all, daemon=True)
        self.tokens = {}
        with lab.writing.begin() as session:
            for name in PEOPLE:
                user = create_user(session, name, Role.SUBMITTER, password="correct horse battery")
                self.tokens[name] = create_token(session, user, "bench", ["submit"], 1)[1]

    def numbers(self, lab: Lab) -> list[int]:
        with lab.reading() as session:
            rows = session.execute(select(Submission.public_id, Submission.id)).all()
        known = dict(rows)  # type: ignore[arg-type]
        return [known[name] for name in list(self.accepted)]

    def _send_all(self) -> None:
        for number, content in enumerate(self.contents):
            while True:
                try:
                    self.accepted.append(self._send(number, content))
                    break
                except httpx.HTTPError as error:
                    self.again += 1
                    answer = getattr(error, "response", None)
                    if answer is not None and answer.status_code < 500:
                        print(f"submission {number}: {answer.status_code} {answer.text[:200]}")
                    time.sleep(1)

    def _send(self, number: int, content: bytes) -> str:
        token = self.tokens[PEOPLE[number % len(PEOPLE)]]
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=120) as client:
            announced = {"kind": "checkpoint", "file_name": "net.safetensors"}
            announced |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            upload = client.post("/uploads", json=announced).raise_for_status().json()
            if upload["state"] != "complete":
                offset = upload["offset"]
                client.patch(
                    f"/uploads/{upload['id']}",
                    content=content[offset:],
                    headers={"Upload-Offset": str(offset)},
                ).raise_for_status()
            facts = {"upload": upload["id"], "name": f"Net {number}", "suite": "mock-one"}
            answer = client.post(
                "/submissions",
                json={**facts, "architecture": "mock-patient"},
                headers={"Idempotency-Key": f"bench-submission-{number}"},
            )
            found: str = answer.raise_for_status().json()["id"]
            return found


def run(arguments: argparse.Namespace, folder: Path, postgres: Postgres | None) -> bool:
    dice = random.Random(arguments.seed)
    contents = [weights(number) for number in range(arguments.submissions)]
    expected = [undisturbed(content, folder / str(n)) for n, content in enumerate(contents)]
    settings = {} if postgres is None else {"database_url": postgres.url}
    lab = make_lab(folder / "site", folder / "cache", **settings)
    try:
        return _under_fire(arguments, lab, postgres, dice, contents, expected)
    finally:
        lab.stop_all()


def _under_fire(
    arguments: argparse.Namespace,
    lab: Lab,
    postgres: Postgres | None,
    dice: random.Random,
    contents: list[bytes],
    expected: list[Scores],
) -> bool:
    sender = Sender(lab, arguments.port, contents)
    begun = time.monotonic()
    rig = Rig(lab, arguments.workers, arguments.port)
    sender.thread.start()
    restarts = 0
    while rig.kills.total() < arguments.kills:
        lab.wait(lambda: _at_work(lab, sender), arguments.patience)
        time.sleep(dice.uniform(*arguments.every))
        name = rig.kill_one(dice)
        done = sum(lab.submission(number).state in ENDED for number in sender.numbers(lab))
        print(
            f"{time.monotonic() - begun:6.1f} s  killed {name}; {len(sender.accepted)} sent, "
            f"{done} have ended",
            flush=True,
        )
        if done == len(contents):
            break
        if postgres is not None and rig.kills.total() % 5 == 0 and restarts < arguments.restarts:
            restarts += 1
            lab.engine.dispose()
            postgres.stop("immediate")
            postgres.start()
            print(
                f"{time.monotonic() - begun:6.1f} s  the database crashed and is back", flush=True
            )
    sender.thread.join(arguments.patience)
    numbers = sender.numbers(lab)
    lab.wait_for(*numbers, seconds=arguments.patience)
    lab.wait(rig.web_answers, arguments.patience)
    print(
        f"{rig.kills.total()} SIGKILLs ({rig.kills['worker']} of workers, {rig.kills['web']} of "
        f"the web server), {restarts} crashes of the database, "
        f"{time.monotonic() - begun:.0f} s, {arguments.workers} workers"
    )
    print(f"requests that were sent again: {sender.again}")
    return _judge(lab, numbers, expected)


def _at_work(lab: Lab, sender: Sender) -> bool:
    """Whether a submission is being evaluated, or nothing is left to do."""
    states = [lab.submission(number).state for number in sender.numbers(lab)]
    ended = all(state in ENDED for state in states) and not sender.thread.is_alive()
    return SubmissionState.RUNNING in states or ended


def _judge(lab: Lab, numbers: list[int], expected: list[Scores]) -> bool:
    with lab.reading() as session:
        all_ = session.scalar(select(func.count(Submission.id)))
    if not len(numbers) == len(expected) == all_:
        print(f"{len(expected)} sent, {len(numbers)} accepted, {all_} in the database")
        return False
    states = Counter(str(lab.submission(number).state) for number in numbers)
    with lab.reading() as session:
        rows = session.scalar(select(func.count(Result.id))) or 0
    cells = sum(len(scores) for scores in expected)
    same = sum(lab.scores(n) == scores for n, scores in zip(numbers, expected, strict=True))
    begun = [step.attempts for n in numbers for step in lab.steps(n).values()]
    print(f"submissions: {dict(states)}")
    print(f"results: {rows} rows for {cells} cells")
    print(f"scores equal to an undisturbed evaluation, to the last bit: {same} of {len(numbers)}")
    print(f"steps begun: {sum(begun)} times for {len(begun)} steps, one at most {max(begun)} times")
    return states == {"done": len(numbers)} and rows == cells and same == len(numbers)


def undisturbed(content: bytes, folder: Path) -> Scores:
    folder.mkdir(parents=True)
    (folder / "net.safetensors").write_bytes(content)
    return local_scores("mock-net", folder / "net.safetensors", folder / "run")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--submissions", type=int, default=10)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--every", type=float, nargs=2, default=(1.0, 6.0), metavar="SECONDS")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--restarts", type=int, default=0, help="crashes of PostgreSQL")
    parser.add_argument("--port", type=int, default=8471)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patience", type=float, default=600)
    arguments = parser.parse_args()
    postgres = None
    if arguments.database == "postgresql":
        programs = binaries()
        if programs is None:
            sys.exit("PostgreSQL is not installed: apt-get install postgresql")
        postgres = Postgres(programs)
    try:
        with tempfile.TemporaryDirectory(prefix="ssl-bench-faults-") as folder:
            os.environ["SSL_BENCH_CACHE"] = f"{folder}/local-cache"
            sound = run(arguments, Path(folder), postgres)
    finally:
        if postgres is not None:
            postgres.remove()
    sys.exit(0 if sound else "something was lost, doubled or changed")


if __name__ == "__main__":
    main()
