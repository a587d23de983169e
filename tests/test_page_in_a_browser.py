"""The page in Chromium: what a click, a filter, a small window and the keyboard do."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect, sync_playwright

from checks.documents import evidence
from checks.matrix.page import page
from tests.test_page import JOBS, KNOWN

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: scripts/install.sh browser")

NAME = "✗ expected failure: Case gateway, debian-12 (recommended)"
WIDE, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=360, height=740)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "matrix.html"
    file.write_text(page(JOBS, KNOWN))
    return file.as_uri()


@pytest.fixture
def tab(browser: Browser, address: str) -> Iterator[Page]:
    """The page in a tab. It reports no error, and asks for nothing but itself."""
    with browser.new_context(viewport=WIDE) as context:
        opened = context.new_page()
        wrong: list[str] = []
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on("console", lambda message: wrong.append(message.text))
        opened.on("request", lambda request: wrong.extend([request.url] if request.url != address else []))
        opened.goto(address)
        yield opened
    assert wrong == []


def failing(tab: Page) -> Locator:
    return tab.get_by_role("button", name=NAME)


def shown(tab: Page) -> list[str]:
    """The patterns that the table shows."""
    return [each.inner_text() for each in tab.locator("#matrix tr.case th").all() if each.is_visible()]


def test_a_click_on_a_failing_cell_shows_expected_got_and_the_fix(tab: Page) -> None:
    failing(tab).click()
    dialog = tab.get_by_role("dialog", name=re.compile("Case gateway, debian-12"))
    for text in (
        "something",
        "invalid <IP>",
        "Known from 4.7 on.",
        "Use Podman 4.7 or newer",
        "docker run image gateway",
    ):
        expect(dialog.get_by_text(text)).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    tab.get_by_role("button", name="○ skipped: Case stop").click()
    expect(tab.get_by_role("dialog")).to_contain_text("no such thing here")
    tab.mouse.click(5, 5)  # beside the dialog
    expect(tab.get_by_role("dialog")).to_be_hidden()


def test_filters_choose_hosts_groups_and_failures(tab: Page) -> None:
    count = tab.get_by_role("status")
    expect(count).to_have_text("3 of 3 patterns shown")
    tab.get_by_role("checkbox", name="Only failures").check()
    expect(count).to_have_text("1 of 3 patterns shown")
    assert shown(tab) == ["Case gateway"]
    tab.get_by_role("combobox", name="Host").select_option("debian-13")
    expect(count).to_have_text("0 of 3 patterns shown")
    expect(tab.get_by_role("columnheader", name="debian-12")).to_be_hidden()
    expect(failing(tab)).to_be_hidden()
    tab.get_by_role("button", name="Reset").click()
    expect(count).to_have_text("3 of 3 patterns shown")
    expect(failing(tab)).to_be_visible()
    tab.get_by_role("combobox", name="Host").select_option("debian-13")
    expect(tab.locator("#matrix tr.case td:visible")).to_have_text(["✓", "✓", "✓"])
    tab.get_by_role("combobox", name="Group").select_option("Another group")
    assert shown(tab) == ["Case new"]
    expect(tab.get_by_role("rowheader", name="Group", exact=True)).to_be_hidden()


def test_the_keyboard_reaches_everything(tab: Page) -> None:
    def tab_to(wanted: Locator) -> None:
        for _ in range(40):
            tab.keyboard.press("Tab")
            if wanted.evaluate("each => each === document.activeElement"):
                return
        pytest.fail(f"Tab does not reach {wanted}")

    tab_to(tab.get_by_role("link", name="Skip to the verdicts"))
    tab_to(tab.get_by_role("combobox", name="Host"))
    tab.keyboard.type("debian-12")
    expect(tab.get_by_role("columnheader", name="debian-13")).to_be_hidden()
    tab_to(tab.get_by_role("checkbox", name="Only failures"))
    tab.keyboard.press("Space")
    expect(tab.get_by_role("status")).to_have_text("1 of 3 patterns shown")
    tab_to(failing(tab))
    tab.keyboard.press("Enter")
    dialog = tab.get_by_role("dialog")
    expect(dialog).to_contain_text("invalid <IP>")
    tab_to(dialog.get_by_role("button", name="Close"))
    tab.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(failing(tab)).to_be_focused()


def test_a_phone_shows_the_page_without_scrolling_sideways(tab: Page) -> None:
    tab.set_viewport_size(PHONE)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    failing(tab).click()
    box = tab.get_by_role("dialog").bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    expect(tab.get_by_role("dialog").get_by_text("invalid <IP>")).to_be_in_viewport()


def test_a_screen_reader_gets_names_and_a_structure(tab: Page) -> None:
    assert Axe().run(tab).generate_snapshot() == ""
    tab.emulate_media(color_scheme="dark")
    failing(tab).click()
    assert Axe().run(tab).generate_snapshot() == ""
    tab.keyboard.press("Escape")
    expect(tab.get_by_role("rowheader", name="Case gateway")).to_be_visible()
    expect(tab.get_by_role("cell", name="not tested on this host")).to_be_visible()


def test_the_page_is_dark_where_the_system_is(tab: Page) -> None:
    def ground() -> str:
        return str(tab.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = ground()
    tab.emulate_media(color_scheme="dark")
    assert light == "rgb(253, 253, 252)"
    assert ground() == "rgb(20, 23, 26)"


def test_without_scripts_a_mark_leads_to_its_details(browser: Browser, address: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        tab = context.new_page()
        tab.goto(address)
        expect(tab.get_by_role("checkbox", name="Only failures")).to_be_hidden()
        tab.get_by_role("link", name=NAME).click()
        expect(tab.get_by_text("invalid <IP>")).to_be_visible()


def test_the_committed_page_fits_on_a_phone_and_shows_a_real_failure(browser: Browser) -> None:
    with browser.new_context(viewport=PHONE) as context:
        tab = context.new_page()
        tab.goto(evidence.PAGE.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        tab.get_by_role("combobox", name="Host").select_option("debian-12")
        tab.get_by_role("checkbox", name="Only failures").check()
        mark = tab.get_by_role("button", name="host-gateway, debian-12 (recommended)")
        mark.click()
        dialog = tab.get_by_role("dialog")
        expect(dialog.get_by_text("exit status 125", exact=True)).to_be_visible()
        link = dialog.get_by_role("link", name="host-gateway is an invalid IP address")
        assert link.get_attribute("href") == "TROUBLESHOOTING.md#host-gateway-is-an-invalid-ip-address"
