# shellcheck shell=sh
# Shared by the scripts beside it. Sourced, not run.

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
VENV=$ROOT/.venv

# Take --install out of the script's arguments, wherever it stands.
WANTS_INSTALL=
for word; do
    shift
    # shellcheck disable=SC2034 # for the scripts that source this
    if [ "$word" = --install ]; then WANTS_INSTALL=yes; else set -- "$@" "$word"; fi
done

# The exit status of a machine that can't be used as it is.
UNUSABLE=3

say() { printf '%s\n' "$*" >&2; }

# A Python that can make a virtual environment, 3.11 or newer.
find_python() {
    for python in python3 /usr/bin/python3; do
        if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    say "Python 3.11 or newer with its venv module is not installed. Install it with:"
    say "    apt-get install python3 python3-venv"
    exit "$UNUSABLE"
}

# Make the private virtual environment, or renew it when the requirements have changed.
ensure_venv() {
    wanted=$(cat "$ROOT/requirements.txt" "$ROOT/constraints.txt" | cksum)
    [ "$(cat "$VENV/requirements.cksum" 2>/dev/null)" = "$wanted" ] && return
    python=$(find_python) || exit $?
    say "Making a private Python environment in $VENV …"
    if ! { "$python" -m venv --clear "$VENV" &&
        "$VENV/bin/pip" install -qq --disable-pip-version-check \
            -r "$ROOT/requirements.txt" -c "$ROOT/constraints.txt"; } >&2; then
        rm -rf "$VENV"
        say "The Python environment could not be made. Does 'pip download invoke' work on this machine?"
        exit "$UNUSABLE"
    fi
    printf '%s\n' "$wanted" >"$VENV/requirements.cksum"
}
