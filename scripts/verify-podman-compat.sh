#!/bin/sh
# Verify that every Docker CLI pattern nanoclaw uses works on rootless Podman through the podman-docker shim.
#
#     scripts/verify-podman-compat.sh [--install] [OPTIONS OF invoke verify]
#
# With --install, what is missing is installed first (Debian packages; as a plain user through sudo). Without it, the
# system is never touched. Everything else is passed on to 'invoke verify'; see --help.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$0")/lib.sh"

if [ -n "$WANTS_INSTALL" ]; then
    "$ROOT/scripts/install.sh" python guest
    # A plain user's own Podman is what they came to test; root has no rootless one.
    [ "$(id -u)" = 0 ] || "$ROOT/scripts/install.sh" podman
fi
ensure_venv
[ "${1-}" != --help ] || exec "$VENV/bin/invoke" --search-root "$ROOT" --help verify
exec "$VENV/bin/invoke" --search-root "$ROOT" verify "$@"
