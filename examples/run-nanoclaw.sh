#!/bin/sh
# run-nanoclaw.sh [NANOCLAW_DIRECTORY]
#
# Starts nanoclaw's host process for agents on rootless Podman, after checking what it needs. The directory is a built checkout:
# pnpm install && pnpm run build, for nanoclaw 1.x npm ci && npm run build. Default: $NANOCLAW_DIR, then ~/nanoclaw.
# Exit status 3: something is missing, and is named.
#
# nanoclaw's own set-up makes a service instead. Use this script without one, for example where there is no systemd.
set -eu

[ -n "${HOME:-}" ] || {
    echo 'Missing: HOME in the environment' >&2
    exit 3
}
here=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")" && pwd -P)
case ${1:-} in
--help | -h)
    sed -n '2,/^[^#]/{ /^#/!d; s/^# \{0,1\}//; p; }' "$here/run-nanoclaw.sh"
    exit 0
    ;;
esac
case $#:${1:-} in
[01]:[!-]* | [01]:) ;;
*)
    echo "usage: run-nanoclaw.sh [NANOCLAW_DIRECTORY]" >&2
    exit 2
    ;;
esac
directory=${1:-${NANOCLAW_DIR:-$HOME/nanoclaw}}
asks=$here/../fixtures/probe-container.sh
[ -f "$asks" ] || {
    echo "Missing: $asks; run this script where it is in the project, or by a link to it" >&2
    exit 3
}
translating=$HOME/.local/share/nanoclaw-docker # made by: invoke inject --install --driver
missing=0
broken=

# What a program printed, as one line that a terminal can do nothing with but show it: its end, in printable ASCII.
plain() { tail -c 400 | LC_ALL=C tr '\n\t' '  ' | LC_ALL=C tr -c '\40-\176' '?'; }

# The last file of configuration that a message names, if it is there.
named_file() {
    name=$(LC_ALL=C grep -ao '/[^":\\]*\.\(conf\|toml\|json\)' "$1" | tail -n 1) || true
    [ ! -e "$name" ] || printf %s "$name"
}

# A word as any POSIX shell reads it back.
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"; }

lacks() {
    printf 'Missing: %s\n         %s\n' "$1" "$2" >&2
    missing=1
}

warns() { printf 'Note:    %s\n         %s\n' "$1" "$2" >&2; }

# Not in $TMPDIR: before 5.1, Podman refuses directories with long paths.
[ -z "$(find /var/tmp -prune -perm -0002 ! -perm -1000)" ] || {
    echo 'Missing: the sticky bit of /var/tmp: any account can replace files in it; as root: chmod +t /var/tmp' >&2
    exit 3
}
probe=$(mktemp -d /var/tmp/nanoclaw-XXXXXXXXXX) || {
    echo 'Missing: a directory /var/tmp that can be written' >&2
    exit 3
}
remove_probe() { rm -rf "$probe" 2>/dev/null || podman unshare rm -rf "$probe"; }
trap 'trap "" INT TERM HUP; remove_probe' EXIT
trap 'exit 130' INT TERM HUP

# --- Pre-flight checks --------------------------------------------------------------------------------------------------

[ "$(id -u)" -ne 0 ] || lacks "a plain user: rootless Podman belongs to one, and this is root" "su - YOUR_USER"

if ! command -v podman >/dev/null; then
    lacks "podman" "apt-get install podman podman-docker uidmap"
elif ! (ulimit -f 8192 && exec timeout -k 2 60 podman info --format '{{.Host.Security.Rootless}}' >"$probe/rootless" 2>"$probe/error"); then
    file=$(named_file "$probe/error")
    lacks "a Podman that works; podman info prints: $(plain <"$probe/error")" \
        "${file:+correct the file $(quoted "$file" | plain), or move it away; }see docs/TROUBLESHOOTING.md#docker-info-fails"
    broken=yes
elif [ "$(head -c 5 "$probe/rootless")" != true ]; then
    lacks "a rootless Podman" "see docs/TROUBLESHOOTING.md#podman-info-says-rootless-false"
fi

# nanoclaw calls `docker`: another one, earlier on PATH, would be asked in Podman's place. The shim fails where Podman does, and
# prints what Podman prints: that is no other docker.
if ! command -v docker >/dev/null; then
    lacks "docker, which nanoclaw calls" "apt-get install podman-docker"
