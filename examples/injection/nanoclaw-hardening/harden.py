"""Hardens nanoclaw's agents. Made by `invoke inject --install`; `invoke inject --uninstall` takes it away.

nanoclaw-podman-verify sha256:fa76311cdf77a71e265c635a59e5cc3401269e151c55e1c47bef5f6c02277b59
An OCI precreate hook: Podman hands it every container's config.json (OCI runtime specification) on standard input and
takes what it prints. A container is an agent's if something is mounted at or below /workspace, or at
/home/node/.claude: nanoclaw does both for each agent. Any other configuration comes out as it went in. Where it does
not understand one, or finds in an agent's what would undo a setting, its status is 1, and Podman starts nothing. The
reason goes to Podman's standard error and to the file last-refusal beside this one; it quotes nothing of the
configuration, which holds the container's environment.

With the word “close” it is a createRuntime hook, added where the settings limit the network. It gets the container's
state, and loads rules into its network namespace.
"""

import contextlib
import json
import os
import re
import sys

CLAUDE, WORKSPACE = "/home/node/.claude", "/workspace"
PERIOD = 100000  # microseconds
HARMLESS = ("/dev/null", "/dev/shm", "/dev/mqueue")  # nanoclaw mounts the first; the others come with the host's IPC


class Refusal(Exception):
    """Why the container is not started, in words of this file and of the settings."""


def without_duplicates(pairs):
    if len(found := dict(pairs)) < len(pairs):
        raise Refusal("the configuration has one key twice")
    return found


def inner(table, name, kind=dict):
    """The table or list of that name, which is made where there is none."""
    if table.get(name) is None:
        table[name] = kind()
    if not isinstance(table[name], kind):
        raise Refusal(f"“{name}” in the configuration is of another kind than expected")
    return table[name]


def normal(path):
    """As the runtime resolves it: absolute, without empty parts, “.” and “..”."""
    return os.path.normpath("/" + path.lstrip("/"))


def within(place, directory):
    return directory in ("/", place) or place.startswith(f"{directory}/")


def strictest(found, wanted):
    """The lower limit. Null, 0 and -1 are none."""
    return min(found, wanted) if type(found) in (int, float) and found > 0 else wanted


def harden(config, wanted):
    process, resources = inner(config, "process"), inner(inner(config, "linux"), "resources")
    process["noNewPrivileges"] = True
    sets = inner(process, "capabilities")
    kept = [each for each in inner(sets, "bounding", list) if each in wanted["capabilities"]]
    sets.update(bounding=kept, effective=[], inheritable=[], permitted=[], ambient=[])
    inner(config, "root")["readonly"] = True
    for place, options in reversed(wanted["tmpfs"].items()):
        mount_tmpfs(config["mounts"], place, options)
    variables = inner(process, "env", list)
    for name, value in wanted["environment"].items():
        variables[:] = [each for each in variables if each.partition("=")[0] != name] + [f"{name}={value}"]
    given = [each["path"] for each in config["linux"].get("devices") or []]
    given += [each["source"] for each in config["mounts"] if each.get("source")]
    real = [os.path.realpath(normal(each)) for each in given]
    if any((within(each, "/dev") or each == "/") and each not in HARMLESS for each in real):
        raise Refusal("it is given a device of the host")
    limit(resources, wanted)
    if wanted.get("network"):
        inner(inner(config, "hooks"), "createRuntime", list).append(wanted["network"]["hook"])


def mount_tmpfs(mounts, place, options):
    """Put it first of all mounts, so that it hides none below it; in the place of a tmpfs that is there already."""
    others = [each for each in mounts if (each["destination"], each.get("type")) != (place, "tmpfs")]
    if any(within(place, each["destination"]) for each in others):
        raise Refusal(f"something is mounted at or above {place} and would hide the tmpfs there")
    words = ["nosuid", "nodev", *options.split(",")]
    mounts[:] = [{"destination": place, "type": "tmpfs", "source": "tmpfs", "options": words}, *others]


