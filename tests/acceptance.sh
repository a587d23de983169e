#!/bin/sh
# tests/acceptance.sh [--host HOST] [--only PATTERN]... [--timeout-factor N]
#
# The way of a new user, on a throwaway host with an account that nobody has configured: `invoke doctor` finds what is
# wrong, `--fix --yes` fixes it, `inject --install --driver` gives nanoclaw 2.2 its docker, `invoke verify` passes, and
# undoing both restores each file of the home byte for byte.
#
#     --host HOST           a throwaway host with Podman (default: debian-13)
#     --only PATTERN        verify these cases only, as with invoke verify; repeatable
#     --timeout-factor N    multiply every timeout of verify by this number
#     --help                print this help
#
# Exit status: 0 every step ended as it should, 1 one did not, 2 wrong usage, 3 the host can't be used.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/../scripts/lib.sh"
if wants_help "$@"; then
    print_help
    exit 0
fi
ensure_venv
cd "$ROOT"
exec "$VENV/bin/python" -m tests.acceptance "$@"
