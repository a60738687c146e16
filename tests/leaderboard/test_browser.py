"""The pages in real headless Chromium: used with the mouse and the keyboard, checked by axe."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect

from leaderboard.app import create_app
from leaderboard.settings import load_settings

PAGES = [
    "/", "/domains/audio", "/tasks", "/tasks/oneshot-family", "/encoders/alpha",
    "/compare?encoder=alpha&encoder=gamma", "/about", "/docs/api", "/nowhere", "/login", "/join",
]  # fmt: skip


@pytest.fixture(scope="module")
def address(
    filled_home: Path,
    tmp_path_factory: pytest.TempPathFactory,
    listening: Callable[[FastAPI], AbstractContextManager[str]],
) -> Iterator[str]:
    """A server with the filled site."""
    home = tmp_path_factory.mktemp("browsed")
    shutil.copy(filled_home / "site.db", home / "site.db")
    with listening(create_app(load_settings(home=home, _env_file=None))) as address:
        yield address


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page on which nothing may go wrong behind the scenes: no script error, nothing that the
    content policy had to block."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda message: (
            problems.append(message.text)
            if message.type == "error" and "404 (Not Found)" not in message.text
            else None
        ),
    )
    yield page
    context.close()
    assert problems == []


def names(page: Page) -> list[str]:
    return page.locator("#board tbody th.name > a").all_inner_texts()


@pytest.mark.long
def test_sorting_filtering_and_columns_keep_their_state_in_the_address(
    page: Page, address: str
) -> None:
    page.goto(address)
    assert names(page) == ["alpha", "beta", "gamma"]
    page.get_by_role("columnheader", name="Audio").get_by_role("link").click()
    page.wait_for_url(re.compile("sort=audio"))
    expect(page.get_by_role("columnheader", name="Audio")).to_have_attribute(
        "aria-sort", "descending"
    )
    page.get_by_role("columnheader", name="Audio").get_by_role("link").click()
    page.wait_for_url(re.compile("sort=-audio"))
    expect(page.locator("#board tbody th.name > a").first).to_have_text("gamma")

    page.get_by_label("Search").fill("alph")
    page.wait_for_url(re.compile("q=alph"))
    expect(page.locator("#board tbody th.name > a")).to_have_text(["alpha"])
    assert "sort=-audio" in page.url  # the order stays
    assert "licence=" not in page.url  # what is not set is not in the address
    page.reload()
    assert names(page) == ["alpha"]
    page.go_back()
    page.get_by_label("Search").fill("")
    expect(page.locator("#board tbody th.name > a")).to_have_count(3)

    page.get_by_role("combobox", name="Domain").select_option("ecg")
    page.wait_for_url(re.compile("domain=ecg"))
    expect(page.get_by_role("columnheader", name="ECG")).to_have_count(0)  # it is the mean now
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("Licence", exact=True).last.check()
    page.wait_for_url(re.compile("col=licence"))
    expect(page.get_by_role("columnheader", name="Licence")).to_be_visible()


@pytest.mark.long
def test_from_the_table_to_a_task_an_encoder_a_comparison(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="alpha").last.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("alpha")
    expect(page.locator(".js-plotly-plot .polar")).to_be_visible(timeout=20_000)
    page.get_by_text("provenance").first.click()
    expect(page.get_by_text("ssl-bench eval --model alpha").first).to_be_visible()
    page.get_by_role("link", name="oneshot-family").first.click()
    expect(page.locator("#linear-probe")).to_be_visible()
    page.locator(".chart").first.scroll_into_view_if_needed()
    expect(page.locator(".js-plotly-plot .barlayer").first).to_be_visible(timeout=20_000)
    page.goto(f"{address}/encoders/alpha")
    page.get_by_role("link", name="Compare with others").click()
    page.get_by_label("Encoder 2").select_option("gamma")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".tag.behind").first).to_be_visible()
    expect(page.get_by_text("differences are real")).to_be_visible()


@pytest.mark.long
def test_the_theme_is_kept_and_the_keyboard_suffices(page: Page, address: str) -> None:
    page.goto(address)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Light or dark").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light != dark
    page.goto(f"{address}/about")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_without_javascript_the_tables_work(chromium: Browser, address: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    page.get_by_label("Search").fill("beta")
    page.get_by_role("button", name="Apply").click()
    assert names(page) == ["beta"]
    page.get_by_role("link", name="clear the filters").click()
    page.get_by_role("columnheader", name="Encoder").get_by_role("link").click()
    assert "sort=encoder" in page.url
    expect(page.get_by_text("Charts need JavaScript").first).to_be_visible()
    context.close()


@pytest.mark.long
def test_nothing_moves_while_the_home_page_loads(page: Page, address: str) -> None:
    page.add_init_script(
        "window.moved = 0; new PerformanceObserver((list) => { for (const entry of list"
        ".getEntries()) if (!entry.hadRecentInput) window.moved += entry.value; })"
        ".observe({ type: 'layout-shift', buffered: true });"
    )
    page.goto(address, wait_until="networkidle")
    page.locator(".chart").first.scroll_into_view_if_needed()
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=20_000)
    assert page.evaluate("window.moved") < 0.02


@pytest.mark.long
@pytest.mark.parametrize("path", PAGES)
def test_a_phone_needs_no_sideways_scrolling(chromium: Browser, address: str, path: str) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(address + path)
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth"), path
    context.close()


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_issue(chromium: Browser, address: str, theme: str) -> None:
    context = chromium.new_context(color_scheme=theme, viewport={"width": 1280, "height": 900})  # type: ignore[arg-type]
    page = context.new_page()
    found = {}
    for path in PAGES:
        page.goto(address + path)
        violations = Axe().run(page).response["violations"]
        serious = [
            (v["id"], v["nodes"][0]["html"][:150], v["nodes"][0]["failureSummary"][:300])
            for v in violations
            if v["impact"] in ("serious", "critical")
        ]
        if serious:
            found[path] = serious
    context.close()
    assert found == {}
