"""A whole nanoclaw 2.x on a host: its own set-up steps, its service, and its CLI channel."""

from __future__ import annotations

import contextlib
import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from checks.core.lines import blocks_of, lines_of
from checks.core.polling import poll
from checks.core.process import Completed, TimedOut
from checks.engine.case_context import DOCKER_OF_SERVICE
from checks.engine.docker import Record, shell
from checks.engine.expect import Mismatch, expect
from checks.hosts.base import Host
from checks.nanoclaw.gateway import Gateway
from checks.nanoclaw.running import ZONE
from checks.nanoclaw.service import Conversation

DESTINATION = "local-cli"
"""The name of the CLI channel among an agent's destinations."""

_STEP_TIMEOUT = 60.0  # seconds on ordinary hardware
_START_TIMEOUT = 60.0  # seconds on ordinary hardware
_ASK_TIMEOUT = 180.0  # seconds; nanoclaw's own client gives up after 120
_GAVE_UP = "timeout: no reply"
"""What the client prints then."""
_LOG = 65536  # bytes that are read of the end of a log
_LINE = 300  # characters of a log's line in a message
_RUNNING = "NanoClaw running"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_STATUS, _STATUS_END = re.compile(r"=== NANOCLAW SETUP: \w+ ==="), re.compile("=== END ===")
_MESSAGES, _ERRORS = "logs/nanoclaw.log", "logs/nanoclaw.error.log"
_CAUSES = re.compile(r"Fatal error|stderrTail|wakeContainer failed|Error: |FATAL|readonly database", re.IGNORECASE)
"""Lines of the error log that explain why no answer comes."""

_LOG_END = 'tail -c "+$2" -- "$1" | tail -c "$3"'
_NANOCLAW_RUNS = 'grep -c -F -- "$1" "$2" 2>/dev/null || true'

_AGENT_LOGS = """
for name in $("$1" ps -a --filter "label=nanoclaw-install=$2" --format '{{.Names}}'); do
    "$1" logs --tail 6 "$name" 2>&1 | cut -c 1-300
done
"""

# Podman's state is in TMPDIR where there is no XDG_RUNTIME_DIR: another TMPDIR would be another Podman.
_UNUSABLE = """
for own in "$HOME"/.local/bin/ncl "$HOME"/.config/systemd/user/*nanoclaw*; do
    if [ -e "$own" ] || [ -L "$own" ]; then printf '%s is there\n' "$own"; fi
done
[ "$(id -u)" -eq 0 ] || [ -n "${XDG_RUNTIME_DIR:-}" ] || echo 'XDG_RUNTIME_DIR is not set'
"""

_REMOVE_AGENTS = """
ids=$("$1" ps -aq --filter "label=nanoclaw-install=$2")
[ -z "$ids" ] || "$1" rm -f -t 0 $ids >/dev/null
"""

_REMOVE = f"""{_REMOVE_AGENTS}
engine=$1 install=$2 project=$3
image=nanoclaw-agent-v2-$install
! "$engine" image inspect "$image" >/dev/null 2>&1 || "$engine" rmi -f "$image" >/dev/null
case $(readlink "$HOME/.local/bin/ncl") in "$project"/*) rm -f -- "$HOME/.local/bin/ncl" ;; esac
"""


_LEFT = """
engine=$1 install=$2 directory=$3 unit=$4
for path in "$directory" "$unit"; do [ ! -e "$path" ] || printf 'file %s\\n' "$path"; done
"$engine" ps -a --filter "label=nanoclaw-install=$install" --format 'container {{.Names}}'
! "$engine" image inspect "nanoclaw-agent-v2-$install" >/dev/null 2>&1 || echo "image nanoclaw-agent-v2-$install"
pgrep -u "$(id -u)" -a -f -- "[${directory%"${directory#?}"}]${directory#?}/nanoclaw" | sed 's/^/process /'
"""
"""Prints a line for each object. The pattern of pgrep does not match its own command line."""


