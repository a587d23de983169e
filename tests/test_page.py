"""The page of a matrix and of the committed evidence, as text."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

from checks.documents import evidence
from checks.matrix.expectations import Expectations, ExpectedFailure
from checks.matrix.page import page
from checks.matrix.run import Job, State
from tests.evidence import DEBIAN_12, case, stored

PASSED = (case("gateway"), case("stop"), replace(case("new"), group="Another group"))
FAILED = (case("gateway", "failed", got="invalid <IP>"), case("stop", "skipped"))
JOBS = [
    Job("debian-13", "recommended", State.DONE, evidence=stored("debian-13", *PASSED)),
    Job("debian-12", "recommended", State.DONE, evidence=stored("debian-12", *FAILED, facts=DEBIAN_12)),
    Job("ubuntu-24.04", "recommended", State.NOT_TESTED, message="its archive can't be reached"),
]
KNOWN = Expectations(
    expected_failure=(
        ExpectedFailure(
            cases=("gateway",),
            because="Known from 4.7 on.",
            entry="host-gateway-is-an-invalid-ip-address",
            below="4.7",
        ),
    )
)
_LOADS = ("link", "img", "iframe", "object", "embed", "audio", "video", "source", "base", "frame", "form")
_FETCHES = r"url\(|@import|\bimport\b|fetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|innerHTML|https?:"


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of its styles and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.code: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem in ("style", "script"):
            self.code.append(data)

    def values(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.found if name in attributes]


def test_the_page_escapes_what_hosts_say() -> None:
    output = page(JOBS, KNOWN)
    assert "invalid &lt;IP&gt;" in output
    assert "<IP>" not in output


def test_evidence_can_neither_end_the_script_nor_begin_one() -> None:
    hostile = "</script><script>alert(1)</script><!--\"'>"
    run = stored("debian-13", case("a", "failed", got=hostile, out=hostile, err=hostile))
    run.cases[0].label = run.cases[0].group = run.agent = hostile
    job = Job("debian-13", "recommended", State.DONE, evidence=run)
    lost = Job("debian-12", "recommended", State.ERROR, message=hostile)
    output = page([job, lost], Expectations())
    assert [tag for tag, _ in Elements(output).found].count("script") == 1
    assert "<!--" not in output


def test_the_page_needs_no_other_file() -> None:
    for output, links in ((page(JOBS, KNOWN), "#"), (evidence.PAGE.read_text(), "#|TROUBLESHOOTING.md#")):
        elements = Elements(output)
        assert elements.values("src") == []
        assert all(re.match(links, target) for target in elements.values("href"))
        loading = [
            tag for tag, attributes in elements.found if tag in _LOADS and attributes.keys() & {"action", "href"}
        ]
        assert loading == []
        assert [tag for tag, _ in elements.found if tag in _LOADS and tag != "form"] == []
        assert re.findall(_FETCHES, "".join(elements.code)) == []


def test_every_link_within_the_page_has_its_target() -> None:
    for output in (page(JOBS, KNOWN), evidence.PAGE.read_text()):
        elements = Elements(output)
        ids = elements.values("id")
        assert len(ids) == len(set(ids))
        assert {each[1:] for each in elements.values("href") if each.startswith("#")} <= {*ids}
        named = [name for each in elements.values("aria-labelledby") for name in each.split()]
        assert {*named} <= {*ids}


def test_passed_skipped_and_not_tested_are_different_marks() -> None:
    output = page(JOBS, KNOWN)
    cells = re.findall(r'<td class="(\w+)"><\w+ class="mark"[^>]*>(.)<', output)
    assert cells == [
        *[("expected_failure", "✗"), ("passed", "✓")],
        *[("skipped", "○"), ("passed", "✓")],
        *[("untested", "–"), ("passed", "✓")],
    ]


def test_a_host_without_evidence_is_not_tested() -> None:
    output = page(JOBS, KNOWN)
    assert "ubuntu-24.04" in output
    assert "not tested: its archive can&#39;t be reached" in output
    assert "Not tested: no tested host" in page(JOBS[2:], KNOWN)
