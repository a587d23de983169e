"""nanoclaw's own code: runs its ``runContainerAgent()`` on the host and records every call of docker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from checks.core.answers import Unreadable, decoded, understood
from checks.core.bounded import parsed
from checks.core.lines import lines_of
from checks.core.paths import FIXTURES
from checks.core.process import Completed, TimedOut
from checks.engine.case_context import CaseContext
from checks.engine.docker import shell
from checks.engine.expect import Mismatch, expect
from checks.nanoclaw import contract
from checks.nanoclaw.agent import Agent
from checks.nanoclaw.checkout import read
from checks.nanoclaw.running import ANSWER_TIMEOUT, ZONE, Question, entry_for, last_output
from checks.nanoclaw.workspace import GROUP, PROJECT, Tree

_FIXTURES = FIXTURES / "nanoclaw"

_NODE = "usr/local/bin/node"
_TYPESCRIPT = "app/node_modules/typescript/lib/typescript.js"

# nanoclaw needs Node.js 22 on its host. If there is none, the one of the agent's image is copied, without a log driver:
# conmon would log 130 MB.
_TOOLS = f"""
cd "$1" && podman run --rm --log-driver none --entrypoint tar "$2" -C / -cf - {_NODE} {_TYPESCRIPT} | tar -xf -
own=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
[ "$own" -lt 22 ] || ln -sf "$(command -v node)" {_NODE}
[ -x {_NODE} ] && [ -s {_TYPESCRIPT} ]
"""

_CALLS = """
for call in "$1"/call-*; do
    [ -d "$call" ] || continue
    base64 -w 0 "$call/argv"
    for file in status digest started ended; do
        printf ' %s' "$(cut -d ' ' -f 1 "$call/$file")"
    done 2>/dev/null
    echo
done
"""


@dataclass(frozen=True)
class Call:
    """A call of docker."""

    argv: Sequence[str]
    status: int
    stdin: str
    """SHA-256 of its stdin; empty without stdin."""
    seconds: float


@dataclass(frozen=True)
class Driven:
    """The result of ``runContainerAgent()``."""

    outputs: Sequence[dict[str, Any]]
    end: dict[str, Any]
    calls: Sequence[Call]


def drive(ctx: CaseContext, agent: Agent, image: str, question: Question) -> Driven:
    """Copy the checkout to the case's directory, and let its code run an agent there."""
    assert agent.checkout
    tree = Tree()
    for part in ("src", "container"):
        tree.copy(agent.checkout / part, f"{PROJECT}/{part}", agent.root)
    tree.file(f"{PROJECT}/package.json", read(agent.checkout / "package.json", agent.root))
    tree.file(f"{PROJECT}/.env", question.env_file, mode=0o600)
    tree.directory(f"{PROJECT}/groups/global", "record", "tools")
    tree.file("driver.mjs", (_FIXTURES / "driver.mjs").read_bytes())
    tree.file("group.json", json.dumps({"name": GROUP, "folder": GROUP, "trigger": "@Andy", "added_at": ""}))
    tree.lay_out(ctx)
    ctx.host.put(f"{ctx.directory}/bin/docker", (_FIXTURES / "docker").read_bytes(), mode=0o755)
    tools = ctx.host.run(shell(_TOOLS, f"{ctx.directory}/tools", image), timeout=60)
    expect(tools.returncode == 0, "Node.js 22 and TypeScript on the host or in the agent's image", tools.stderr.strip())
    script = 'cd "$1/$2" && PATH="$1/bin:$PATH" exec "$1/tools/$3" "$1/driver.mjs" "$1/tools/$4" "$1/group.json"'
    try:
        done = ctx.host.run(
            shell(script, ctx.directory, PROJECT, _NODE, _TYPESCRIPT),
            stdin=json.dumps(contract.message(prompt=question.prompt, group=GROUP, is_main=False)).encode(),
            env={
                "RECORD": f"{ctx.directory}/record",
                "REAL_DOCKER": ctx.facts.docker,
                "TZ": ZONE,
                "CONTAINER_IMAGE": image,
            },
            timeout=3 * ANSWER_TIMEOUT,
        )
    except TimedOut as error:
        raise _failure(error.partial, f"timed out after {error.timeout:g} s") from None
    try:
        outputs, end = understood(returned, done.stdout)
    except Unreadable:
        raise _failure(done, f"node exited with status {done.returncode}") from None
    doing = "reading what docker was called with"
    calls = ctx.host.ask(shell(_CALLS, f"{ctx.directory}/record"), calls_in, doing=doing)
    ctx.record.commands += [Completed(("docker", *each.argv), each.status, b"", b"", each.seconds) for each in calls]
    return Driven(outputs, end, calls)


def returned(text: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The outputs and the end of ``runContainerAgent()``, from what driver.mjs printed. For ``understood``."""
    result = parsed(lines_of(text.strip())[-1])
    outputs, end = result["outputs"], result["end"]
    if not isinstance(outputs, list) or not all(isinstance(each, dict) for each in [*outputs, end]):
        raise TypeError("it is not what runContainerAgent() returns")
    return outputs, end


def _failure(done: Completed, got: str) -> Mismatch:
    stderr = last_output(done)
    return Mismatch(
        "runContainerAgent() to return", f"{got}; stderr of node: {stderr or 'empty'}", fix=entry_for(stderr)
    )


def calls_in(text: str) -> list[Call]:
    """The calls that were recorded. For ``Host.ask``."""
    return [_call(line) for line in lines_of(text)]


def _call(line: str) -> Call:
    argv, status, digest, started, ended = line.split(" ")
    words = decoded(argv).decode().split("\0")[:-1]
    seconds = float(ended) - float(started) if ended else 0.0
    return Call(words, int(status or -1), digest, seconds)
