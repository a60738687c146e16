"""Every page answers, says what it should, and is safe."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser

import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from benchmark.results import Result
from leaderboard.db import ResultState
from leaderboard.results.publish import publish

PAGES = [
    "/", "/?domain=audio", "/?sort=-parameters&col=audio&col=licence", "/domains/audio",
    "/domains/ecg", "/tasks", "/tasks?domain=ecg&suite=core&q=ptb", "/tasks/oneshot-family",
    "/tasks/esc50", "/encoders/alpha", "/compare", "/compare?encoder=alpha&encoder=gamma",
    "/about", "/docs/api",
]  # fmt: skip


class _Page(HTMLParser):
    """What the content policy forbids, links, ids, and whether tags close in order."""

    VOID = {"meta", "link", "br", "img", "input", "use", "path", "circle", "line", "rect", "hr"}

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forbidden: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.forbidden += [
            f"{tag} {name}" for name in given if name == "style" or name.startswith("on")
        ]
        if tag == "style" or (tag == "script" and not given.get("src")):
            self.forbidden.append(tag)
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag, f"{tag} does not close what is open"


@pytest.mark.long
@pytest.mark.parametrize("address", PAGES)
def test_pages_are_whole_and_hold_nothing_inline(filled: TestClient, address: str) -> None:
    answer = filled.get(address)
    assert answer.status_code == 200
    page = _Page(answer.text)
    assert page.forbidden == []
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert "<script>alert" not in answer.text
    assert 'property="og:title"' in answer.text
    assert re.search(r"\b(nan|None|Undefined)\b", re.sub(r"<[^>]*>", " ", answer.text)) is None


@pytest.mark.long
def test_links_of_the_site_lead_somewhere(filled: TestClient) -> None:
    """All local links of all pages, except those of areas that need a person to sign in."""
    seen = set()
    for address in PAGES:
        for link in _Page(filled.get(address).text).links:
            if link.startswith("/") and not link.startswith(("/submit", "/login", "/submissions")):
                seen.add(link.partition("#")[0])
    assert len(seen) > 60
    broken = {link: filled.get(link).status_code for link in sorted(seen)}
    assert {link: code for link, code in broken.items() if code != 200} == {}


def test_of_many_incomplete_encoders_the_first_are_listed(
    filled: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaderboard.pages.board_view.BoardView.incomplete_shown", 0)
    html = filled.get("/?per_page=49").text
    assert "Incomplete: 1 encoder" in html
    assert "and 1 more: search by name" in html


def test_the_home_page_shows_ties_and_what_is_incomplete(filled: TestClient) -> None:
    html = filled.get("/").text
    assert "1–2" in html
    assert "not separable from 1 other" in html
    assert "tied with 1 other" in html
    assert "Incomplete: 1 encoder" in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_columns_are_chosen_in_the_address(filled: TestClient) -> None:
    heads = re.findall(
        r'<th scope="col".*?</th>', filled.get("/?col=ecg&col=licence").text, re.DOTALL
    )
    text = " ".join(re.sub(r"<[^>]*>|[↑↓↕]", "", head).strip() for head in heads)
    assert text == "Rank Encoder ECG Licence"


def test_a_domain_page_says_its_domain_once(filled: TestClient) -> None:
    """It is in the path: neither links nor the search form repeat it; the exports have to."""
    text = filled.get("/domains/audio").text
    assert not re.search(r'href="/domains/[^"]*[?&;]domain=', text)
    assert "/export/leaderboard.csv?domain=audio" in text


def test_empty_sites_say_how_to_fill_them(client: TestClient) -> None:
    assert "ssl-bench site load runs/starter" in client.get("/").text
    assert "No encoder has a result here yet" in client.get("/tasks/esc50").text
    assert "Choose two to four encoders" in client.get("/compare").text
    for address in ("/domains/audio", "/tasks", "/feed.atom", "/charts/tradeoff.json",
                    "/charts/label-efficiency.json", "/charts/tasks/esc50/classes.json",
                    "/export/leaderboard.csv", "/export/leaderboard.parquet"):  # fmt: skip
        assert client.get(address).status_code == 200, address


@pytest.mark.parametrize("address", ["/nowhere", "/tasks/esc5", "/encoders/no", "/domains/video",
                                     "/results/0", "/compare?encoder=no", "/static/no.css",
                                     "/static/../app.py", "/badges/no.svg"])  # fmt: skip
def test_what_is_not_there_is_a_page_with_404(filled: TestClient, address: str) -> None:
    answer = filled.get(address)
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text
    assert "text/html" in answer.headers["content-type"]


def test_exports_hold_the_same_rows_in_every_form(filled: TestClient) -> None:
    for name in (
        "leaderboard",
        "tasks",
        "tasks/oneshot-family",
        "encoders/alpha",
        "compare",
        "domains/audio",
    ):
        query = "?encoder=alpha&encoder=gamma" if name == "compare" else ""
        rows = filled.get(f"/export/{name}.json{query}").json()
        table = list(csv.DictReader(io.StringIO(filled.get(f"/export/{name}.csv{query}").text)))
        frame = pq.read_table(io.BytesIO(filled.get(f"/export/{name}.parquet{query}").content))
        assert len(rows) == len(table) == frame.num_rows > 0
        assert list(rows[0]) == list(table[0]) == frame.column_names
    disposition = filled.get("/export/encoders/alpha.csv").headers["content-disposition"]
    assert disposition == 'attachment; filename="alpha.csv"'


def test_spreadsheets_compute_nothing(
    filled: TestClient, site: FastAPI, make_result: Callable[..., Result]
) -> None:
    with site.state.writing.begin() as session:
        publish(session, [make_result("=HYPERLINK(1)", score=0.4)], ResultState.VERIFIED)
    assert ",'=HYPERLINK(1)," in "," + filled.get("/export/tasks/oneshot-family.csv").text.replace(
        "\n", "\n,"
    )


def test_the_feed_is_atom(filled: TestClient) -> None:
    feed = ET.fromstring(filled.get("/feed.atom").text)
    atom = "{http://www.w3.org/2005/Atom}"
    assert feed.tag == f"{atom}feed"
    entries = feed.findall(f"{atom}entry")
    assert len(entries) == 4
    assert len({entry.findtext(f"{atom}id") for entry in entries}) == 4
    assert all(entry.findtext(f"{atom}updated") for entry in entries)


def test_badges_tell_the_rank(filled: TestClient) -> None:
    svg = filled.get("/badges/alpha/ecg.svg")
    assert svg.headers["content-type"] == "image/svg+xml"
    assert svg.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "ECG #1–2" in svg.text
    ET.fromstring(svg.text)
    assert "incomplete" in filled.get("/badges/script-alert-1-script.svg").text


def test_charts_have_data(filled: TestClient) -> None:
    tradeoff = filled.get("/charts/tradeoff.json?x=speed").json()
    assert {trace.get("domain") for trace in tradeoff["traces"]} >= {"audio", "ecg"}
    curve = filled.get("/charts/label-efficiency.json?domain=audio").json()
    assert [trace["name"] for trace in curve["traces"]] == ["alpha", "beta", "gamma"]
    assert curve["traces"][0]["x"] == [1, 10, 100]
    classes = filled.get("/charts/tasks/oneshot-family/classes.json").json()
    assert classes["traces"][0]["type"] == "bar"
    radar = filled.get("/charts/encoders/alpha/radar.json").json()
    assert len(radar["traces"][0]["theta"]) == 6
    text = json.dumps([tradeoff, curve, classes, radar])
    assert "NaN" not in text


def test_static_files_are_ours_and_last(client: TestClient) -> None:
    html = client.get("/").text
    sources = re.findall(r'(?:src|href)="(/static/[^"]+)"', html)
    assert any("plotly.min.js" in source for source in sources)
    for source in sources:
        answer = client.get(source)
        assert answer.status_code == 200, source
        assert "immutable" in answer.headers["cache-control"]
    assert not re.findall(r'(?:src|href)="https?://(?!testserver)', html)