def limit(resources, wanted):
    """Set the limits where nothing stricter is set. What is in “unified” would be in force in their place."""
    highest = {}
    if pids := wanted.get("pids"):
        part = inner(resources, "pids")
        highest["pids.max"] = part["limit"] = strictest(part.get("limit"), pids)
    if most := wanted.get("memory"):
        part = inner(resources, "memory")
        part["limit"] = strictest(part.get("limit"), most)
        part["swap"] = max(strictest(part.get("swap"), 2 * part["limit"]), part["limit"])  # both, as podman run sets it
        highest.update({"memory.max": part["limit"], "memory.swap.max": part["limit"]})
    if cpus := wanted.get("cpus"):
        part = inner(resources, "cpu")
        quota, period = strictest(part.get("quota"), 1 << 62), strictest(part.get("period") or PERIOD, 10 * PERIOD)
        if quota / period > cpus:
            quota, period = round(PERIOD * cpus), PERIOD
        part.update(quota=quota, period=period)
        part.pop("burst", None)
        highest.update({"cpu.max": cpus, "cpu.max.burst": 0})
    unified = inner(resources, "unified") if resources.get("unified") is not None else {}
    if not all(re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", name) for name in unified):
        raise Refusal("a key of “unified” in the configuration is not a file's name")
    for name in [each for each in unified if each in highest]:
        found = re.fullmatch(r'"([0-9]{1,19})( [1-9][0-9]{0,18})?"', json.dumps(unified[name]))
        if not found or bool(found[2]) != (name == "cpu.max") or int(found[1]) / int(found[2] or 1) > highest[name]:
            del unified[name]


def hardened(data, wanted):
    """The configuration to print: the same bytes, unless the container is an agent's."""
    config = json.loads(data.decode(), object_pairs_hook=without_duplicates)
    places = [each["destination"] for each in inner(config, "mounts", list)]
    if not any(normal(each) == CLAUDE or within(normal(each), WORKSPACE) for each in places):
        return data
    if any(each != normal(each) for each in places):
        raise Refusal("a mount's destination is not written in its shortest form")
    harden(config, wanted)
    return json.dumps(config, allow_nan=False).encode()


def lines(path):
    with contextlib.suppress(FileNotFoundError), open(path) as file:
        return file.readlines()
    return []


def close(pid, rules):
    """Load the rules, for the host's addresses and the networks of its interfaces as they are now."""
    own = set(re.findall(r"-- ([0-9.]+)\n +/32 host LOCAL", "".join(lines("/proc/net/fib_trie"))))
    for words in map(str.split, lines("/proc/net/route")[1:]):
        target, gateway, mask = (int(words[at], 16).to_bytes(4, sys.byteorder) for at in (1, 2, 7))
        if not any(gateway) and mask[0] == 255:  # a shorter mask is a VPN's for the whole internet
            own.add(f"{'.'.join(map(str, target))}/{bin(int.from_bytes(mask, 'big')).count('1')}")
    six = map(str.split, lines("/proc/net/if_inet6"))
    own6 = {f"{':'.join(re.findall('....', words[0]))}/{int(words[2], 16)}" for words in six}
    for mark, networks in (("@own@", own), ("@own6@", own6)):
        rules = rules.replace(mark, "".join(f"{each}, " for each in sorted(networks)))
    if os.spawnvp(os.P_WAIT, "nsenter", ["nsenter", f"--net=/proc/{pid}/ns/net", "nft", rules]):  # noqa: S606
        raise Refusal("its network can't be closed: nft does not take the rules")


def main(here, closing):
    try:
        with open(f"{here}/settings", "rb") as settings:
            wanted = json.load(settings)
        if closing:
            close(json.load(sys.stdin)["pid"], wanted["network"]["rules"])
        else:
            sys.stdout.buffer.write(hardened(sys.stdin.buffer.read(), wanted))
        return 0
    except Exception as error:  # the text of another one may quote the configuration
        why = error if isinstance(error, Refusal) else f"the hook does not understand it ({type(error).__name__})"
    message = f"nanoclaw hardening: the container was not started: {why}.\n".encode()
    with contextlib.suppress(OSError), open(f"/proc/{os.getppid()}/fd/2", "ab") as terminal:
        terminal.write(message)
    os.umask(0o077)  # only the user may read it. An older file may have another mode: replace it
    with contextlib.suppress(OSError):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{here}/last-refusal")
        with open(f"{here}/last-refusal", "xb") as file:
            file.write(message)
    return 1


if __name__ == "__main__":
    sys.exit(main(os.path.dirname(os.path.abspath(__file__)), sys.argv[1:] == ["close"]))
