#!/bin/sh
# Run the first command of the README in new accounts, each with a new clone, cache and environment: as root, as a user
# with sudo, and as a user without sudo. Run this as root. It prints a line for each account, and removes the accounts.
#
#     scripts/try-accounts.sh [root|sudo|plain ...] [-- COMMAND ...]
#
# COMMAND runs in the clone instead of "./scripts/verify-podman-compat.sh --install". The clone has committed files only.
# The exit status is that of the first account that fails.
set -eu
umask 022
# Without scripts/lib.sh, which removes --install from the arguments: here it belongs to COMMAND.
ROOT=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd)
UNUSABLE=3
NAME=nanoclaw-try
HOME_DIRECTORY=/home/$NAME
REMARK="throwaway account of nanoclaw-verify"
SUDOERS=/etc/sudoers.d/$NAME
LOCK=/run/$NAME.lock

say() { printf '%s\n' "$*" >&2; }

usage() {
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
}

accounts=
while [ $# -gt 0 ]; do
    case $1 in
        root | sudo | plain) accounts="$accounts $1" ;;
        -h | --help)
            usage
            exit 0
            ;;
        --)
            shift
            break
            ;;
        *)
            say "Unknown account '$1'. Known: root, sudo, plain."
            exit 2
            ;;
    esac
    shift
done
accounts=${accounts:-root sudo plain}
[ $# -gt 0 ] || set -- ./scripts/verify-podman-compat.sh --install

[ "$(id -u)" = 0 ] || {
    say "Only root can create accounts. Run this as root: sudo scripts/try-accounts.sh"
    exit "$UNUSABLE"
}
for program in git useradd userdel unshare setpriv; do
    command -v "$program" >/dev/null || {
        say "$program is not installed. Install it with: apt-get install git passwd util-linux"
        exit "$UNUSABLE"
    }
done
case " $accounts " in
    *" sudo "*) command -v sudo >/dev/null || {
        say "sudo is not installed. Install it with: apt-get install sudo"
        exit "$UNUSABLE"
    } ;;
esac

# One run at a time, because all use the same account name. The lock ends with this process. Only root can open the file:
# whoever can open it can hold its lock.
(umask 077 && : >>"$LOCK") || exit "$UNUSABLE"
exec 9>>"$LOCK"
flock --nonblock 9 || {
    say "Another scripts/try-accounts.sh is running."
    exit "$UNUSABLE"
}
remark=$(getent passwd "$NAME" | cut -d: -f5)
if getent passwd "$NAME" >/dev/null && [ "$remark" != "$REMARK" ]; then
    say "The account $NAME exists, but this script did not create it. Remove or rename it."
    exit "$UNUSABLE"
fi
if [ -z "$remark" ] && [ -e "$HOME_DIRECTORY" ] && [ ! -e "$HOME_DIRECTORY/.$NAME" ]; then
    say "$HOME_DIRECTORY exists, but this script did not make it. Remove or rename it."
    exit "$UNUSABLE"
fi

child=
# Remove the account with its processes and files, including leftovers of a killed run.
remove() {
    if [ -n "$child" ]; then
        kill -KILL "$child" 2>/dev/null || true # this ends the process namespace with all its processes
        wait "$child" 2>/dev/null || true
        child=
    fi
    rm -f "$SUDOERS"
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        getent passwd "$NAME" >/dev/null || break
        userdel --remove "$NAME" 2>/dev/null || sleep 0.5 # its last process may still be exiting
    done
    if getent passwd "$NAME" >/dev/null; then
        say "The account $NAME could not be removed. Remove it with: userdel --remove $NAME"
        return 1
    fi
    rm -rf "$HOME_DIRECTORY"
    find /var/tmp -mindepth 1 -maxdepth 1 -user root -name "$NAME.*" -exec rm -rf {} +
}
trap 'exit 130' INT
trap 'exit 143' TERM HUP
trap 'trap "" INT TERM HUP; remove || exit' EXIT

# The script in the namespaces of an account. /tmp and /var/tmp are private, so that nothing stays in them. The first
# process stays root: after a change of its user, it would not be killed with its parent.
# shellcheck disable=SC2016 # its own variables
INSIDE='
    mount --bind "$1/tmp" /tmp
    mount --bind "$1/var-tmp" /var/tmp
    name=$2 home=$3 path=$4
    shift 4
    cd "$home/clone"
    status=0
    setpriv --reuid "$name" --regid "$name" --init-groups env -i HOME="$home" USER="$name" LOGNAME="$name" \
        SHELL=/bin/sh LANG=C.UTF-8 PATH="$path" "$@" || status=$?
    exit "$status"
'

worst=0
for account in $accounts; do
    remove
    begun=$(date +%s)
    user=$NAME path=/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games
    if [ "$account" = root ]; then
        user=root path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        mkdir -m 700 "$HOME_DIRECTORY"
    else
        useradd --create-home --home-dir "$HOME_DIRECTORY" --shell /bin/sh --comment "$REMARK" "$NAME"
        chmod 700 "$HOME_DIRECTORY"
    fi
    : >"$HOME_DIRECTORY/.$NAME"
    case $account in
        root) title="root" ;;
        sudo)
            title="a user with sudo"
            (umask 227 && echo "$NAME ALL=(ALL) NOPASSWD: ALL" >"$SUDOERS")
            ;;
        plain)
            title="a user without sudo"
            "$ROOT/scripts/install.sh" python guest podman >&2
            ;;
    esac
    files=$(mktemp -d "/var/tmp/$NAME.XXXXXXXX")
    mkdir -m 1777 "$files/tmp" "$files/var-tmp"
    printf '[safe]\n\tdirectory = *\n' >"$files/gitconfig" # this clone may belong to another account
    GIT_CONFIG_GLOBAL=$files/gitconfig git clone --quiet --depth 1 "file://$ROOT" "$HOME_DIRECTORY/clone"
    chown -R "$user:" "$HOME_DIRECTORY"
    # The process namespace ends with its first process, and that process with this script.
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc \
        sh -euc "$INSIDE" sh "$files" "$user" "$HOME_DIRECTORY" "$path" "$@" </dev/null >&2 9<&- &
    child=$!
    status=0
    wait "$child" || status=$?
    child=
    left=$(find "$files/tmp" "$files/var-tmp" -mindepth 1 -maxdepth 1 -name 'nanoclaw*')
    if [ "$status" = 0 ] && [ -n "$left" ]; then
        say "Not removed from /tmp or /var/tmp: $left"
        status=1
    fi
    remove
    printf '%s: exit status %s after %s s: %s\n' "$title" "$status" "$(($(date +%s) - begun))" "$*"
    [ "$worst" != 0 ] || worst=$status
done
exit "$worst"
