"""In Chromium: a checkpoint sent by the form, watched until it is done, found in the table."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI
from playwright.sync_api import Browser, expect

from leaderboard.accounts.people import create_user
from leaderboard.app import create_app

PASSWORD = "correct horse battery"
MINUTES = 120_000  # milliseconds: the evaluation is a real one


@pytest.mark.long
@pytest.mark.timeout(300)
def test_from_the_form_to_the_table(
    chromium: Browser,
    served: Any,
    checkpoint: bytes,
    tmp_path: Path,
    listening: Callable[[FastAPI], AbstractContextManager[str]],
) -> None:
    with served.writing.begin() as session:
        create_user(session, "grace", password=PASSWORD)
    file = tmp_path / "net.safetensors"
    file.write_bytes(checkpoint)
    context = chromium.new_context()
    page = context.new_page()
    with listening(create_app(served.settings)) as address:
        page.goto(f"{address}/submit")  # which asks to sign in, and comes back
        page.get_by_label("Name", exact=True).fill("grace")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_label("Name on the leaderboard").fill("Grace's net")
        page.get_by_label("Architecture, of a checkpoint").fill("mock-net")
        page.get_by_label("Suite").select_option("mock-one")
        page.locator("input[type=file]").set_input_files(file)
        page.get_by_role("button", name="Send and check").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Grace's net", timeout=MINUTES)
        expect(page.locator(".state")).to_have_text("done", timeout=MINUTES)  # no reload by hand
        serious = [
            violation["id"]
            for violation in Axe().run(page).response["violations"]
            if violation["impact"] in ("serious", "critical")
        ]
        assert serious == []
        page.goto(f"{address}/?suite=mock-one")
        row = page.locator("#board tr", has_text="Grace's net")
        expect(row.locator(".tag.verified")).to_be_visible()
        row.get_by_role("link", name="Grace's net").click()
        expect(page.get_by_text("Checkpoint sha256")).to_be_visible()
    context.close()
