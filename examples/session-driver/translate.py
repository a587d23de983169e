"""Runs Podman's docker command, and translates what nanoclaw 2.2's session driver asks and reads.

Made by `invoke inject --install --driver`.
nanoclaw-podman-verify sha256:7937b0a16951398451404e01a1b0e39795ee3874de835c26c0b07f9efe696daa

    python3 -X utf8 translate.py DOCKER WORD...

Standard library only, Python 3.8 and later. A command that needs no translation replaces this process.
"""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys

ACTIONS = {"died": "die", "remove": "destroy", "exec": "exec_start", "exec_died": "exec_die"}
"""Docker's names of Podman's events; the others are the same."""
STATES = {"configured": "created", "initialized": "created", "stopping": "running", "stopped": "exited"}
"""Docker's names of Podman's states of a container; the others are the same."""
EVENT = "{{json .}}"
STATUS = ("{{.State.Status}}", "{{.State.Status}}|{{.State.ExitCode}}")
CONTAINERS = "{{range .Containers}}{{.Name}} {{end}}"
ARCHITECTURE = re.compile(r"\{\{ ?\.(Server|Client)\.Arch ?\}\}")
FIELD = re.compile(r'\{\{ ?\.(?:(Names)|(State)|Label "([^"]+)") ?\}\}')
STARTS = ("create", "run")
"""The commands that start agents: run at the tag 2.2.0, create since it has a driver."""
ALONE = {
    "--detach",
    "--init",
    "--interactive",
    "--privileged",
    "--read-only",
    "--rm",
    "--tty",
    "-d",
    "-i",
    "-it",
    "-t",
    "-ti",
}
"""Their options that take no value."""
DEAD = "status=dead"
GATEWAY = "host.docker.internal"
"""The alias that nanoclaw gives its credential gateway in the network of agents without egress."""
LIBC = ctypes.CDLL(None)


def main(docker, words):
    """Translate the command, or run it as it is. Returns the exit status."""
    if not words:
        return replaced(docker, words)
    options = _options(_before_image(words) if words[0] in STARTS else words)
    if words[0] == "events" and options.get("--format") == EVENT:
        return events(docker, words)
    if words[0] == "ps":
        return ps(docker, words, options.get("--format", ""))
    if words[0] == "inspect" and options.get("--format") in STATUS:
        return inspect(docker, words)
    if words[:2] == ["network", "inspect"] and options.get("--format") == CONTAINERS and len(words) == 5:
        name = next(word for word in words[2:] if word not in ("--format", CONTAINERS))
        return network(docker, name)
    if words[0] in STARTS and "--network" in options:
        return start(docker, words, options["--network"])
    if words[0] == "version" and ARCHITECTURE.fullmatch(options.get("--format", "")):
        return version(docker, words)
    return replaced(docker, words)


def _before_image(words):
    """The words of docker create or run before the image: those behind it are the container's."""
    end = 1
    while end < len(words) and words[end].startswith("-"):
        end += 1 if words[end] in ALONE or "=" in words[end] else 2
    return words[:end]


def _options(words):
    """The values of long options, in either form; of one that is repeated the last."""
    found = {}
    for word, after in zip(words, [*words[1:], ""]):  # noqa: B905 - strict= needs Python 3.10
        if word.startswith("--"):
            name, joined, value = word.partition("=")
            found[name] = value if joined else after
    return found


def _filters(words):
    """The values of all filters."""
    for word, after in zip(words, [*words[1:], ""]):  # noqa: B905 - strict= needs Python 3.10
        if word in ("--filter", "-f"):
            yield after
        elif word.startswith("--filter="):
            yield word.partition("=")[2]


def _without_dead(words):
    """The words without the filters for the state “dead”."""
    rest = iter(words)
    for word in rest:
        if word == f"--filter={DEAD}":
            continue
        if word in ("--filter", "-f"):
            value = next(rest, "")
            if value != DEAD:
                yield from (word, value)
        else:
            yield word


def replaced(docker, words):
    """Run docker in place of this process."""
    command = [*_program(docker), *words]
    os.execv(command[0], command)  # noqa: S606 - the words are arguments, not a script


def _program(docker):
    """The words that run docker: a script without “#!” needs sh, as shells and Node.js know, and Python does not."""
    try:
        with open(docker, "rb") as file:
            return [docker] if file.read(4).startswith((b"#!", b"\x7fELF")) else ["/bin/sh", docker]
    except OSError:  # a program need not be readable
        return [docker]


def asked(docker, *words, **streams):
    """Run docker, which ends if this process is killed: it would go on, and print to nobody."""
    return subprocess.run([*_program(docker), *words], check=False, preexec_fn=_ended_with_this_process, **streams)


def _ended_with_this_process():
    LIBC.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def events(docker, words):
    """Run docker events, each event in Docker's form, and only those that match every label filter.

    Podman reports what matches one of them.
    """
    labels = [value.partition("=")[2].partition("=")[::2] for value in _filters(words) if value.startswith("label=")]
    process = subprocess.Popen(
        [*_program(docker), *words],
        stdout=subprocess.PIPE,
        preexec_fn=_ended_with_this_process,  # noqa: PLW1509 - there are no threads
    )
    try:
        for line in process.stdout:
            sys.stdout.write(event(line.decode(errors="surrogateescape"), labels))
            sys.stdout.flush()
    except BrokenPipeError:
        process.terminate()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes again at its end
    return _status(process.wait())


