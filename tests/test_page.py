from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from checks.matrix import report
from checks.matrix.expectations import Expectations, ExpectedFailure
from checks.matrix.run import Job, State
from tests.evidence import DEBIAN_12, case, stored

CHROMIUM = shutil.which("chromium")
FAILED = (case("gateway", "failed", got="invalid <IP>"), case("stop", "skipped"))
JOBS = [
    Job("debian-13", "recommended", State.DONE, evidence=stored("debian-13", case("gateway"), case("stop"))),
    Job("debian-12", "recommended", State.DONE, evidence=stored("debian-12", *FAILED, facts=DEBIAN_12)),
    Job("ubuntu-24.04", "recommended", State.NOT_TESTED, message="its archive can't be reached"),
]
KNOWN = Expectations(
    expected_failure=(ExpectedFailure(cases=("gateway",), because="Known from 4.7 on.", entry="an-entry", below="4.7"),)
)


def chromium(*args: str) -> str:
    assert CHROMIUM
    argv = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *args]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_page_escapes_what_hosts_say() -> None:
    output = report.page(JOBS, KNOWN)
    assert "invalid &lt;IP&gt;" in output
    assert "<IP>" not in output


def test_the_page_needs_no_other_file_and_no_script() -> None:
    output = report.page(JOBS, KNOWN)
    assert re.findall(r"<(?:script|link|img|iframe)|\b(?:src|href)=|url\(|@import", output) == []


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: scripts/install.sh browser")
def test_a_browser_shows_the_matrix_and_its_failures_light_and_dark(tmp_path: Path) -> None:
    file = tmp_path / "matrix.html"
    file.write_text(report.page(JOBS, KNOWN))
    shown = chromium("--dump-dom", file.as_uri())
    assert re.findall(r'<td class="cell (\w+)"', shown) == ["passed", "expected", "passed", "skipped"]
    assert shown.count("<details") == 1
    assert "Hosts that were not tested" in shown
    pictures = []
    for scheme in (0, 1):  # dark, light
        picture = tmp_path / f"{scheme}.png"
        chromium(f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={picture}", file.as_uri())
        pictures.append(picture.read_bytes())
    assert all(data.startswith(b"\x89PNG") for data in pictures)
    assert pictures[0] != pictures[1]
