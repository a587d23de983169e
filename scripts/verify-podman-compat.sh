#!/bin/sh
# Verify that every Docker CLI pattern nanoclaw uses works on rootless Podman through the podman-docker shim.
#
#     scripts/verify-podman-compat.sh [--install] [OPTIONS OF invoke verify]
#
#     --install   install what is missing first (Debian packages; as a plain user through sudo)
#     --help      print this
#
# Without --install the system is never touched. Everything else is passed on to 'invoke verify'; README.md lists its
# options. Exit status: 0 all passed, 1 a case failed, 2 wrong usage, 3 the host can't be used, 70 a bug in here.
set -eu
TAKES_INSTALL=yes
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$0")/lib.sh"

if wants_help "$@"; then
    print_help
    venv_is_current || exit 0 # help makes no environment
    exec "$VENV/bin/python" "$ROOT/tasks.py" --help verify
fi
if [ -n "$WANTS_INSTALL" ]; then
    "$ROOT/scripts/install.sh" python guest
    # A plain user's own Podman is what they came to test; root has no rootless one.
    [ "$(id -u)" = 0 ] || "$ROOT/scripts/install.sh" podman
fi
ensure_venv
exec "$VENV/bin/python" "$ROOT/tasks.py" verify "$@"
