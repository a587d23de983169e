"""The decision record: a section of docs/SECURITY.md, rendered from the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from checks.core.rendering import render_template
from checks.documents.examples import rendered
from checks.hardening.injection import stored
from checks.hardening.injection.settings import Setting, command_line, recommended
from checks.hardening.injection.table import mark, others

TEMPLATE = "security-injection.md.j2"


def values() -> dict[str, Any]:
    """What the section's template finds under the name ``injection``. Raises WrongUsage where evidence can't be
    believed."""
    measured = stored.committed(stored.OPTIONS)
    return {
        "settings": list(Setting),
        "hosts": [_host(each) for each in measured],
        "options": _options(measured),
        "widening": [_widening(each) for each in measured],
        "failing": _failing(measured),
        "proven": [_proof(each) for each in stored.committed(stored.CHECK)],
        "drop_in": rendered()["60-nanoclaw-hardening.conf"],
        "recommended": " ".join(command_line()),
        "left_out": " ".join(word for word in command_line()[1:] if word not in recommended().options),
    }


def section() -> str:
    """The section by itself."""
    return render_template(TEMPLATE, injection=values())


def _host(evidence: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        {
            "id": option["id"],
            "marks": [mark(option["settings"][each]) for each in Setting],
            "others": others(option),
            "refused": option.get("refused", ""),
        }
        for option in evidence["options"]
    ]
    return {"name": evidence["host"]["name"], "version": evidence["host"]["version"], "rows": rows}


def _options(measured: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each option over all hosts: what it sets everywhere, on some Podman, nowhere."""
    found = []
    for option in measured[0]["options"] if measured else []:
        cells = {
            each: {
                of["host"]["version"]: _cell(of, option["id"], each)["in_force"]
                for of in measured
                if _cell(of, option["id"], each)["seen"] != "not tried on this host"
            }
            for each in Setting
        }
        held = {each: [version for version, holds in of.items() if holds] for each, of in cells.items()}
        found.append(
            {
                "id": option["id"],
                "title": option["title"],
                "unmodified": option["unmodified"],
                "told": _told(held, cells),
            }
        )
    return found


def _told(held: Mapping[Setting, list[str]], cells: Mapping[Setting, Mapping[str, bool]]) -> str:
    """What an option sets, by what was measured: ``held`` the versions on which it does, ``cells`` those measured."""
    always = [each for each in Setting if held[each] and len(held[each]) == len(cells[each])]
    if len(always) == len(Setting):
        return "sets all of it, wherever it can be set at all"
    if not any(held.values()):
        return "sets nothing of it anywhere"
    sentences = [f"sets {', '.join(always)} on every Podman"] if always else []
    some: dict[str, list[Setting]] = {}
    for each in Setting:
        if held[each] and each not in always:
            some.setdefault(", ".join(held[each]), []).append(each)
    sentences += [f"{', '.join(settings)} only on {versions}" for versions, settings in some.items()]
    if never := [each for each in Setting if not held[each]]:
        sentences.append(f"nowhere {', '.join(never)}")
    return "; ".join(sentences) if always else f"sets {'; '.join(sentences)}"


def _cell(evidence: Mapping[str, Any], option: str, setting: Setting) -> Mapping[str, Any]:
    row = next(each for each in evidence["options"] if each["id"] == option)
    cell: Mapping[str, Any] = row["settings"][setting]
    return cell


def _widening(evidence: Mapping[str, Any]) -> dict[str, str]:
    before, after = (_cell(evidence, each, Setting.CAPABILITIES)["seen"] for each in ("nothing", "A-replace"))
    told = "the same" if before == after else "wider"
    return {"name": evidence["host"]["name"], "before": before, "after": after, "told": told}


def _failing(measured: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"what": what, "how": [_short(each["failing"].get(what, "not tried")) for each in measured]}
        for what in (measured[0]["failing"] if measured else {})
    ]


def _short(outcome: str) -> str:
    """An outcome without the words that differ from run to run."""
    return outcome.partition(":")[0]


def _proof(evidence: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": evidence["host"]["name"],
        "version": evidence["host"]["version"],
        "agent": evidence["agent"],
        "held": [each for each in evidence["findings"] if each["held"]],
        "failed": [each for each in evidence["findings"] if not each["held"]],
        "missing": evidence["missing"],
    }
