#!/bin/sh
# tests/smoke.sh [--host HOST] [--nanoclaw DIR] [FLAG OF docker run]...
#
# The shortest proof that an agent runs: start it like nanoclaw, with additional flags, and compare its answer with the
# reply of a stub service.
#
#     --host HOST      auto (default), local, ssh://user@host[:port], or a throwaway host (invoke hosts)
#     --nanoclaw DIR   a nanoclaw checkout (default: $NANOCLAW_DIR, ~/nanoclaw, else a stub agent)
#     --help           print this help
#
# Exit status: 0 the agent returned the answer, 1 it did not, 2 wrong usage or a flag that docker refuses, 3 the host can't
# be used or can't start a container with these flags, 70 a bug in this project.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../scripts/lib.sh"
for word; do
    # Anywhere: docker run --help starts no container. But -h alone is help, and `docker run -h NAME` is --hostname.
    if [ "$word" = --help ] || [ "$*" = -h ]; then
        print_help
        exit 0
    fi
done
ensure_venv
# From the caller's directory, which a relative --nanoclaw is about; and nothing of that directory is imported.
PYTHONPATH=$ROOT exec "$VENV/bin/python" -P -m checks.nanoclaw "$@"
