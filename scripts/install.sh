#!/bin/sh
# Install the Debian packages that this project needs. Root's rights are asked for through sudo where needed.
#
#     scripts/install.sh python   Python and its venv module
#     scripts/install.sh guest    for throwaway hosts: QEMU, mmdebstrap, ssh; podman, to make agent images
#     scripts/install.sh browser  for the project's own tests: Chromium, which opens the page of the matrix
#     scripts/install.sh podman   for testing this machine: rootless Podman, and the shim where there is no other docker
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$0")/lib.sh"

PYTHON="python3 python3-venv"
GUEST="qemu-system-x86 qemu-utils mmdebstrap openssh-client e2fsprogs podman uidmap util-linux debian-archive-keyring"
BROWSER="chromium fonts-dejavu-core"
PODMAN="podman crun uidmap dbus-user-session busybox-static procps"

# install --install-recommends|--no-install-recommends PACKAGE...: what of these is not installed yet.
install() {
    recommends=$1
    shift
    for package; do
        shift
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed$' || set -- "$@" "$package"
    done
    [ $# -gt 0 ] || return 0
    sudo=""
    if [ "$(id -u)" != 0 ]; then
        sudo=sudo
        command -v sudo >/dev/null || {
            say "Not installed: $*. There is no sudo here; as root, run:"
            say "    apt-get update && apt-get install -y $recommends $*"
            exit "$UNUSABLE"
        }
    fi
    say "Installing: $* ..."
    $sudo apt-get -qq update
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "$recommends" "$@" >/dev/null
}

[ $# -gt 0 ] || {
    sed -n 's/^# \{0,1\}//; 2,7p' "$0" >&2
    exit 2
}
if ! command -v apt-get >/dev/null; then
    say "This machine has no apt-get. Install by its own means what these Debian packages have:"
    say "    $PYTHON $GUEST $PODMAN podman-docker"
    exit "$UNUSABLE"
fi

# shellcheck disable=SC2086 # lists of words
for set in "$@"; do
    case $set in
        python) install --no-install-recommends $PYTHON ;;
        guest) install --no-install-recommends $GUEST ;;
        browser) install --no-install-recommends $BROWSER ;;
        podman)
            # With what Podman recommends: which network helper that is depends on its version.
            install --install-recommends $PODMAN
            command -v docker >/dev/null || install --no-install-recommends podman-docker
            ;;
        *)
            say "There is no package set '$set': python, guest, browser, podman."
            exit 2
            ;;
    esac
done
