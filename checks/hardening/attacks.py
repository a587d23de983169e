"""Attacks, tried inside a container: each succeeds where its flag is not in force, and is refused where it is.

An attack says what it achieved and what it was told. It counts as refused only where it was told so in the words that
the kernel has for it: one that failed for another reason (a program that is missing, a container that did not start)
proves nothing, and is told apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from checks.engine import container_state
from checks.engine.case_context import CaseContext
from checks.engine.container_state import ContainerState
from checks.engine.docker import run, shell
from checks.engine.expect import shown
from checks.hosts.process import Completed, TimedOut

ROOT_USER = "0:0"
"""Attackers are the container's root, where a flag is to hold even against that one."""
PLAIN_USER = "1000:1000"


class AttackOutcome(StrEnum):
    """How an attack ended."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    BROKEN = "could not be tried"


@dataclass(frozen=True)
class Attack:
    """What an attacker does in a container."""

    id: str
    what: str
    """What is tried, in words that go on after “tries to …”."""
    script: str
    """The body of a shell function. ``$1`` is the attack's value; what it prints is kept; status 0 says that the effect
    is there, and that it was looked at."""
    refused: str
    """A regular expression for what an attacker who was refused is told."""
    user: str = ROOT_USER


_ATTACKS = (
    Attack(
        "write-etc",
        "write a file in /etc",
        'echo attack >/etc/attack; [ "$(cat /etc/attack 2>/dev/null)" = attack ]',
        "Read-only file system",
    ),
    Attack(
        "replace-program",
        "put a program into /bin",
        'cp /bin/busybox /bin/busybox-attack; [ "$(/bin/busybox-attack echo here)" = here ]',
        "Read-only file system",
    ),
    Attack(
        "fill-tmp",
        "fill /tmp past its size",
        # A disk that was full before is not the flag's doing: it has to have taken nearly all of it.
        'dd if=/dev/zero of=/tmp/fill bs=1M count="$1"; wrote=$(($(stat -c %s /tmp/fill) >> 20)); rm -f /tmp/fill;'
        'echo "wrote $wrote MiB of $1"; [ "$wrote" -lt "$(($1 * 9 / 10))" ] || echo nearly; [ "$wrote" -eq "$1" ]',
        r"No space left on device(?s:.*)nearly",
    ),
    Attack(
        "chown",
        "give a file to another user",
        ': >/tmp/chown; chown 1:1 /tmp/chown; [ "$(stat -c %u:%g /tmp/chown)" = 1:1 ]',
        "Operation not permitted",
    ),
    Attack(
        "become",
        "become another user of the container",
        'got=$(su node -c "id -u"); echo "$got"; [ "$got" = 1000 ]',
        "Operation not permitted",
    ),
    Attack(
        "mount",
        "mount a filesystem",
        'mkdir -p /tmp/mount; mount -t tmpfs none /tmp/mount; grep " /tmp/mount " /proc/mounts',
        "(?i)operation not permitted|permission denied",
    ),
    Attack("mknod", "make a device", "mknod /tmp/device c 1 3; [ -c /tmp/device ]", "Operation not permitted"),
    Attack(
        "raw-socket",
        "open a raw socket",
        # It says so where no socket can be had; with one it finds that the loopback knows no such question.
        'said=$(arping -c 1 -w 1 -I lo 127.0.0.1 2>&1); echo "$said"; echo "$said" | grep -q -e ARPable -e Sent',
        "Operation not permitted|Permission denied",
    ),
    Attack(
        "setuid-su",
        "become root by a program with the setuid bit",
        'got=$(/probe/setuid/su -c "id -u" root); echo "$got"; [ "$got" = 0 ]',
        "must be suid|Operation not permitted",
        PLAIN_USER,
    ),
    Attack(
        "busy-loops",
        "keep two processors busy",
        # By what the two loops used up, in hundredths of a second, over three seconds. A busy machine gives
        # them little as well: so the kernel has to say that it held them back.
        'used() { cat "/proc/$a/stat" "/proc/$b/stat" | cut -d ")" -f 2 |'
        'awk "{ n += \\$12 + \\$13 } END { print n }"; };'
        'now() { cut -d " " -f 1 /proc/uptime | tr -d .; };'
        'held() { n=$(sed -n "s/^nr_throttled //p" "/sys/fs/cgroup$own/cpu.stat" 2>/dev/null); echo "${n:-0}"; };'
        "(while :; do :; done) & a=$!; (while :; do :; done) & b=$!;"
        "sleep 1; h=$(held); u=$(used); s=$(now); sleep 3; u=$(($(used) - u)); s=$(($(now) - s)); h=$(($(held) - h));"
        'kill "$a" "$b"; echo "$((100 * u / s)) hundredths of a processor, held back $h times";'
        '[ "$((100 * u / s))" -gt 65 ]',
        r"^\d+ hundredths of a processor, held back [1-9]",
    ),
    Attack(
        "allocate",
        "take more memory than the limit",
        'dd if=/dev/zero of=/dev/null bs=24M count=1 && echo 24 MiB fit; dd if=/dev/zero of=/dev/null bs="$1M" count=1;'
        'ended=$?; echo "$1 MiB: status $ended"; [ "$ended" -eq 0 ]',
        r"24 MiB fit(?s:.*)status 137",
    ),
    # The last one of its container: nothing can be started there any more. The subshell ends at the first failed fork.
    Attack(
        "fork-bomb",
        "start processes without end",
        '(n=0; while [ "$n" -lt "$1" ]; do sleep 60 & n=$((n + 1)); echo "$n" >/tmp/forked; done);'
        'read -r n </tmp/forked; echo "started $n of $1"; [ "$n" -eq "$1" ]',
        r"(?i)(can't fork|resource temporarily unavailable)(?s:.*)started \d+ of",
    ),
)

ATTACKS: Mapping[str, Attack] = {attack.id: attack for attack in _ATTACKS}

_FUNCTIONS = "\n".join(f"try_{attack.id.replace('-', '_')}() {{\n{attack.script}\n}}" for attack in _ATTACKS)
_SCRIPT = f"""{container_state.SCRIPT}
{_FUNCTIONS}
for each; do
    printf '==attack %s\\n' "${{each%%=*}}"
    "try_$(echo "${{each%%=*}}" | tr - _)" "${{each#*=}}" 2>&1
    printf '\\n==effect %s\\n' "$?"
