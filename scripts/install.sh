#!/bin/sh
# Install the Debian packages that this project needs, with sudo if you are not root.
#
#     scripts/install.sh python   Python and its venv module
#     scripts/install.sh guest    for throwaway hosts: QEMU, mmdebstrap, ssh, and podman for building agent images
#     scripts/install.sh emulator for throwaway hosts without KVM on Debian 12: QEMU from backports, 20 % faster
#     scripts/install.sh browser  for the project's own tests: Chromium
#     scripts/install.sh podman   for testing this machine: rootless Podman, and the shim if there is no docker
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$0")/lib.sh"

PYTHON="python3 python3-venv"
GUEST="qemu-system-x86 qemu-utils mmdebstrap openssh-client e2fsprogs podman uidmap util-linux debian-archive-keyring"
BROWSER="chromium fonts-dejavu-core"
PODMAN="podman crun uidmap dbus-user-session busybox-static procps"

# Print the command that gives root's rights, if needed. Without sudo, print the arguments as commands for root and exit.
rights() {
    [ "$(id -u)" = 0 ] && return
    command -v sudo || {
        say "sudo is not installed. Run as root:"
        for line; do say "    $line"; done
        exit "$UNUSABLE"
    }
}

# install --install-recommends|--no-install-recommends PACKAGE...: install the missing ones of these.
install() {
    recommends=$1
    shift
    for package; do
        shift
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed$' || set -- "$@" "$package"
    done
    [ $# -gt 0 ] || return 0
    say "Installing: $* ..."
    sudo=$(rights "apt-get update && apt-get install -y $recommends $*") || exit $?
    apt_get update
    apt_get install -y "$recommends" "$@" >/dev/null
}

# Run apt-get with root's rights; it exits with 100 for any error.
apt_get() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" && return
    say "apt-get $1 failed with status $?; see above. If another apt holds the lock, run this again after it has finished."
    exit "$UNUSABLE"
}

# Install QEMU from Debian's backports if the installed one is older. No other package is installed from there.
install_emulator() {
    case $(qemu-system-x86_64 --version 2>/dev/null) in
        *"version "[1-9][0-9].*) return 0 ;;
    esac
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # shellcheck disable=SC2016 # apt's own variables
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        sed -n 's/^Debian Debian main //p' | head -n 1)
    if [ "$codename" != bookworm ] || [ -z "$mirror" ]; then
        say "A newer QEMU is available on Debian 12 only; keeping the installed one."
        return 0
    fi
    list=/etc/apt/sources.list.d/nanoclaw-verify-backports.sources
    packages="qemu-system-x86 qemu-utils"
    say "Installing QEMU 10 from $codename-backports (listed in $list) ..."
    sudo=$(rights "scripts/install.sh emulator") || exit $?
    printf '%s\n' 'Types: deb' "URIs: $mirror" "Suites: $codename-backports" 'Components: main' \
        'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' | $sudo tee "$list" >/dev/null
    apt_get update
    # shellcheck disable=SC2086 # a list of words
    apt_get install -y --no-install-recommends -t "$codename-backports" $packages >/dev/null
}

if wants_help "$@"; then
    print_help
    exit 0
fi
for set; do
    case $set in
        python | guest | emulator | browser | podman) ;;
        *)
            say "Unknown package set '$set'. Known: python, guest, emulator, browser, podman."
            exit 2
            ;;
    esac
done
[ $# -gt 0 ] || {
    print_help >&2
    exit 2
}
if ! command -v apt-get >/dev/null; then
    say "apt-get is not installed. Install the equivalents of these Debian packages:"
    say "    $PYTHON $GUEST $PODMAN podman-docker"
    exit "$UNUSABLE"
fi

# shellcheck disable=SC2086 # lists of words
for set; do
    case $set in
        python) install --no-install-recommends $PYTHON ;;
        guest) install --no-install-recommends $GUEST ;;
        emulator) install_emulator ;;
        browser) install --no-install-recommends $BROWSER ;;
        podman)
            # With recommended packages: the network helper depends on Podman's version.
            install --install-recommends $PODMAN
            command -v docker >/dev/null || install --no-install-recommends podman-docker
            ;;
    esac
done
