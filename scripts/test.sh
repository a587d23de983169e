#!/bin/sh
# Run the project's own tests, lint and type checks (nox). They need no host.
#
#     scripts/test.sh [--install] [OPTIONS OF nox]
#
#     --install   install missing Debian packages first, with sudo if you are not root
#     --help      print this help
set -eu
TAKES_INSTALL=yes
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/lib.sh"

if wants_help "$@"; then
    print_help
    exit 0
fi
if [ -n "$WANTS_INSTALL" ]; then
    "$ROOT/scripts/install.sh" python browser
fi
ensure_venv
exec "$VENV/bin/nox" --noxfile "$ROOT/noxfile.py" "$@"
