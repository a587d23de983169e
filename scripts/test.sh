#!/bin/sh
# Run the project's own tests, lint and type checks (nox). They need no host.
#
#     scripts/test.sh [--install] [OPTIONS OF nox]
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$0")/lib.sh"

if [ -n "$WANTS_INSTALL" ]; then
    "$ROOT/scripts/install.sh" python browser
fi
ensure_venv
exec "$VENV/bin/nox" --noxfile "$ROOT/noxfile.py" "$@"
