#!/bin/sh
# tests/smoke.sh [--host HOST] [--nanoclaw DIR] [FLAG OF docker run]...
#
# The shortest honest proof that nanoclaw's agent runs: it is started as nanoclaw starts it, with the further flags given,
# and asked. Exit status 0 only when its answer came; 1 when it did not, 2 wrong usage, 3 the host can't be used.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$0")/../scripts/lib.sh"
ensure_venv
cd "$ROOT"
exec "$VENV/bin/python" -m checks.nanoclaw.smoke "$@"
