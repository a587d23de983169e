# shellcheck shell=sh
# Shared by the scripts beside it. Sourced, not run. A script that takes --install sets TAKES_INSTALL=yes before.

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
VENV=$ROOT/.venv

# What this project's files are in, whatever the locale is.
export PYTHONUTF8=1
# Nonsense in these ends Python with status 1 before a line of this project runs.
unset PYTHONIOENCODING PYTHONHOME

# The exit status of a machine that can't be used as it is.
UNUSABLE=3

say() { printf '%s\n' "$*" >&2; }

# Whatever fails in a script before its program takes over is this machine's fault: status 1 means a failed case.
ended() {
    status=$?
    case $status in
        0 | 2 | "$UNUSABLE" | 129 | 130 | 143) ;;
        *)
            say "This machine can't be set up: a step of ${0##*/} failed with status $status; see above."
            exit "$UNUSABLE"
            ;;
    esac
}
trap ended EXIT

# The script's header, as far as its first line that is no comment.
print_help() { sed -n '2,/^[^#]/{ /^#/!d; s/^# \{0,1\}//; p; }' "$0"; }

# Is --help or -h among the arguments?
wants_help() {
    for word; do
        case $word in -h | --help) return 0 ;; esac
    done
    return 1
}

# Take --install out of the script's arguments, wherever it stands.
WANTS_INSTALL=
if [ -n "${TAKES_INSTALL-}" ]; then
    for word; do
        shift
        # shellcheck disable=SC2034 # for the scripts that source this
        if [ "$word" = --install ]; then WANTS_INSTALL=yes; else set -- "$@" "$word"; fi
    done
fi

# A Python that can make a virtual environment, 3.11 or newer. -P, here and below: without it, Python imports modules from
# the current directory, where another account may have put some.
find_python() {
    for python in python3 /usr/bin/python3; do
        if "$python" -P -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    say "Python 3.11 or newer with its venv module is not installed. Install it with:"
    say "    apt-get install python3 python3-venv"
    exit "$UNUSABLE"
}

# What the environment has to be made of: it holds paths, and packages for one Python.
venv_stamp() {
    requirements=$(cat "$ROOT/requirements.txt" "$ROOT/constraints.txt" | cksum)
    printf '%s\n' "$requirements" "$VENV" "$(readlink -f -- "$VENV/bin/python")"
}

venv_is_current() { [ -x "$VENV/bin/python" ] && [ "$(cat "$VENV/stamp" 2>/dev/null)" = "$(venv_stamp)" ]; }

# Make the private virtual environment; renew it when the requirements, its place or its Python have changed.
ensure_venv() {
    venv_is_current && return
    python=$(find_python) || exit $?
    say "Making a private Python environment in $VENV …"
    if ! { "$python" -P -m venv --clear "$VENV" &&
        "$VENV/bin/python" -P -m pip install -qq --disable-pip-version-check \
            -r "$ROOT/requirements.txt" -c "$ROOT/constraints.txt"; } >&2; then
        rm -rf "$VENV"
        say "The Python environment could not be made. Does 'pip download invoke' work on this machine?"
        exit "$UNUSABLE"
    fi
    # This project's own: it works from any directory, renews the environment, and has the project's exit statuses.
    rm -f "$VENV/bin/invoke" "$VENV/bin/inv"
    cat >"$VENV/bin/invoke" <<'END'
#!/bin/sh
exec "$(dirname -- "$(readlink -f -- "$0")")/../../scripts/invoke.sh" "$@"
END
    chmod +x "$VENV/bin/invoke"
    ln -s invoke "$VENV/bin/inv"
    venv_stamp >"$VENV/stamp"
}