done
"""

_TOLD = re.compile(r"^==attack (\S+)\n(.*?)\n==effect (\d+)\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class AttackAttempt:
    """How an attack ended, and what it was told."""

    attack: str
    outcome: AttackOutcome
    said: str


@dataclass(frozen=True)
class AttackResult:
    """A container in which attacks were tried."""

    options: tuple[str, ...]
    """The flags that it had."""
    inside: ContainerState | None
    """What was in force in there; None where it did not start, or was not heard to its end."""
    tried: Mapping[str, AttackAttempt]
    """By the attack's id."""
    trouble: str
    """Why nothing was heard of it, where that is so; what the engine warned of otherwise."""


def attempt(
    ctx: CaseContext, image: str, attacks: Sequence[tuple[str, str]], options: Sequence[str], user: str
) -> AttackResult:
    """Try attacks, each with its value, in one container that has these options of ``docker run``.

    Through the docker under test: what it makes of the options is the question.
    """
    words = [f"{attack}={value}" for attack, value in attacks]
    command = run(image, *shell(_SCRIPT, *words), options=["--rm", "--user", user, *options])
    try:
        done = ctx.docker(command, timeout=60)
    except TimedOut as error:
        done = error.partial
    return heard(done, [attack for attack, _ in attacks], options)


def heard(done: Completed, attacks: Sequence[str], options: Sequence[str]) -> AttackResult:
    """What a container's output says of the attacks that were tried in there."""
    before, begun, rest = done.stdout.partition("==attack ")
    seen: ContainerState | None = None
    trouble = "\n".join(line for line in done.stderr.splitlines() if "Emulate Docker CLI" not in line).strip()
    try:
        seen = container_state.parse(before)
    except ValueError as error:
        trouble = f"status {done.returncode}: {trouble or error}"
    told = {name: judged(ATTACKS[name], int(effect), said) for name, said, effect in _TOLD.findall(begun + rest)}
    why = trouble if seen is None else f"the container ended before, with status {done.returncode}: {trouble}"
    missing = {name: AttackAttempt(name, AttackOutcome.BROKEN, shown(why)) for name in attacks if name not in told}
    return AttackResult(tuple(options), seen, {**told, **missing}, trouble)


def judged(attack: Attack, effect: int, said: str) -> AttackAttempt:
    """How an attack ended: by its effect, and where there is none by what it was told."""
    said = said.strip()
    if effect == 0:
        return AttackAttempt(attack.id, AttackOutcome.SUCCEEDED, said)
    refused = re.search(attack.refused, said, re.MULTILINE)
    return AttackAttempt(attack.id, AttackOutcome.REFUSED if refused else AttackOutcome.BROKEN, said)
