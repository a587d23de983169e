#!/bin/sh
# Verify that every Docker CLI pattern nanoclaw uses works on rootless Podman through the podman-docker shim.
#
#     scripts/verify-podman-compat.sh [--install] [OPTIONS OF invoke verify]
#
#     --install   install missing Debian packages first, with sudo if you are not root
#     --help      print this help
#
# Without --install, nothing is installed. Other options are passed on to 'invoke verify'.
# Exit status: 0 all passed, 1 a case failed, 2 wrong usage, 3 the host can't be used, 70 a bug in this project.
set -eu
TAKES_INSTALL=yes
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/lib.sh"

if wants_help "$@"; then
    print_help
    venv_is_current || exit 0 # --help creates no environment
    exec_python "$ROOT/tasks.py" --help verify
fi
if [ -n "$WANTS_INSTALL" ]; then
    "$ROOT/scripts/install.sh" python guest
    # A normal user tests their own Podman. Root has no rootless Podman.
    [ "$(id -u)" = 0 ] || "$ROOT/scripts/install.sh" podman
fi
ensure_venv
exec_python "$ROOT/tasks.py" verify "$@"