class ServiceControl(ABC):
    """How the host process of nanoclaw is started and stopped."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation

    @abstractmethod
    def start(self) -> None:
        """Start the host process."""

    @abstractmethod
    def stop(self) -> None:
        """Stop the host process as its user would."""

    @abstractmethod
    def main_process(self) -> int:
        """The id of the host process; 0 if it does not run."""

    @abstractmethod
    def remove(self) -> None:
        """Stop the host process, and remove what starts it."""

    def kill(self) -> None:
        """Kill the host process."""
        process = self.main_process()
        expect(process > 0, "a running host process of nanoclaw", "none")
        killed = self.installation.noted(["kill", "-KILL", str(process)])
        expect(killed.returncode == 0, f"process {process} of nanoclaw to be killed", killed.stderr)


class UnitControl(ServiceControl):
    """The user unit that nanoclaw's set-up writes."""

    def _systemctl(self, *words: str) -> Completed:
        return self.installation.noted(["systemctl", "--user", *words], timeout=60)

    def start(self) -> None:
        done = self._systemctl("start", self.installation.unit)
        expect(done.returncode == 0, f"{self.installation.unit} to start", done.stderr)

    def stop(self) -> None:
        done = self._systemctl("stop", self.installation.unit)
        expect(done.returncode == 0, f"{self.installation.unit} to stop", done.stderr)

    def main_process(self) -> int:
        printed = self._systemctl("show", "--property=MainPID", "--value", self.installation.unit).stdout.strip()
        return int(printed) if printed.isdecimal() else 0

    def remove(self) -> None:
        self._systemctl("disable", "--now", self.installation.unit)
        home = self.installation.host.facts().home
        unit = f"{home}/.config/systemd/user/{self.installation.unit}.service"
        self.installation.host.run(["rm", "-f", "--", unit])
        self._systemctl("daemon-reload")


class WrapperControl(ServiceControl):
    """The script and the pid file that nanoclaw's set-up writes on hosts without systemd."""

    def start(self) -> None:
        # No unit has a drop-in here: the docker of `invoke inject --install --driver` goes on the script's PATH.
        docker = f"{self.installation.host.facts().home}/{DOCKER_OF_SERVICE}"
        script = "PATH=${PATH%%:*}:$1:${PATH#*:}; exec ./start-nanoclaw.sh"
        self.installation.run(shell(script, docker), timeout=30)

    def stop(self) -> None:
        if process := self.main_process():
            self.installation.noted(["kill", str(process)])
            bound = _START_TIMEOUT * self.installation.slowness
            expect(
                poll(lambda: not self.main_process(), timeout=bound, interval=0.3),
                "nanoclaw's host process to end",
                f"it runs {bound:g} s after SIGTERM",
            )

    def main_process(self) -> int:
        script = 'pid=$(cat "$1/nanoclaw.pid") && kill -0 "$pid" && echo "$pid"'
        printed = self.installation.host.run(shell(script, self.installation.project)).stdout.strip()
        return int(printed) if printed.isdecimal() else 0

    def remove(self) -> None:
        if process := self.main_process():
            self.installation.noted(["kill", "-KILL", str(process)])


