#!/bin/sh
# Install the Debian packages that this project needs. Root's rights are asked for through sudo where needed.
#
#     scripts/install.sh python   Python and its venv module
#     scripts/install.sh guest    for throwaway hosts: QEMU, mmdebstrap, ssh
#     scripts/install.sh podman   for testing this machine: rootless Podman, and the shim where no other docker is installed
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$0")/lib.sh"

[ $# -gt 0 ] || {
    sed -n 's/^# \{0,1\}//; 2,6p' "$0" >&2
    exit 2
}
if ! command -v apt-get >/dev/null; then
    say "This machine has no apt-get. Install by its own means what these Debian packages have:"
    say "    $GUEST_PACKAGES python3-venv"
    exit $UNUSABLE
fi

packages=""
for set in "$@"; do
    case $set in
        python) packages="$packages python3 python3-venv" ;;
        guest) packages="$packages $GUEST_PACKAGES" ;;
        podman)
            packages="$packages $PODMAN_PACKAGES"
            command -v docker >/dev/null || packages="$packages podman-docker"
            ;;
        *)
            say "There is no package set “$set”: python, guest, podman."
            exit 2
            ;;
    esac
done

missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed$' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

say "Installing:$missing …"
as_root apt-get -qq update
# shellcheck disable=SC2086 # a list of words
as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null
