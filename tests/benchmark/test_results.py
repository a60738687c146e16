"""Result files: what is written is read; what is damaged is refused by field."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmark.commands.inspect import comparisons
from benchmark.errors import SslBenchError
from benchmark.events import Event, RunOptions
from benchmark.plan import EncoderRef, Unit
from benchmark.report.page import write_page
from benchmark.report.summary import normalised_score, summarise
from benchmark.report.tables import SEEN, number, overall_table, results_table
from benchmark.results import Result, pack, read_result, read_run, write_result
from benchmark.run import run_unit


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    """Two encoders on two tasks, evaluated for real."""
    out = tmp_path_factory.mktemp("run")
    events: list[Event] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_BENCH_CACHE", str(out / "cache"))
        jobs = (
            ("mock-pitch", ("knn", "linear-probe", "zero-shot")),
            ("mock-tags", ("linear-probe",)),
        )
        for name in ("mock-spectrum", "mock-net"):
            run_unit(Unit(EncoderRef(name, "audio"), jobs), RunOptions(out), events.append)
    assert [e.detail for e in events if e.phase == "skip"] == [
        "zero-shot: the encoder has no text tower (encode_text)"
    ] * 2
    return [event.result for event in events if event.phase == "result" and event.result]


def test_without_an_interval_there_is_none_in_file_tables_and_page(
    results: list[Result], tmp_path: Path
) -> None:
    alone = []
    for result in (r for r in results if r.protocol.name != "knn"):
        fields = result.model_dump()
        for metric in fields["metrics"].values():
            metric.update(low=float("nan"), high=float("nan"))
        fields["curve"] = [{"fraction": 1.0, "value": 0.5, "low": float("nan")}]
        fields["replicates"] = pack(np.full(1000, np.nan))
        alone.append(Result(**fields))
        back = read_result(write_result(alone[-1], tmp_path))
        assert back == alone[-1]
        assert (back.score.low, back.score.high) == (None, None)
        assert back.curve == [{"fraction": 1.0, "value": 0.5}]
        assert number(back.score) == f"{back.score.value:.3f}"
    assert all(np.isnan(row.domains["audio"].estimate.low) for row in summarise(alone).rows)
    console = Console(file=io.StringIO(), width=200)
    console.print(overall_table(summarise(alone)), results_table(alone))
    assert "no interval" in console.file.getvalue()
    page = write_page(alone, tmp_path / "page.html", "No intervals").read_text()
    assert "none: one test group" in page
    assert "no interval" in page
    assert re.search(r"\bnan\b", page, re.IGNORECASE) is None
    rows = comparisons(alone, None)
    assert {(row["low"], row["high"], row["real"]) for row in rows} == {(None, None, False)}


def test_results_carry_their_provenance(results: list[Result]) -> None:
    assert len(results) == 6
    for result in results:
        assert len(result.encoder.digest) == 64
        assert set(result.task.fingerprint) == {"train", "validation", "test"}
        assert result.environment.packages["torch"]
        assert result.cost.peak_memory_mib > 10
        assert result.bootstrap().shape == (1000,)
        assert result.score.low <= result.score.value <= result.score.high


def test_writing_and_reading_gives_the_same(results: list[Result], tmp_path: Path) -> None:
    path = write_result(results[0], tmp_path)
    assert read_result(path) == results[0]
    assert read_run(tmp_path) == [results[0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"metrics": {"accuracy": {"value": "high"}}}, "metrics.accuracy"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_damaged_result_names_its_field(
    results: list[Result], tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**results[0].model_dump(mode="json"), **change}))
    with pytest.raises(SslBenchError, match=message):
        read_result(path)


def test_a_cut_off_result_is_refused(results: list[Result], tmp_path: Path) -> None:
    path = write_result(results[0], tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SslBenchError, match="is not a result of schema 1"):
        read_run(tmp_path)


def test_a_domain_score_is_the_mean_of_normalised_scores(results: list[Result]) -> None:
    summary = summarise(results)
    for row in summary.rows:
        expected = np.mean([normalised_score(r)[0] for r in row.results.values()])
        assert row.domains["audio"].estimate.value == pytest.approx(expected)
        assert row.total is None  # five domains are lacking
    accuracy = next(r for r in results if r.protocol.name == "knn")
    assert normalised_score(accuracy)[0] == pytest.approx((accuracy.score.value - 0.333) / 0.667)


def test_an_encoder_that_lacks_a_pair_is_incomplete_not_averaged(results: list[Result]) -> None:
    lacking = [r for r in results if (r.encoder.name, r.protocol.name) != ("mock-net", "knn")]
    rows = {row.encoder: row for row in summarise(lacking).rows}
    assert rows["mock-net"].missing == {"audio": [("mock-pitch", "knn")]}
    assert rows["mock-net"].domains == {}
    assert rows["mock-spectrum"].domains["audio"].rank == (1, 1)


def test_an_encoder_that_lacks_a_pair_of_the_run_is_incomplete_even_alone(
    results: list[Result],
) -> None:
    alone = [r for r in results if r.encoder.name == "mock-net"]
    (row,) = summarise(alone, [("audio", "mock-onsets", "linear-probe")]).rows
    assert row.missing == {"audio": [("mock-onsets", "linear-probe")]}
    (row,) = summarise(alone, [("audio", "mock-pitch", "zero-shot")]).rows
    assert "audio" in row.domains  # zero-shot is asked of encoders with a text tower only


def test_one_name_for_two_encoders_is_refused(results: list[Result]) -> None:
    encoder = results[0].encoder.model_copy(update={"digest": "0" * 64})
    with pytest.raises(SslBenchError, match="two different encoders under the name"):
        summarise([*results[1:], results[0].model_copy(update={"encoder": encoder})])


def test_other_data_is_never_mixed(results: list[Result]) -> None:
    task = results[0].task.model_copy(update={"fingerprint": {"test": "other"}})
    other = results[0].model_copy(update={"task": task})
    with pytest.raises(SslBenchError, match="different versions, data or seeds"):
        summarise([*results, other])


def test_the_page_shows_every_result_and_escapes_names(
    results: list[Result], tmp_path: Path
) -> None:
    encoder = results[0].encoder.model_copy(
        update={"name": "<script>alert(1)</script>", "digest": "1" * 64}
    )
    page = write_page(
        [*results, *(r.model_copy(update={"encoder": encoder}) for r in results[:3])],
        tmp_path / "report.html",
        "A <title>",
    ).read_text()
    assert "<script>" not in page
    assert "A &lt;title&gt;" in page
    for result in results:
        assert f"{result.score.value:.3f}" in page
    assert page.count("<svg") >= 2
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "")


def test_data_seen_in_pretraining_is_marked_where_it_counts(
    results: list[Result], tmp_path: Path
) -> None:
    """In the task's tables and in the domain's mean, not beside the encoder's other scores."""
    task = "mock-tags"
    marked = [
        result.model_copy(
            update={"encoder": result.encoder.model_copy(update={"seen_in_pretraining": True})}
        )
        if result.task.name == task and result.encoder.name == "mock-net"
        else result
        for result in results
    ]
    rows = {row.encoder: row for row in summarise(marked).rows}
    assert rows["mock-net"].domains["audio"].seen
    assert not rows["mock-spectrum"].domains["audio"].seen
    page = write_page(marked, tmp_path / "page.html", "Seen").read_text()
    assert page.count('class="seen">seen in pretraining</span></td>') == 1  # in the task's table
    console = Console(width=200, record=True)
    console.print(overall_table(summarise(marked)))
    assert f"{SEEN} data of a task was seen in pretraining" in console.export_text()
    console.print(overall_table(summarise(results)))
    assert SEEN not in console.export_text()