else
    status=0
    # Neither waits for it without end, nor lets it fill the disk.
    (ulimit -f 64 && exec timeout -k 2 20 docker --version >"$probe/version" 2>"$probe/error") || status=$?
    case $(head -c 400 "$probe/version" | LC_ALL=C tr -d '\0') in
        *podman*) ;;
        "Docker version"*) lacks "the podman-docker shim: $(command -v docker) is Docker's own client" \
            "see docs/TROUBLESHOOTING.md#docker-is-not-the-shim" ;;
        *)
            if [ "$status" -eq 0 ]; then
                lacks "the podman-docker shim: $(command -v docker) is another docker; it prints: $(plain <"$probe/version")" \
                    "see docs/TROUBLESHOOTING.md#docker-is-not-the-shim"
            elif [ -z "$broken" ]; then
                lacks "a docker that works; docker --version exits with status $status and prints: $(plain <"$probe/error")" \
                    "see docs/TROUBLESHOOTING.md#docker-info-fails"
            fi
            ;;
    esac
fi

# An agent runs as this user and writes a directory that is mounted below /workspace. Which of the files and variables of
# configuration decide that, Podman alone knows: a container does the same, of the host's own programs and without an image.
if [ "$missing" -eq 0 ]; then
    write='(: >/workspace/probe/written) 2>/dev/null; true'
    timeout -k 2 120 sh "$asks" "$probe" "" "$write" >"$probe/seen" || true
    settings=${XDG_CONFIG_HOME:-$HOME/.config}/containers
    drop_in=$settings/containers.conf.d/50-nanoclaw.conf
    if ! grep -q '^started' "$probe/seen"; then
        lacks "a container that starts; podman prints: $(sed -n 's/^error	//p' "$probe/seen" | base64 -d | plain)" \
            "see docs/TROUBLESHOOTING.md#the-container-does-not-start"
    elif [ ! -f "$probe/mount/written" ] && [ -f "$drop_in" ]; then
        lacks "userns = \"keep-id\" in effect: agents could not write their workspace, although $drop_in is there" \
            "look for userns in the files after it and for PODMAN_USERNS and CONTAINERS_CONF in the environment"
    elif [ ! -f "$probe/mount/written" ]; then
        lacks "userns = \"keep-id\" in effect: agents could not write their workspace" \
            "mkdir -p $(quoted "${drop_in%/*}") && cp $(quoted "$here/containers.conf.d/50-nanoclaw.conf") $(quoted "$drop_in")"
    fi
fi

# A limit of a controller that this session lacks is refused, or accepted and ignored.
controllers=$(cat "/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/cgroup.controllers" 2>/dev/null || true)
for controller in cpu memory pids; do
    case " $controllers " in
        *" $controller "*) ;;
        *) warns "the control group controller $controller is not this session's: its limit would not hold" \
            "see docs/TROUBLESHOOTING.md#limits-are-accepted-and-ignored" ;;
    esac
done

command -v node >/dev/null || lacks "node, version 20 or newer" "see https://nodejs.org"
if [ ! -f "$directory/src/container-runner.ts" ]; then
    lacks "a nanoclaw checkout in $directory" "name it: $(quoted "$0") DIRECTORY"
else
    build="npm ci && npm run build" # of 1.x
    if [ -f "$directory/pnpm-lock.yaml" ]; then
        build="pnpm install && pnpm run build"
        if [ -x "$translating/docker" ]; then
            PATH=$translating:$PATH
            export PATH
        else
            warns "nanoclaw 2.2 calls docker in ways that Podman does not understand" \
                "install a docker that translates them, with: invoke inject --install --driver"
        fi
        grep -q '^ONECLI_URL=.' "$directory/.env" 2>/dev/null ||
            warns "$directory/.env has no ONECLI_URL: the agents of nanoclaw 2.x get their key from this gateway" "run its set-up"
    fi
    [ -f "$directory/dist/index.js" ] || lacks "a built nanoclaw in $directory" "(cd $(quoted "$directory") && $build)"
    [ -f "$directory/.env" ] || warns "$directory has no .env, from which nanoclaw takes its settings" "run its set-up"
fi

[ "$missing" -eq 0 ] || exit 3
remove_probe
trap - EXIT INT TERM HUP

# --- Hardening ----------------------------------------------------------------------------------------------------------
#
# nanoclaw itself makes the `docker run` command line of its agents. The options that harden it are in docs/SECURITY.md,
# "The recommended set", with what each was seen to do, and on which Podman.
#
# To enable them without a fork: `invoke inject --install`, once; nothing is to be set here then. Or, where userns = "keep-id"
# is not to hold for every container of this user: put examples/injection/docker into a directory of its own, name that directory
# here, and take the # away:
#
# PATH=$HOME/.local/share/nanoclaw-hardening:$PATH
# export PATH
#
# With a fork: examples/injection/container-runner.patch (1.x) or container-runner-2.patch.

CDPATH='' cd -- "$directory"
exec node dist/index.js
