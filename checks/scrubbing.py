"""Files that hold a secret, removed from what ``--keep`` leaves on a host."""

from __future__ import annotations

from checks import redaction
from checks.bench import directories_of, remove_containers
from checks.docker import shell
from checks.hosts.base import SHARED, Host
from checks.hosts.process import TimedOut

# Standard input: strings, one a line, that no file may have and no name. They are on no command line here: printf is
# the shell's own. What a container made belongs to a subordinate id, so that this runs in the account's namespace.
_SCRUB = """
export LC_ALL=C
secrets=$(cat)
for directory in "$1/$2"*; do
    [ -O "$directory" ] && [ -d "$directory" ] && [ ! -L "$directory" ] || continue
    printf '%s\\n' "$secrets" | grep -rlaiZF -D skip -f - -- "$directory" | xargs -0r rm -f --
    find "$directory" -mindepth 1 -depth -print0 | grep -zaiF -f /dev/fd/3 3<<END | xargs -0r rm -rf --
$secrets
END
    if printf '%s\\n' "$secrets" | grep -rqaiF -D skip -f - -- "$directory"; then
        rm -rf -- "$directory"
        [ ! -e "$directory" ] || exit 1
    fi
done
"""
_BOUND = 120.0  # seconds on ordinary hardware


def remove_secrets(account: Host, run: str) -> bool:
    """Remove a run's containers on an account, and in its directories every file that holds a protected secret.

    A container that was told a secret lives on with it. Returns whether none is left, as a last look finds.
    """
    if not redaction.protecting():  # no string at all would be found in every file
        return True
    facts = account.facts()
    remove_containers(account, run)
    namespace = ["podman", "unshare"] if facts.engine == "podman" and facts.rootless else []
    wanted = b"\n".join(redaction.parts())
    try:
        argv = [*namespace, *shell(_SCRUB, SHARED, directories_of(run))]
        return account.run(argv, stdin=wanted, timeout=_BOUND).status == 0
    except TimedOut:
        return False