class Installation:
    """A whole nanoclaw on a host's account, below a private directory.

    ``directory`` is the unpacked kit on the host, ``image`` the agent's image there, ``app_port`` the port of the
    gateway's app there.
    """

    def __init__(
        self, host: Host, directory: str, *, image: str, gateway: Gateway, app_port: int, slowness: float = 1.0
    ) -> None:
        self.host = host
        self.slowness = slowness
        self.gateway = gateway
        self.image = image
        self.directory = directory
        self.project = f"{directory}/nanoclaw"
        self.record = Record()
        """Where its commands are recorded: the record of the case that uses it."""
        self.slug = hashlib.sha1(self.project.encode(), usedforsecurity=False).hexdigest()[:8]
        self.unit = f"nanoclaw-v2-{self.slug}"
        self.tag = f"localhost/nanoclaw-agent-v2-{self.slug}:latest"
        """The name of the image that nanoclaw builds."""
        self._app_port = app_port
        self._temporary = f"{directory}/temporary"
        self._errors_before = 0  # bytes of the error log before the last message
        self.control: ServiceControl = UnitControl(self) if host.facts().init == "systemd" else WrapperControl(self)

    def write_env(self, further: Mapping[str, str] | None = None) -> None:
        """Write its .env, with further settings."""
        settings = {
            "ONECLI_URL": f"http://127.0.0.1:{self._app_port}",
            "ONECLI_API_KEY": self.gateway.api_key,
            "TZ": ZONE,
            **(further or {}),
        }
        text = "".join(f"{key}={value}\n" for key, value in settings.items())
        self.host.put(f"{self.project}/.env", text.encode(), mode=0o600)

    def write_settings(self) -> None:
        """Make its directory for temporary files; write its .env, and a Dockerfile in place of its own.

        Its own is built on this machine, by another case: on an emulated host it would take half an hour.
        """
        self.write_env()
        self.host.put(f"{self.project}/container/Dockerfile", f"FROM {self.image}\n".encode())
        self.host.run_checked(["mkdir", "--", self._temporary], doing="making a directory for temporary files")

    def run(self, argv: Sequence[str], *, timeout: float) -> Completed:
        """Run a command in the project's directory, with Node.js and pnpm on PATH, and with a TMPDIR of its own.

        tsx and Node.js run code that they find in directories of TMPDIR with known names, whoever owns them; and the
        gateway's certificate has a fixed name there, which the account's own nanoclaw uses, too.
        """
        path = f"PATH={self.directory}/bin:/usr/local/bin:/usr/bin:/bin"
        return self.noted(["env", "-C", self.project, path, f"TMPDIR={self._temporary}", *argv], timeout=timeout)

    def noted(self, argv: Sequence[str], *, timeout: float = 20) -> Completed:
        """Run a command of the installation's user, and record it."""
        try:
            done = self.host.run(argv, timeout=timeout * self.slowness / self.host.slowness)
        except TimedOut as error:
            self.record.commands.append(error.partial)
            raise
        self.record.commands.append(done)
        return done

    def step(self, name: str, *options: str, timeout: float = _STEP_TIMEOUT) -> Mapping[str, str]:
        """Run a step of nanoclaw's set-up; what it reports. Raises Mismatch unless it reports success."""
        what = f"nanoclaw's set-up step {name}"
        try:
            done = self.run(["pnpm", "exec", "tsx", "setup/index.ts", "--step", name, *options], timeout=timeout)
        except TimedOut as error:
            raise Mismatch(f"{what} to end", f"timed out after {error.timeout:g} s") from error
        _, reported, _ = next(blocks_of(done.stdout, _STATUS, _STATUS_END), ("", "", ""))
        status = dict(line.split(": ", 1) for line in lines_of(reported) if ": " in line)
        if done.returncode != 0 or status.get("STATUS") != "success":
            got = _tail(f"{done.stdout}\n{done.stderr}")
            raise Mismatch(f"{what} to succeed", f"status {done.returncode}: {got}")
        return status

    def starts(self, by: Host | None = None) -> int:
        """How often the host process has reported that it runs; read by another account of the host if given."""
        done = (by or self.host).run(shell(_NANOCLAW_RUNS, _RUNNING, f"{self.project}/{_MESSAGES}"))
        return int(done.stdout.strip() or 0)

    def await_start(self, before: int, by: Host | None = None) -> None:
        """Wait until the host process reports that it runs, once more than ``before``; read as in ``starts``."""
        bound = _START_TIMEOUT * self.slowness
        if not poll(lambda: self.starts(by) > before, timeout=bound, interval=0.5):
            raise Mismatch(f"“{_RUNNING}” in nanoclaw's log within {bound:g} s", self.causes() or "no such line")

    def ask(self, prompt: str, conversation: Conversation, answer: str) -> None:
        """Send a message through nanoclaw's own CLI client. Fail unless it prints exactly the answer."""
        self.gateway.conversation = conversation
        self.gateway.connected.clear()
        errors = self.host.run(shell('stat -c %s -- "$1"', f"{self.project}/{_ERRORS}")).stdout.strip()
        self._errors_before = int(errors) if errors.isdecimal() else 0
        done = self._chat(prompt)
        printed = done.stdout.strip()
        if self.slowness > 1 and _GAVE_UP in done.stderr:
            done = self._chat(prompt)  # the client's limit is for ordinary hardware; both messages may be answered now
            printed = "\n".join(dict.fromkeys(lines_of(done.stdout.strip())))
        if printed != answer:
            got = printed or f"no answer ({_tail(done.stderr, 2)})"
            causes = f"{self.reached()}\n{self.causes()}".strip()
            raise Mismatch(f"the service's own words, “{answer}”", f"{got}\n{causes}")
        expect(
            any(prompt in asked for asked in conversation.asked),
            f"the service to be asked “{prompt}”",
            f"{len(conversation.asked)} requests without it",
        )

    def _chat(self, prompt: str) -> Completed:
        """Run nanoclaw's CLI client with a message."""
        try:
            return self.run(["pnpm", "--silent", "run", "chat", prompt], timeout=_ASK_TIMEOUT)
        except TimedOut as error:
            return error.partial

    def reached(self) -> str:
        """How far the agent's requests came."""
        talk = self.gateway.conversation
        if talk and talk.asked:
            return f"The service received {len(talk.asked)} requests and answered."
        if self.gateway.connected:
            return "The gateway connected the agent, but this message did not reach the service."
        return "No agent reached the gateway's proxy."

    def causes(self) -> str:
        """What nanoclaw's logs and its agents say about a missing answer; empty if nothing."""
        found = []
        for log, first in ((_MESSAGES, 0), (_ERRORS, self._errors_before)):
            text = self.host.run(shell(_LOG_END, f"{self.project}/{log}", str(first + 1), str(_LOG))).stdout
            lines = [line.strip()[:_LINE] for line in lines_of(_COLOURS.sub("", text)) if line.strip()]
            if log == _ERRORS:
                lines = [line for line in lines if _CAUSES.search(line)]
            found += [f"{log}: {line}" for line in dict.fromkeys(lines[-4:])]
        agents = self.host.run(shell(_AGENT_LOGS, self.host.facts().engine, self.slug), timeout=30).stdout
        found += [f"agent: {line[:_LINE]}" for line in lines_of(agents)[-4:]]
        return "\n".join(found)

    def agents(self, *, running: bool = True) -> list[str]:
        """The names of this installation's agent containers."""
        engine = self.host.facts().engine
        listed = [engine, "ps", *([] if running else ["-a"]), "--filter", f"label=nanoclaw-install={self.slug}"]
        return self.host.ask([*listed, "--format", "{{.Names}}"], str.split, doing=f"“{engine} ps”")

    def remove_agents(self) -> None:
        """Remove all agent containers."""
        script = shell(_REMOVE_AGENTS, self.host.facts().engine, self.slug)
        self.host.run_checked(script, timeout=60, doing="removing nanoclaw's agents")

    def remove(self) -> None:
        """Remove the service, the agents, the image and all files. What takes too long is left to the run's cleanup."""
        with contextlib.suppress(TimedOut):
            self.control.remove()
            self.host.run(shell(_REMOVE, self.host.facts().engine, self.slug, self.project), timeout=60)
            self.host.run(["rm", "-rf", "--", self.directory], timeout=60)

    def left(self) -> list[str]:
        """What is there of the installation: directory, unit, host process, containers and image."""
        engine, home = self.host.facts().engine, self.host.facts().home
        script = shell(_LEFT, engine, self.slug, self.directory, f"{home}/.config/systemd/user/{self.unit}.service")
        return self.host.ask(script, lines_of, doing="looking for what is left of nanoclaw")


def unusable(host: Host) -> str:
    """Why nanoclaw's set-up must not run on an account that is not a throwaway one; empty if it can.

    It exchanges the link ``ncl`` of a nanoclaw that is there, and removes units that it takes for dead.
    """
    if host.facts().init == "systemd":
        return "nanoclaw's set-up would change this account's services"
    return next(iter(host.ask(shell(_UNUSABLE), lines_of, doing="looking for another nanoclaw")), "")


def _tail(text: str, lines: int = 6) -> str:
    """The last lines of an output, without colours."""
    kept = [line.strip()[:_LINE] for line in lines_of(_COLOURS.sub("", text)) if line.strip()]
    return ("… " if len(kept) > lines else "") + " / ".join(kept[-lines:])
