from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from checks.core.errors import WrongUsage
from checks.documents import security
from checks.engine.docker import Record
from checks.evidence import store
from checks.evidence.hardening_model import BrowserStart, CombinedFlags, HardeningRun
from checks.evidence.run import CaseResult, Evidence
from checks.evidence.store import Provenance
from checks.hardening.browser import BrowserResults, browser_setups
from checks.hardening.results import CombinedResult
from tests.evidence import DEBIAN_12, DEBIAN_13
from tests.test_hardening_verdicts import ANSWER, KNOWN, SILENCE, rows

BROWSER = BrowserStart(
    options=[],
    arguments=[],
    rendered=True,
    seconds=2.0,
    sandbox="on",
    layers="renderers: 2 and 2; the browser: 1 and 1",
)


def evidence_of(directory: Path, kind: str, results: Any, *, facts: Any = DEBIAN_13, host: str = "debian-13") -> Path:
    provenance = Provenance(host, "recommended", facts, datetime(2026, 1, 2, tzinfo=UTC))
    values = {"kind": kind, "seconds": 61, "agent": "the stub agent", "results": results}
    return store.save(store.build(HardeningRun, {**provenance.values(), **values}), directory)


def each(directory: Path, **options: Any) -> Path:
    some = rows()
    some[0].smokes = [(None, SILENCE), (some[0].flag.workarounds[0], ANSWER)]
    return evidence_of(directory, "each", [row.row for row in some], **options)


def together(*, failed: str = "", options: list[str] | None = None) -> CombinedFlags:
    verified = Evidence("debian-13", "recommended", DEBIAN_13)
    verified.cases.append(CaseResult("run", "Group", "docker run", "passed", 1.0, Record()))
    if failed:
        verified.cases.append(CaseResult(failed, "Group", failed, "failed", 1.0, Record(), "x", "y"))
    chosen = tuple(KNOWN.recommended() if options is None else options)
    return CombinedResult(chosen, rows(), ANSWER, [BROWSER], verified).row


def read_all(directory: Path) -> list[HardeningRun]:
    return store.committed(HardeningRun, directory)


def test_what_was_found_is_written_read_and_rendered(tmp_path: Path) -> None:
    each(tmp_path)
    evidence_of(tmp_path, "all", together())
    text = security.text(read_all(tmp_path), KNOWN)
    assert "Tried together on debian-13 (Podman 5.4.2, 2026-01-02)" in text
    assert re.search(r"^\| \[`--cap-drop=ALL`\]\S+ \| ✓ \| chown", text, re.MULTILINE)
    assert "| [`--read-only`]" in text
    assert "| ✓ with `--tmpfs /home/node:rw,size=256m,mode=1777` |" in text
    assert "got EROFS" in text
    line = " ".join(re.findall(r"^  (-.*) \\$", text, re.MULTILINE))
    assert line == " ".join(KNOWN.recommended())


def test_the_answer_on_chromium_is_what_was_measured(tmp_path: Path) -> None:
    assert "No run of `invoke harden --browser` has answered" in security.text([], KNOWN)
    off = replace(BROWSER, rendered=False, sandbox="", layers="", failure="Check failed: sys_chroot()")
    found = [
        BrowserResults(setup, (off if "SYS_CHROOT" in setup.name else BROWSER,))
        for setup in browser_setups(KNOWN, KNOWN.flags)
    ]
    evidence_of(tmp_path, "browser", [each.row for each in found])
    text = security.text(read_all(tmp_path), KNOWN)
    assert "it works, and its sandbox is on" in text
    assert "break it unless `SYS_CHROOT` is added again" in text
    assert "seccomp profile refuses the call" not in text
    assert "| Flags | as it is |\n" in text
    assert "| no flags | renders, sandbox on |" in text


def test_a_set_that_failed_is_not_called_proven(tmp_path: Path) -> None:
    evidence_of(tmp_path, "all", together(failed="killed-client"))
    text = security.text(read_all(tmp_path), KNOWN)
    assert "Not proven yet" in text
    assert "is **not** proven: cases fail: killed-client" in text


def test_a_failure_that_is_known_without_the_flags_does_not_count() -> None:
    verified = Evidence("debian-12", "recommended", DEBIAN_12)
    verified.cases.append(CaseResult("host-gateway", "Group", "host-gateway", "failed", 1.0, Record()))
    found = CombinedResult((), rows(), ANSWER, [BROWSER], verified)
    assert found.ok
    assert [label for label, _ in found.expected_failures] == ["host-gateway"]


@pytest.mark.parametrize("lacks", ["smoke", "browser", "verified", "row"])
def test_a_set_is_good_only_where_all_of_it_is(lacks: str) -> None:
    verified = Evidence("debian-13", "recommended", DEBIAN_13)
    found = CombinedResult((), rows(), ANSWER, [BROWSER], verified)
    assert found.ok
    if lacks == "smoke":
        found.smoke = SILENCE
    elif lacks == "browser":
        found.browser = []
    elif lacks == "verified":
        found.verified = None
    else:
        found.flags = rows("--cpus")
    assert not found.ok


def test_evidence_of_another_set_proves_nothing(tmp_path: Path) -> None:
    evidence_of(tmp_path, "all", together(options=["--read-only"]))
    text = security.text(read_all(tmp_path), KNOWN)
    assert "Not proven yet" in text
    assert "is **not** proven: measured with another set of flags" in text


def test_evidence_of_one_host_is_not_taken_for_anothers(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="is not evidence of debian-12"):
        store.load(each(tmp_path, host="debian-12", facts=DEBIAN_13), HardeningRun)


def test_what_is_no_evidence_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = each(tmp_path)
    data = json.loads(path.read_text())
    data["results"][0]["enforcement"] = "perhaps"
    path.write_text(json.dumps(data))
    with pytest.raises(WrongUsage, match=r"\$.results\[0\].enforcement: Invalid enum value 'perhaps'"):
        store.load(path, HardeningRun)
