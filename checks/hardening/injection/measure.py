"""What each option sets on a host, seen from inside containers that are started as nanoclaw starts its agents."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from checks.core.progress import Progress
from checks.engine import container_state, probe_image
from checks.engine.case_context import CaseContext
from checks.engine.docker import Record
from checks.engine.prepared_host import PreparedHost
from checks.hardening.injection import install
from checks.hardening.injection.options import NOTHING, Arrangement, Option, known
from checks.hardening.injection.settings import Setting, in_force, seen
from checks.hardening.injection.state import Found, look
from checks.hosts.process import Completed, TimedOut
from checks.nanoclaw import contract
from checks.nanoclaw.contract import Mount

_AGENT, _OTHER = "agent", "other"


@dataclass(frozen=True)
class InjectionTrial:
    """One container under an arrangement: what it saw of itself, or how docker ended without."""

    inside: container_state.ContainerState | None
    said: str = ""


class InjectionTrials:
    """Containers on the default account of a stage."""

    def __init__(self, prepared: PreparedHost) -> None:
        self.ctx = CaseContext(prepared.host, prepared.owner, "injection", Record())
        self.found: Found = look(prepared.host)
        directory = self.ctx.make("group")
        self._mounts = {
            _AGENT: [Mount(directory, "/workspace/group"), Mount(self.ctx.make("claude"), "/home/node/.claude")],
            _OTHER: [Mount(directory, "/data")],
        }
        self._made = 0

    def run(self, arrangement: Arrangement, kind: str = _AGENT, more: Sequence[Mount] = ()) -> InjectionTrial:
        """A container of nanoclaw's, or of someone else's; ``more`` mounts than usual."""
        self._made += 1
        name = f"{'nanoclaw-family' if kind == _AGENT else 'someone-else'}-{time.time_ns() // 1_000_000 + self._made}"
        asked = contract.run_streams(
            name=name, zone="America/New_York", uid=self.ctx.uid, gid=self.ctx.facts.gid,
            mounts=[*self._mounts[kind], *more], image=self.ctx.agent,
        )  # fmt: skip
        words = asked.with_options(["--label", f"{probe_image.LABEL}={self.ctx.run}", *arrangement.options]).words
        env = [f"{name}={value}" for name, value in arrangement.env.items()]
        argv = [*arrangement.engine, *words, *container_state.argv()]
        script = 'PATH=${1:+$1:}$PATH; export PATH; shift; exec env "$@"'
        try:
            done = self.ctx.host.run(["sh", "-c", script, "sh", arrangement.path, *env, *argv], timeout=40)
        except TimedOut as late:
            return InjectionTrial(None, f"did not end within {late.timeout:g} s")
        try:
            return InjectionTrial(container_state.parse(done.stdout))
        except ValueError:
            return InjectionTrial(None, _last_line(done))


def measured(prepared: PreparedHost, progress: Progress) -> dict[str, Any]:
    """Every option on this host, as evidence has it."""
    trials = InjectionTrials(prepared)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with progress.step("Measuring without any option"):
        plain = {kind: trials.run(Arrangement(), kind) for kind in (_AGENT, _OTHER)}
    rows = [_row(trials, NOTHING, plain[_AGENT], plain[_OTHER], plain[_OTHER])]
    for option in known():
        with progress.step(f"Measuring option {option.id}: {option.title}"):
            rows.append(_option(trials, option, plain[_OTHER]))
    with progress.step("Measuring what happens when a part of E is missing or broken"):
        failing = _failing(trials)
    host = {"name": prepared.host.name, "profile": prepared.profile, **trials.ctx.facts.as_json()}
    return {"host": host, "started": started, "options": rows, "failing": failing}


def _failing(trials: InjectionTrials) -> dict[str, str]:
    """What becomes of an agent's container when the hook can't do its work."""
    hook, hook_json, drop_in = trials.found.wanted
    broken = {
        "the hook's script is missing": [hook_json, drop_in],
        "the hook's script fails": [replace(hook, data=b"exit 1\n"), hook_json, drop_in],
        "the hook's script prints nothing": [replace(hook, data=b"exit 0\n"), hook_json, drop_in],
        "the hook's JSON is broken": [hook, replace(hook_json, data=b"{"), drop_in],
        "the hook's JSON is missing": [hook, drop_in],
        "the hook's directory is missing": [drop_in],
        "the drop-in is broken": [hook, hook_json, replace(drop_in, data=b"[engine")],
    }
    told = {}
    for what, files in broken.items():
        with Arranged(trials, Arrangement(files=files)) as arrangement:
            told[what] = _outcome(trials, trials.run(arrangement))
    with Arranged(trials, Arrangement(files=trials.found.wanted)) as arrangement:
        clash = Mount(trials.ctx.make("tmp"), "/tmp")  # noqa: S108 - the container's
        told["a directory of the host is mounted at /tmp"] = _outcome(trials, trials.run(arrangement, more=[clash]))
    return told


def _outcome(trials: InjectionTrials, trial: InjectionTrial) -> str:
    if trial.inside is None:
        return f"no container starts: {trial.said}"
    lacking = [
        setting
        for setting in trials.found.settings.wanted()
        if not in_force(setting, trials.found.settings, trial.inside, trials.ctx.uid)
    ]
    return f"the container starts without {', '.join(lacking)}" if lacking else "the container starts, hardened"


def _option(trials: InjectionTrials, option: Option, untouched: InjectionTrial) -> dict[str, Any]:
    wanted = trials.found.settings.wanted()
    with Arranged(trials, option.arrange(trials.found, wanted)) as arrangement:
        whole = trials.run(arrangement)
        # What stands in nanoclaw's own command is in no other; what is in its environment or in files may be.
        apart = whole.inside is None or not option.unmodified
        other = untouched if apart else trials.run(arrangement, _OTHER)
    if whole.inside is not None:
        return _row(trials, option, whole, other, untouched)
    # Something in it is refused as a whole: which part it is, each part alone tells.
    row = {"id": option.id, "title": option.title, "unmodified": option.unmodified, "refused": whole.said}
    parts: dict[str, Any] = {}
    for setting in wanted:
        with Arranged(trials, option.arrange(trials.found, [setting])) as arrangement:
            part = trials.run(arrangement)
        if part.inside is None and part.said == whole.said:
            parts = {each: _cell(trials, each, whole) for each in wanted}
            break  # it is the way that is refused, and not what it sets
        parts[setting] = _cell(trials, setting, part)
    absent = {each: {"in_force": False, "seen": "not tried on this host"} for each in Setting}
    return {**row, "settings": {**absent, **parts}, "others": "not tried"}


def _row(
    trials: InjectionTrials, option: Option, trial: InjectionTrial, other: InjectionTrial, untouched: InjectionTrial
) -> dict[str, Any]:
    return {
        "id": option.id,
        "title": option.title,
        "unmodified": option.unmodified,
        "settings": {setting: _cell(trials, setting, trial) for setting in Setting},
        "others": _others(other, untouched),
    }


def _cell(trials: InjectionTrials, setting: Setting, trial: InjectionTrial) -> Mapping[str, Any]:
    if trial.inside is None:
        return {"in_force": False, "seen": "", "refused": trial.said}
    held = in_force(setting, trials.found.settings, trial.inside, trials.ctx.uid)
    return {"in_force": held, "seen": seen(setting, trial.inside)}


def _others(other: InjectionTrial, untouched: InjectionTrial) -> str:
    """What the option does to a container that is not nanoclaw's, beside what it is without any option."""
    if other.inside is None:
        return f"refused: {other.said}"
    assert untouched.inside, untouched.said
    changed = [each for each in Setting if seen(each, other.inside) != seen(each, untouched.inside)]
    return ", ".join(changed) or "untouched"


def _last_line(done: Completed) -> str:
    lines = [
        line for line in (done.stderr.strip() or done.stdout.strip()).splitlines() if not line.startswith("Emulate")
    ]
    ours = [line for line in lines if line.startswith("nanoclaw hardening: ")]
    return f"status {done.returncode}: {(ours or lines or ['without a word'])[-1][:300]}"


class Arranged:
    """An arrangement, in place within the block."""

    def __init__(self, trials: InjectionTrials, arrangement: Arrangement) -> None:
        self._trials = trials
        self._arrangement = arrangement

    def __enter__(self) -> Arrangement:
        if self._arrangement.files:
            install.place(self._trials.ctx.host, list(self._arrangement.files)).settle()
        return self._arrangement

    def __exit__(self, *_: object) -> None:
        if self._arrangement.files:
            paths = [file.path for file in self._arrangement.files]
            install.remove(self._trials.ctx.host, self._trials.found, paths)
