"""Ways to start an agent's container, or a process in one, that go round the installed configuration; each one tried.

They are documented, not closed: each needs another environment or command than nanoclaw's, or another user of Podman.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from checks.core.process import Completed, TimedOut
from checks.engine import container_state, probe_container
from checks.engine.case_context import CaseContext
from checks.engine.docker import shell
from checks.engine.expect import Mismatch
from checks.evidence.hardening_model import BypassResult
from checks.hardening.injection.settings import Settings, in_force

_TIMEOUT = 60  # seconds

_PREPARE = """
set -e
directory=$1 engine=$2 image=$3 script=$4 name=$5
mount=$directory/mount
own() { "$engine" "$@" run --rm --name "$name" -v "$mount:/workspace/group" "$image" sh -c "$script"; }
"""
_UNHOOKED = "printf '[engine]\\nhooks_dir = []\\n' >\"$directory/own.conf\"\n"
_RUNNING = """
"$engine" run -d --rm --name "$name" -v "$mount:/workspace/group" "$image" sleep 60 >/dev/null
script=$(printf %s "$script" | sed 's#/proc/1/status#/proc/self/status#')
"""
_SOCKET = """
"$engine" system service --time=30 "unix://$directory/s" >/dev/null 2>&1 &
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -S "$directory/s" ] || sleep 1; done
own --url "unix://$directory/s"
kill $! 2>/dev/null
"""
_QUADLET = """
[ -x /usr/lib/systemd/user-generators/podman-user-generator ] || { echo "this Podman has no Quadlet" >&2; exit 1; }
units=$HOME/.config/containers/systemd
mkdir -p "$units"
trap 'rm -f "$units/$name.container"; rmdir "$units" 2>/dev/null; systemctl --user daemon-reload' EXIT
printf '%s' "$script" >"$mount/script"
cat >"$units/$name.container" <<EOF
[Container]
Image=$image
ContainerName=$name
Volume=$mount:/workspace/group
Exec=sh -c "sh /workspace/group/script >/workspace/group/printed"
[Service]
Type=oneshot
EOF
systemctl --user daemon-reload
systemctl --user cat "$name.service" >/dev/null
systemctl --user start "$name.service"
cat "$mount/printed"
"""


@dataclass(frozen=True)
class Bypass:
    """One way. ``script`` runs ``own``, which starts the container, in a changed environment or in another way."""

    name: str
    script: str


BYPASSES = (
    Bypass("nothing changed, for comparison", "own"),
    Bypass("`CONTAINERS_CONF` in the environment", "CONTAINERS_CONF=/dev/null; export CONTAINERS_CONF; own"),
    Bypass(
        "`CONTAINERS_CONF_OVERRIDE` in the environment",
        f"{_UNHOOKED}CONTAINERS_CONF_OVERRIDE=$directory/own.conf; export CONTAINERS_CONF_OVERRIDE; own",
    ),
    Bypass("`XDG_CONFIG_HOME` in the environment", "XDG_CONFIG_HOME=$directory; export XDG_CONFIG_HOME; own"),
    Bypass("`PODMAN_USERNS` in the environment", "PODMAN_USERNS=host; export PODMAN_USERNS; own"),
    Bypass("`podman --hooks-dir`", 'own --hooks-dir "$directory"'),
    Bypass("`podman exec`", f'{_RUNNING}"$engine" exec "$name" sh -c "$script"'),
    Bypass("`podman exec --privileged`", f'{_RUNNING}"$engine" exec --privileged "$name" sh -c "$script"'),
    Bypass("the API socket (`podman system service`)", _SOCKET),
    Bypass("a Quadlet unit", _QUADLET),
)


def measure(ctx: CaseContext, settings: Settings) -> Iterator[BypassResult]:
    """Try each way on a throwaway host where the configuration is installed."""
    for number, each in enumerate(BYPASSES):
        directory = ctx.make(f"bypass-{number}")
        ctx.host.make_directory(f"{directory}/mount")
        name = ctx.name(f"bypass{number}")
        script = shell(_PREPARE + each.script, directory, ctx.facts.engine, ctx.probe, container_state.SCRIPT, name)
        try:
            done = ctx.host.run(script, timeout=_TIMEOUT)
            yield _result(each.name, done, settings, ctx.uid)
        except TimedOut as late:
            yield BypassResult(name=each.name, error=f"timed out after {late.timeout:g} s")
        finally:
            ctx.host.run([ctx.facts.engine, "rm", "-f", name], timeout=_TIMEOUT)


def _result(name: str, done: Completed, settings: Settings, uid: int) -> BypassResult:
    try:
        inside = container_state.parse(done.stdout)
    except (Mismatch, ValueError):
        return BypassResult(name=name, error=probe_container.tail(done.stderr) or f"status {done.returncode}")
    return BypassResult(
        name=name, lacking=[each for each in settings.required() if not in_force(each, settings, inside, uid)]
    )
