#!/bin/sh
# Install the Debian packages that this project needs. Root's rights are asked for through sudo where needed.
#
#     scripts/install.sh python   Python and its venv module
#     scripts/install.sh guest    for throwaway hosts: QEMU, mmdebstrap, ssh; podman, to make agent images
#     scripts/install.sh emulator for throwaway hosts without KVM, on Debian 12: its backports' QEMU, a fifth faster
#     scripts/install.sh browser  for the project's own tests: Chromium, which opens the page of the matrix
#     scripts/install.sh podman   for testing this machine: rootless Podman, and the shim where there is no other docker
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$0")/lib.sh"

PYTHON="python3 python3-venv"
GUEST="qemu-system-x86 qemu-utils mmdebstrap openssh-client e2fsprogs podman uidmap util-linux debian-archive-keyring"
BROWSER="chromium fonts-dejavu-core"
PODMAN="podman crun uidmap dbus-user-session busybox-static procps"

# The command that gives root's rights, if one is needed; without one, the arguments are what root has to run.
rights() {
    [ "$(id -u)" = 0 ] && return
    command -v sudo || {
        say "There is no sudo here; as root, run:"
        for line; do say "    $line"; done
        exit "$UNUSABLE"
    }
}

# install --install-recommends|--no-install-recommends PACKAGE...: what of these is not installed yet.
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

# apt-get, with root's rights; it ends with 100 for whatever keeps it from its work.
apt_get() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" && return
    say "apt-get $1 failed with status $?; see above. If another apt holds the lock, run this again when it has ended."
    exit "$UNUSABLE"
}

# The QEMU of Debian's backports, where the installed one is older and they have one. Nothing else comes from there.
install_emulator() {
    case $(qemu-system-x86_64 --version 2>/dev/null) in
        *"version "[1-9][0-9].*) return 0 ;;
    esac
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # shellcheck disable=SC2016 # apt's own variables
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        sed -n 's/^Debian Debian main //p' | head -n 1)
    if [ "$codename" != bookworm ] || [ -z "$mirror" ]; then
        say "A newer QEMU is taken from the backports of Debian 12 only; this machine keeps its own."
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
            say "There is no package set '$set': python, guest, emulator, browser, podman."
            exit 2
            ;;
    esac
done
[ $# -gt 0 ] || {
    print_help >&2
    exit 2
}
if ! command -v apt-get >/dev/null; then
    say "This machine has no apt-get. Install by its own means what these Debian packages have:"
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
            # With what Podman recommends: which network helper that is depends on its version.
            install --install-recommends $PODMAN
            command -v docker >/dev/null || install --no-install-recommends podman-docker
            ;;
    esac
done
