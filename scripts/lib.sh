# shellcheck shell=sh
# Sourced by the scripts in this directory. A script with an option --install sets TAKES_INSTALL=yes before.

ROOT=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd)
VENV=$ROOT/.venv

umask 022 # whoever can write the environment can run code in it

# Python's own variables can make it exit with status 1 before the project's code runs, or import something else.
for name in $(env | sed -n 's/^\(PYTHON[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
# The project's files are UTF-8, independent of the locale.
export PYTHONUTF8=1

# The exit status if this machine can't be used.
UNUSABLE=3

say() { printf '%s\n' "$*" >&2; }

# Map failures before the program starts to status 3: status 1 means a failed case.
ended() {
    status=$?
    case $status in
        0 | 2 | "$UNUSABLE" | 129 | 130 | 143) ;;
        *)
            say "Setup failed: a step of ${0##*/} exited with status $status; see above."
            exit "$UNUSABLE"
            ;;
    esac
}
trap ended EXIT

# Print the comment at the top of the script.
print_help() { sed -n '2,/^[^#]/{ /^#/!d; s/^# \{0,1\}//; p; }' "$0"; }

# Whether the arguments contain --help or -h.
wants_help() {
    for word; do
        case $word in -h | --help) return 0 ;; esac
    done
    return 1
}

# Remove --install from the script's arguments.
WANTS_INSTALL=
if [ -n "${TAKES_INSTALL-}" ]; then
    for word; do
        shift
        # shellcheck disable=SC2034 # for the scripts that source this
        if [ "$word" = --install ]; then WANTS_INSTALL=yes; else set -- "$@" "$word"; fi
    done
fi

# Find a Python 3.11 or newer with venv. -P, here and below, keeps Python from importing modules of the current directory,
# which may belong to another account.
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

# The requirements, path and Python of the environment: a change of one needs a new environment.
venv_stamp() {
    requirements=$(cat "$ROOT/requirements.txt" "$ROOT/constraints.txt" | cksum)
    printf '%s\n' "$requirements" "$VENV" "$(readlink -f -- "$VENV/bin/python")"
}

venv_is_current() {
    [ -x "$VENV/bin/python" ] && [ "$(cat "$VENV/stamp" 2>/dev/null)" = "$(venv_stamp)" ] &&
        { [ -e "$VENV/modes-are-not-kept" ] || venv_is_private; }
}

# Whether no other account can write it.
venv_is_private() { [ -z "$(find "$VENV" ! -type l -perm /022 -print -quit 2>&1)" ]; }

# Whether each package of requirements.txt is there: settings of pip can make it succeed without installing them here.
venv_is_complete() {
    "$VENV/bin/python" -P -c '
import importlib.metadata, re, sys
for name in re.findall(r"(?m)^[\w.-]+", open(sys.argv[1]).read()):
    importlib.metadata.version(name)' "$ROOT/requirements.txt"
}

# Make the virtual environment; rebuild it if the requirements, its path or its Python have changed.
ensure_venv() {
    # Locked until the program that is started ends: no other call rebuilds the environment that it runs in. Only the
    # clone's owner can lock it, and only the owner can rebuild it.
    if ! (umask 077 && : >>"$VENV.lock") 2>/dev/null; then
        venv_is_current || make_venv
        return
    fi
    exec 9<"$VENV.lock"
    flock -s 9
    venv_is_current && return
    if ! flock -n 9; then
        say "Another command is making or using the environment in $VENV; waiting …"
        flock 9
    fi
    venv_is_current || make_venv
    flock -s 9
}

make_venv() {
    python=$(find_python) || exit $?
    say "Creating a Python environment in $VENV …"
    if ! { rm -rf -- "$VENV" && "$python" -P -m venv "$VENV" &&
        "$VENV/bin/python" -P -m pip install -qq --disable-pip-version-check \
            -r "$ROOT/requirements.txt" -c "$ROOT/constraints.txt" &&
        venv_is_complete; } >&2 9<&-; then
        rm -rf "$VENV"
        say "The Python environment could not be created: see above. It needs a package index of Python, so a network."
        exit "$UNUSABLE"
    fi
    # The project's invoke works from any directory, rebuilds the environment, and has the project's exit statuses.
    rm -f "$VENV/bin/invoke" "$VENV/bin/inv"
    cat >"$VENV/bin/invoke" <<'END'
#!/bin/sh
exec "$(dirname -- "$(readlink -f -- "$0")")/../../scripts/invoke.sh" "$@"
END
    chmod +x "$VENV/bin/invoke"
    ln -s invoke "$VENV/bin/inv"
    chmod -R go-w "$VENV" # an ACL of the directory can decide instead of the umask
    if ! venv_is_private; then
        say "Other accounts can write $VENV: its file system keeps no modes. On WSL, clone into the home of Linux."
        : >"$VENV/modes-are-not-kept"
    fi
    venv_stamp >"$VENV/stamp"
}

# Run a program of the environment in place of this shell. A Ctrl-C waits until the program can take it: while Python itself
# starts, it would exit with status 1.
exec_python() {
    if env --block-signal=INT true 2>/dev/null; then
        exec env --block-signal=INT "$VENV/bin/python" "$@"
    fi
    exec "$VENV/bin/python" "$@"
}
