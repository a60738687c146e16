"""Predicted times: what is to be done, times what was measured, over the workers."""

import json
from pathlib import Path

import pytest
from command_line import run

from benchmark.commands.plan import in_bytes, in_time
from benchmark.needs import Need
from benchmark.plan import EncoderRef
from benchmark.planning.forecast import forecast, makespan
from benchmark.planning.machines import Machines
from benchmark.planning.outlook import Stored, UnitOutlook
from benchmark.planning.throughput import Measurement, Throughput

CPU = {"device": "cpu", "threads": 1}


def outlook(name: str, missing: int = 10) -> UnitOutlook:
    need = Need("tones", (), "train", "clip")
    stored = Stored(need, "pitch", 1280, 10, 128, tuple(range(missing)))
    return UnitOutlook(
        EncoderRef(name, "audio"), name, cells=[("pitch", "knn")], stored={need: stored}
    )


def table(*names: str) -> Throughput:
    rows = [Measurement("start", 5.0, source="local"), Measurement("start", 9.0, source="ray")]
    for name in names:
        rows += [
            Measurement("load", 2.0, encoder=name),
            Measurement(
                "embed", 10.0, name, "tones", detail="clip", examples=128, device="cpu", threads=1
            ),
            Measurement("score", 4.0, name, task="pitch", detail="knn", device="cpu", threads=1),
            Measurement("size", 0.0, name, "tones", detail="clip", examples=1, bytes=400),
        ]
    return Throughput(rows)


def test_units_go_to_local_workers_one_at_a_time() -> None:
    found = forecast(
        [outlook("a"), outlook("b"), outlook("c", 0)],
        table("a", "b", "c"),
        Machines("local", 2, 1, "cpu"),
    )
    assert found.seconds == 5.0 + max(2 + 100 + 4, 2 + 100 + 4 + 2 + 4 - 0)
    assert [unit.bytes for unit in found.units] == [512_000, 512_000, 0]
    assert found.device_hours == pytest.approx((106 + 106 + 6) / 3600)
    assert not found.unmeasured


def test_shards_are_shared_by_the_workers_of_a_cluster() -> None:
    found = forecast([outlook("a")], table("a"), Machines("ray", 4, 1, "cpu"))
    assert found.seconds == 9.0 + (104 + 4 * 2) / 4
    gpus = forecast([outlook("a")], table("a"), Machines("ray", 4, 1, "cuda", 0.25))
    assert gpus.unmeasured  # nothing was measured on a GPU
    assert gpus.device_hours == pytest.approx(2 * 0.25 / 3600)


def test_what_was_not_measured_is_named() -> None:
    found = forecast([outlook("new")], table("a"), Machines("local", 1, 1, "cpu"))
    assert found.unmeasured == ["embedding tones (clip) with new"]
    assert found.units[0].inexact  # the time of the protocol is that of another encoder


def test_nothing_to_do_takes_no_time() -> None:
    known = UnitOutlook(EncoderRef("a", "audio"), "a", known=3)
    assert forecast([known], table("a"), Machines("local", 2, 1, "cpu")).seconds == 0.0


def test_makespan() -> None:
    assert makespan([3, 3, 4], 2) == 7
    assert makespan([], 2) == 0


def test_amounts_in_words() -> None:
    assert [in_time(s) for s in (0.44, 12.3, 200, 9000)] == ["0.4 s", "12 s", "3 min", "2.5 h"]
    assert [in_bytes(b) for b in (12, 3_400_000, 2e12)] == ["12 B", "3.4 MB", "2 TB"]  # type: ignore[arg-type]


@pytest.mark.long
def test_plan_says_what_eval_would_do_and_does_nothing(tmp_path: Path, own_cache: Path) -> None:
    what = ["-m", "mock-net", "-t", "mock-pitch", "--workers", "1"]

    def plan(*options: str) -> dict[str, object]:
        done = run("plan", *what, *options, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    first = plan()
    assert first["units"][0]["unprepared"] == ["mock-pitch"]  # type: ignore[index]
    assert not (own_cache / "datasets").exists()
    assert not (own_cache / "embeddings").exists()
    measured = plan("--measure")
    assert measured["units"][0]["shards_cached"] == 1  # type: ignore[index]
    assert measured["units"][0]["shards"] == 3  # type: ignore[index]
    assert run("eval", *what, cwd=tmp_path).returncode == 0
    again = plan()
    assert (again["seconds"], again["units"][0]["known"]) == (0.0, 2)  # type: ignore[index]
    fresh = plan("--fresh")
    assert fresh["units"][0]["to_score"] == 2  # type: ignore[index]
    assert fresh["units"][0]["bytes"] > 0  # type: ignore[index]
    assert fresh["seconds"] > 0  # type: ignore[operator]
    assert fresh["unmeasured"] == []
    dry = run("eval", *what, "--fresh", "--dry-run", cwd=tmp_path)
    assert "What the run would do" in dry.stdout
    assert dry.returncode == 0
