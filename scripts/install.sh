#!/bin/sh
# Install the packages that this project needs, with sudo if you are not root: on Debian and Ubuntu, all sets; with dnf,
# pacman, zypper or apk, the sets python and podman. These four were not tested.
#
#     scripts/install.sh python   Python and its venv module
#     scripts/install.sh guest    for throwaway hosts: QEMU, mmdebstrap, ssh, and podman for building agent images
#     scripts/install.sh emulator for throwaway hosts without KVM on Debian 12: QEMU from backports, 20 % faster
#     scripts/install.sh browser  for the project's own tests: Chromium
#     scripts/install.sh podman   for this machine: rootless Podman, and its docker command (podman-docker)
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname -- "$(readlink -f -- "$0")")/lib.sh"

PYTHON="python3 python3-venv"
GUEST="qemu-system-x86 qemu-utils mmdebstrap openssh-client e2fsprogs podman uidmap util-linux debian-archive-keyring"
BROWSER="chromium fonts-dejavu-core"
PODMAN="podman crun uidmap dbus-user-session busybox-static procps"
# Networks, --init and storage: Podman only recommends these, so they are missing where it was installed without them, as
# the set guest does. Which of them there are depends on the distribution's version.
PODMAN_NEEDS="slirp4netns passt netavark aardvark-dns nftables catatonit fuse-overlayfs"

# Not tested: the names are from memory of the distributions, and this script was never run there.
other_packages() {
    case $1:$2 in
        dnf:python) echo python3 ;;
        dnf:podman) echo podman crun shadow-utils passt busybox procps-ng ;;
        pacman:python) echo python ;;
        pacman:podman) echo podman crun shadow passt busybox procps-ng ;;
        zypper:python) echo python311 ;;
        zypper:podman) echo podman crun shadow passt busybox-static procps ;;
        apk:python) echo python3 ;;
        apk:podman) echo podman crun shadow-subids passt busybox-static procps-ng ;;
        *) return 1 ;;
    esac
}

# Print the arguments with which a package manager installs without a question.
other_command() {
    case $1 in
        dnf) echo dnf install -y ;;
        pacman) echo pacman -S --needed --noconfirm ;;
        zypper) echo zypper --non-interactive install ;;
        apk) echo apk add ;;
    esac
}

# other_install MANAGER PACKAGE...: install these with another package manager.
other_install() {
    manager=$1
    shift
    command=$(other_command "$manager")
    say "Not tested with $manager: $command $*"
    sudo=$(rights "$command $*") || exit $?
    # shellcheck disable=SC2086 # lists of words
    $sudo $command "$@" >/dev/null && return
    say "$manager failed with status $?; see above."
    exit "$UNUSABLE"
}

# Print the package that /usr/bin/docker belongs to, if any.
docker_package() {
    case $1 in
        apt-get) dpkg-query -S /usr/bin/docker 2>/dev/null | cut -d: -f1 ;;
        dnf | zypper) rpm -qf --queryformat '%{NAME}' /usr/bin/docker 2>/dev/null ;;
        pacman) pacman -Qqo /usr/bin/docker 2>/dev/null ;;
        apk) apk info --who-owns /usr/bin/docker 2>/dev/null | sed 's/.* owned by //' ;;
    esac
}

is_shim() { "$1" --version 2>/dev/null | head -n 1 | grep -q '^podman version'; }

# install_shim MANAGER: install Podman's docker command, and say how to put it first on PATH if another docker is.
install_shim() {
    docker=$(command -v docker) || docker=
    [ -z "$docker" ] || ! is_shim "$docker" || return 0
    owner=$(docker_package "$1") || owner=
    if [ -n "$owner" ] && [ "$owner" != podman-docker ]; then
        # Debian's podman-docker would remove docker.io, with the containers' daemon.
        say "The package podman-docker was not installed: /usr/bin/docker belongs to the package $owner."
        say "To use Podman's docker, remove that package, then run this again."
        return 0
    fi
    if [ "$1" = apt-get ]; then install --no-install-recommends podman-docker; else other_install "$1" podman-docker; fi
    docker=$(command -v docker) || docker=
    if [ -n "$docker" ] && ! is_shim "$docker"; then
        say "Another docker is still first on PATH: $docker. Podman's is /usr/bin/docker. To put Podman's first, either"
        say "    rename it, as root:        mv $docker $docker.not-podman"
        say "    or for this shell alone:   export PATH=/usr/bin:\$PATH   (nanoclaw's service has a PATH of its own)"
        say "    or, for Docker Desktop:    turn off Settings > Resources > WSL integration for this distribution"
    fi
}

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

# Print those of these packages that this distribution has.
known_to_apt() {
    for package; do
        [ -z "$(apt-cache show --no-all-versions "$package" 2>/dev/null)" ] || echo "$package"
    done
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
manager=
for name in apt-get dnf pacman zypper apk; do
    if [ -z "$manager" ] && command -v "$name" >/dev/null; then manager=$name; fi
done
if [ -z "$manager" ]; then
    say "No known package manager is installed. Install the equivalents of these Debian packages:"
    say "    $PYTHON $GUEST $PODMAN podman-docker"
    exit "$UNUSABLE"
fi
if [ "$manager" != apt-get ]; then
    for set; do
        if ! other_packages "$manager" "$set" >/dev/null; then
            say "The package set '$set' is known for Debian only. With $manager, install the equivalents of:"
            case $set in guest | emulator) say "    $GUEST" ;; *) say "    $BROWSER" ;; esac
            exit "$UNUSABLE"
        fi
    done
    for set; do
        # shellcheck disable=SC2046 # a list of words
        other_install "$manager" $(other_packages "$manager" "$set")
        if [ "$set" = podman ]; then install_shim "$manager"; fi
    done
    exit 0
fi

# shellcheck disable=SC2086,SC2046 # lists of words
for set; do
    case $set in
        python) install --no-install-recommends $PYTHON ;;
        guest) install --no-install-recommends $GUEST ;;
        emulator) install_emulator ;;
        browser) install --no-install-recommends $BROWSER ;;
        podman)
            # With recommended packages: the network helper depends on Podman's version.
            install --install-recommends $PODMAN
            install --no-install-recommends $(known_to_apt $PODMAN_NEEDS)
            install_shim apt-get
            if is_shim docker; then say "Installed. docker is Podman's: $(docker --version 2>/dev/null | head -n 1)."; fi
            ;;
    esac
done
