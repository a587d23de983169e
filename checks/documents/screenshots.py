"""Screenshots of a page, which Chromium takes. Needs playwright, which is for development only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shutil import which

from playwright.sync_api import Page, sync_playwright

from checks.core.errors import HostProblem


def shoot(page: Path) -> Mapping[str, bytes]:
    """The page in a light and in a dark window, and with the details of a failure on a phone, as PNG."""
    chromium = which("chromium")
    if chromium is None:
        raise HostProblem("Chromium is not installed.", "Run: scripts/install.sh browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)

        def opened(width: int, height: int, *, dark: bool = False) -> Page:
            tab = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
            )
            tab.goto(page.as_uri())
            return tab

        phone = opened(360, 740)
        phone.locator("#matrix button.mark").first.click()
        return {
            "evidence-light.png": opened(1200, 800).screenshot(),
            "evidence-dark.png": opened(1200, 800, dark=True).screenshot(),
            "evidence-phone.png": phone.screenshot(),
        }
