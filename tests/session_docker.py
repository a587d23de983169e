"""A podman-docker for the tests of the docker for nanoclaw 2.2."""

from __future__ import annotations

from pathlib import Path

# A podman-docker that keeps what it is asked, has no state “dead” and no Docker fields, and can be told to wait.
DOCKER = r"""
here=$(dirname "$0")
printf '%s\n' "$*" >>"$here/asked"
case "$*" in
"ps "*status=dead*) echo 'Error: unknown container state: dead: invalid argument' >&2; exit 125 ;;
"version "*.Arch*) echo "Error: can't evaluate field Arch" >&2; exit 125 ;;
"version "*.OsArch*) echo linux/amd64 ;;
--version) echo podman version 5.4.2 ;;
"ps -a --filter status=exited --format {{.Names}}") ;;
"events "*)
    cat "$here/events"
    echo $$ >"$here/pid"
    [ ! -e "$here/wait" ] || exec sleep 60
    ;;
"ps "*json*) cat "$here/listed" ;;
"ps -q --filter network="*) echo 6c47 ;;
"container inspect 6c47") cat "$here/attached" ;;
"ps --filter network=net "*) printf 'one\ntwo\n' ;;
"network inspect net") echo '[{}]' ;;
"network inspect "*) echo "Error: network $3 not found" >&2; exit 125 ;;
*) cat; exit 7 ;;
esac
"""


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