def event(line, labels=()):
    """A line of Podman's as one of Docker's, empty if it lacks one of the labels; anything else as it is."""
    podman = parsed(line)
    if not isinstance(podman, dict) or not isinstance(podman.get("Status"), str) or "Action" in podman:
        return line
    found = podman.get("Attributes") or {}
    if not isinstance(found, dict):
        return line
    if any(name not in found or value not in ("", found[name]) for name, value in labels):
        return ""
    action = ACTIONS.get(podman["Status"], podman["Status"])
    identity, image = podman.get("ID", ""), podman.get("Image", "")
    attributes = {**found, "image": image, "name": podman.get("Name", "")}
    attributes.pop("exitCode", None)  # a label of this name, which is not the status
    if "ContainerExitCode" in podman:
        attributes["exitCode"] = str(podman["ContainerExitCode"])
    docker = {
        "status": action,
        "id": identity,
        "from": image,
        "Type": podman.get("Type", ""),
        "Action": action,
        "Actor": {"ID": identity, "Attributes": attributes},
        "scope": "local",
    }
    docker.update({name: podman[name] for name in ("time", "timeNano") if name in podman})
    return json.dumps(docker, separators=(",", ":"), ensure_ascii=False) + "\n"


def ps(docker, words, form):
    """Run docker ps without the state “dead”, which no container of Podman has, and with Docker's fields."""
    kept = list(_without_dead(words))
    dead = len(kept) < len(words)
    others = any(value.startswith("status=") for value in _filters(kept))
    if dead and not others:  # none is; but a docker that fails says so
        return _status(asked(docker, *kept, stdout=subprocess.DEVNULL).returncode)
    fields = FIELD.finditer(form)
    if not any(each[2] or each[3] for each in fields) or "{" in FIELD.sub("", form):
        return replaced(docker, kept)
    as_json = [{form: "json", f"--format={form}": "--format=json"}.get(word, word) for word in kept]
    done = asked(docker, *as_json, stdout=subprocess.PIPE)
    found = parsed(done.stdout.decode(errors="surrogateescape") or "[]")
    if done.returncode != 0 or not isinstance(found, list) or not all(map(_is_container, found)):
        return replaced(docker, kept)
    for each in found:
        print(_rendered(each, form))
    return 0


def parsed(text):
    """The value of a JSON text; None for another text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_container(found):
    """Whether docker ps as JSON has what is rendered of a container."""
    if not isinstance(found, dict):
        return False
    names, labels, state = found.get("Names") or [], found.get("Labels") or {}, found.get("State") or ""
    return (
        (isinstance(names, list) and all(isinstance(each, str) for each in names))
        and isinstance(labels, dict)
        and isinstance(state, str)
    )


def _rendered(container, form):
    def value(field):
        if field[1]:
            return ",".join(container.get("Names") or [])
        if field[2]:
            return STATES.get(container.get("State"), container.get("State") or "")
        return (container.get("Labels") or {}).get(field[3], "")

    return FIELD.sub(value, form)


def inspect(docker, words):
    """Print Docker's names of the states of containers, each at the beginning of a line."""
    done = asked(docker, *words, stdout=subprocess.PIPE)
    for line in done.stdout.decode(errors="surrogateescape").splitlines():
        state, separator, rest = line.partition("|")
        print(STATES.get(state, state) + separator + rest)
    return _status(done.returncode)


def network(docker, name):
    """Print the names of a network's running containers."""
    known = asked(docker, "network", "inspect", name, stdout=subprocess.DEVNULL)
    if known.returncode != 0:
        return _status(known.returncode)
    listed = asked(docker, "ps", "--filter", f"network={name}", "--format", "{{.Names}}", stdout=subprocess.PIPE)
    if listed.returncode == 0:
        print("".join(f"{each} " for each in listed.stdout.decode(errors="surrogateescape").split()))
    return _status(listed.returncode)


def start(docker, words, name):
    """Run docker create or run, with the address of the gateway if a container of the network has its alias.

    Podman gives each container an entry of that name for the host in /etc/hosts, which would hide the alias.
    """
    options = _before_image(words)
    pairs = zip(options, [*options[1:], ""])  # noqa: B905 - strict= needs Python 3.10
    known = any(word.startswith("--add-host") and GATEWAY in word + after for word, after in pairs)
    address = "" if known else _gateway(docker, name)
    return replaced(docker, [words[0], f"--add-host={GATEWAY}:{address}", *words[1:]] if address else words)


def _gateway(docker, name):
    """The address of the running container in a network that has the gateway's alias; empty if there is none."""
    identities = _printed(docker, "ps", "-q", "--filter", f"network={name}").split()
    found = parsed(_printed(docker, "container", "inspect", *identities)) if identities else None
    for container in found if isinstance(found, list) else []:
        try:
            network = container["NetworkSettings"]["Networks"][name]
            if GATEWAY in network["Aliases"]:
                return str(network["IPAddress"])
        except (KeyError, TypeError):
            continue
    return ""


def _printed(docker, *words):
    """What docker prints. Its errors are not shown: inspect fails if one of several containers has gone."""
    done = asked(docker, *words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.decode(errors="surrogateescape")


def version(docker, words):
    """Print the architecture of OsArch, for example amd64 of linux/amd64."""
    done = asked(docker, *(ARCHITECTURE.sub(r"{{.\1.OsArch}}", word) for word in words), stdout=subprocess.PIPE)
    if done.returncode != 0:
        return replaced(docker, words)  # Docker has the field
    print(done.stdout.decode(errors="surrogateescape").strip().rpartition("/")[2])
    return 0


def _status(returncode):
    return 128 - returncode if returncode < 0 else returncode


def _run(docker, words):
    """Run ``main``; an output that can't be written is a failure in one line, with status 1."""
    try:
        status = main(docker, words)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes again at its end
        print(f"docker: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end like docker, without a traceback
    if sys.stdout is None:  # closed by the caller
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the end
    sys.exit(_run(sys.argv[1], sys.argv[2:]))
