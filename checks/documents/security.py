"""``docs/SECURITY.md``: prose in a template; the flags, their verdicts and the recommended line from evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from checks.core.paths import ROOT
from checks.core.rendering import render_template
from checks.documents import injection
from checks.engine import flags
from checks.engine.flags import Hardening
from checks.evidence import store
from checks.evidence.hardening_model import (
    AllFlags,
    BrowserRun,
    BrowserStart,
    CombinedFlags,
    EachFlag,
    FlagRow,
    HardeningRun,
)  # fmt: skip
from checks.hardening.browser import BARE, SET, SET_UNFILTERED, SET_WITHOUT

DOCUMENT = ROOT / "docs" / "SECURITY.md"
_FAILURE = 400  # characters of an agent's failure that the document quotes


def files() -> Mapping[Path, str]:
    """The document."""
    return {DOCUMENT: text(store.committed(HardeningRun), flags.load())}


def text(evidence: Sequence[HardeningRun], hardening: Hardening) -> str:
    """The document."""
    alone = [each for each in evidence if isinstance(each, EachFlag)]
    browsed = [each for each in evidence if isinstance(each, BrowserRun)]
    failures = {where(each): why_not(each.results, hardening) for each in evidence if isinstance(each, AllFlags)}
    return render_template(
        "security.md.j2",
        injection=injection.values(),
        proven=[host for host, why in failures.items() if not why],
        not_proven=[{"host": host, "why": why} for host, why in failures.items() if why],
        recommended=list(_lines(hardening.recommended())),
        rows=list(_rows(alone, hardening)),
        broke=list(_broke(alone, hardening)),
        inconclusive=list(_inconclusive(alone, hardening)),
        hosts=[where(each) for each in alone],
        browser=_browser(browsed),
        chromium=_answer(browsed),
    )


def where(each: HardeningRun) -> str:
    """The host of some evidence, its Podman, and the day."""
    return f"{each.name} (Podman {each.host.version}, {each.started[:10]})"


def why_not(found: CombinedFlags, hardening: Hardening) -> str:
    """Why its evidence does not prove the recommended set; empty if it does."""
    if found.options != hardening.recommended():
        return "measured with another set of flags"
    if found.ok:
        return ""
    reasons = [f"`{row.flag}`: {row.unenforced or row.enforcement}" for row in found.flags if not row.ok]
    if not found.agent.passed:
        reasons.append("no agent answers")
    if failed := [case.label for case in found.cases if case.outcome == "failed" and not case.expected_failure]:
        reasons.append(f"cases fail: {', '.join(failed)}")
    return "; ".join(reasons) or "its browser does not work"


def _lines(options: Sequence[str]) -> Iterator[str]:
    """The options, one a line, each with its value."""
    words = list(options)
    while words:
        word = words.pop(0)
        yield f"{word} {words.pop(0)}" if words and not words[0].startswith("-") else word


def _rows(alone: Sequence[EachFlag], hardening: Hardening) -> Iterator[dict[str, Any]]:
    """A line for each flag, with a cell for each host."""
    for flag in hardening.flags:
        found = [next((row for row in each.results if row.id == flag.id), None) for each in alone]
        stopped = dict.fromkeys(
            attack.id for row in found if row for attack in row.attacks if attack.enforcement == "enforced"
        )
        yield {
            "flag": flag.text,
            "manual": flag.manual,
            "purpose": flag.purpose,
            "attacks": ", ".join(stopped) or ("none" if any(found) else "not measured yet"),
            "cells": [_cell(row, hardening) for row in found],
        }


def _cell(row: FlagRow | None, hardening: Hardening) -> str:
    if row is None:
        return "not run"
    if not row.ok:
        return f"✗ {row.error or row.unenforced or row.enforcement or row.verdict}"
    needed = ", ".join(f"`{_options(hardening, name)}`" for name in row.workarounds)
    return f"✓ with {needed}" if needed else "✓"


def _options(hardening: Hardening, workaround: str) -> str:
    known = {each.id: " ".join(each.options) for flag in hardening.flags for each in flag.workarounds}
    return known.get(workaround, f"{workaround} (no longer listed)")


def _broke(alone: Sequence[EachFlag], hardening: Hardening) -> Iterator[dict[str, Any]]:
    """What broke under a flag alone, each once, with the hosts."""
    because = {each.id: each.because for flag in hardening.flags for each in flag.workarounds}
    seen: dict[str, dict[str, Any]] = {}
    for each in alone:
        for row in each.results:
            failed = next((trial.failure for trial in row.agent if not trial.passed), "")
            if failed and row.workarounds:
                about = {
                    "flag": row.flag,
                    "because": because.get(row.workarounds[0], ""),
                    "failure": _quoted(failed),
                }
                seen.setdefault(row.flag, {**about, "hosts": []})["hosts"].append(each.name)
    yield from seen.values()


def _quoted(failure: str) -> str:
    flat = " ".join(failure.split())
    return f"`{flat[:_FAILURE]}{'…' if len(flat) > _FAILURE else ''}`".replace("|", "\\|")


def _inconclusive(alone: Sequence[EachFlag], hardening: Hardening) -> Iterator[dict[str, Any]]:
    for flag in hardening.flags:
        by_attack: dict[str, list[str]] = {}
        for each in alone:
            for row in each.results:
                for attack in row.attacks if row.id == flag.id else ():
                    if attack.enforcement == "inconclusive":
                        by_attack.setdefault(attack.id, []).append(each.name)
        for id_, hosts in by_attack.items():
            known = hardening.attacks.get(id_)
            yield {"attack": id_, "tries": known.tries if known else "", "flag": flag.text, "hosts": hosts}


def _browser(evidence: Sequence[BrowserRun]) -> dict[str, Any]:
    """How Chromium was started, and the result: a line for each set of flags, a column for each of its own options."""
    cells: dict[str, dict[str, dict[str, list[str]]]] = {}
    for each in evidence:
        for browsed in each.results:
            for start in browsed.starts:
                how = f"`{' '.join(start.arguments)}`" if start.arguments else "as it is"
                results = cells.setdefault(browsed.name, {}).setdefault(how, {})
                results.setdefault(_result(start), []).append(each.name)
    columns = list(dict.fromkeys(how for row in cells.values() for how in row))

    def cell(results: dict[str, list[str]]) -> str:
        if len(results) == 1:
            return next(iter(results))
        return "; ".join(f"{result} ({', '.join(hosts)})" for result, hosts in results.items()) or "not run"

    rows = {what: [cell(row.get(how, {})) for how in columns] for what, row in cells.items()}
    starts = [start for each in evidence for browsed in each.results for start in browsed.starts]
    layers = dict.fromkeys((start.sandbox, start.layers) for start in starts if start.rendered and start.layers)
    return {"hosts": [where(each) for each in evidence], "columns": columns, "rows": rows, "layers": list(layers)}


def _answer(evidence: Sequence[BrowserRun]) -> dict[str, Any]:
    """The results of all hosts on Chromium and its sandbox."""

    def on(what: str) -> list[bool]:
        found = [browsed for each in evidence for browsed in each.results if browsed.name == what]
        return [browsed.starts[0].sandbox == "on" for browsed in found]

    default, chosen, bare, unfiltered = (on(what) for what in (BARE, SET, SET_WITHOUT, SET_UNFILTERED))
    return {
        "asked": [where(each) for each in evidence],
        "default": all(default),
        "broken": not any(bare),
        "cause": all(unfiltered),
        "set": all(chosen),
    }


def _result(start: BrowserStart) -> str:
    if not start.rendered:
        return f"fails: {_quoted(start.failure)}"
    return f"renders, sandbox {start.sandbox}"
