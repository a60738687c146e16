"""The throughput table: what is measured is found again, by the nearest thing that was measured."""

from pathlib import Path

import pytest

from benchmark.planning.throughput import (
    Estimate,
    Measurement,
    Throughput,
    collected,
    record,
    table_path,
)

EMBED = {"encoder": "net", "source": "tones", "detail": "clip", "device": "cpu", "threads": 1}


def test_what_is_recorded_is_read_and_damage_is_passed_over(own_cache: Path) -> None:
    assert Throughput.read().embed(*EMBED.values(), 10) is None
    record(Measurement("embed", 4.0, examples=100, **EMBED))  # type: ignore[arg-type]
    with table_path().open("a") as file:
        file.write('{"what": "embed", "sec\n{"new": 1}\n')
    record(Measurement("size", encoder="net", source="tones", detail="clip", examples=2, bytes=64))
    table = Throughput.read()
    assert table.embed(*EMBED.values(), 50) == Estimate(2.0, True)
    assert table.bytes("net", "tones", "clip", 10) == 320
    assert table.bytes("net", "bells", "clip", 10) == 320
    assert table.bytes("net", "bells", "frames", 10) is None


def test_a_table_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "file"))
    record(Measurement("load", 1.0, encoder="net"))


def test_the_nearest_measurement_counts() -> None:
    def embed(seconds: float, **facts: object) -> Measurement:
        return Measurement("embed", seconds, examples=100, **{**EMBED, **facts})  # type: ignore[arg-type]

    table = Throughput([embed(9.0, threads=4), embed(5.0, source="bells"), embed(1.0)])
    assert table.embed("net", "tones", "clip", "cpu", 1, 100) == Estimate(1.0, True)
    assert table.embed("net", "gongs", "clip", "cpu", 1, 100) == Estimate(3.0, False)
    assert table.embed("net", "gongs", "clip", "cpu", 2, 100) == Estimate(5.0, False)
    assert table.embed("net", "tones", "clip", "cuda", 1, 100) is None
    assert table.embed("other", "tones", "clip", "cpu", 1, 100) is None


def test_old_measurements_give_way_to_new_ones() -> None:
    rows = [Measurement("load", 100.0, encoder="net")] * 50
    rows += [Measurement("load", 1.0, encoder="net")] * 20
    assert Throughput(rows).load("net") == Estimate(1.0, True)


def test_a_protocol_takes_as_long_as_with_other_encoders() -> None:
    facts = {"task": "pitch", "detail": "knn", "device": "cpu", "threads": 1}
    rows = [
        Measurement("score", s, encoder=name, **facts)  # type: ignore[arg-type]
        for name, s in (("a", 1.0), ("b", 3.0), ("c", 8.0))
    ]
    table = Throughput(rows)
    assert table.score("a", "pitch", "knn", "cpu", 1) == Estimate(1.0, True)
    assert table.score("new", "pitch", "knn", "cpu", 1) == Estimate(3.0, False)
    assert table.score("new", "timbre", "knn", "cpu", 1) == Estimate(3.0, False)
    assert table.score("new", "pitch", "few-shot", "cpu", 1) is None


def test_measurements_of_a_worker_are_kept_back_for_the_driver(own_cache: Path) -> None:
    with collected() as taken:
        record(Measurement("load", 1.0, encoder="net"))
    assert taken == [Measurement("load", 1.0, encoder="net")]
    assert not table_path().exists()
