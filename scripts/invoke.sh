#!/bin/sh
# Run invoke with this project's tasks from any directory: scripts/invoke.sh [TASK] [OPTIONS]. Same as .venv/bin/invoke.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/lib.sh"
ensure_venv
exec_python "$ROOT/tasks.py" "$@"
