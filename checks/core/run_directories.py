"""A run: its id, directories and lock; and the leftovers of runs that died without cleanup."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from checks.core import files, locks, owned_paths, signals
from checks.core.bounded import read_json
from checks.core.errors import HostProblem
from checks.core.lines import lines_of
from checks.core.run_processes import MARK, await_end, of_another_account, processes_of, stop, words

PROGRAM = "nanoclaw-verify"

_SHARED = Path("/var/tmp")  # noqa: S108 - only mkdtemp makes anything in it
_ANY_ID = "[0-9a-f]" * 10
"""A glob pattern for the ids of all runs: whatever else has another name is not a run, and is left alone."""
_LOCK = "lock"
"""In the run's directory: a file that the run keeps locked."""
_OWNER = "run"
"""In the scratch directory: a link to the run's directory in the cache."""
_OWN_CACHE = "Set XDG_CACHE_HOME to a directory of your own."
_RECORD = "run.json"
_BEGINNING = 10.0  # seconds in which a run takes its lock


def cache() -> Path:
    """This project's directory in the user's cache, made if missing.

    A relative XDG_CACHE_HOME is ignored, as the XDG specification requires.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    directory = (Path(base) if Path(base).is_absolute() else _home() / ".cache") / PROGRAM
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = directory.stat()
    except OSError as error:
        raise HostProblem(f"The cache directory {directory} can't be made: {error.strerror}.", _OWN_CACHE) from error
    # Programs, disks and private keys are read from there: who can write it can run code as this account.
    if seen.st_uid != os.geteuid():
        raise HostProblem(
            f"The cache directory {directory} belongs to another account (uid {seen.st_uid}).", _OWN_CACHE
        )
    try:
        owned_paths.require_own(directory)
    except owned_paths.Foreign as foreign:
        raise HostProblem(
            f"{foreign.strerror}: the cache {directory} is not safe from other accounts.",
            f"Set XDG_CACHE_HOME to a directory of your own, or remove that right: chmod go-w {foreign.filename}",
        ) from foreign
    return directory


def _home() -> Path:
    """This account's home: $HOME, or the system's entry if it is unset, empty or relative."""
    home = Path(os.environ.get("HOME", ""))
    if not home.is_absolute():
        try:
            home = Path(pwd.getpwuid(os.getuid()).pw_dir)
        except KeyError:
            home = Path()
    missing = not home.is_absolute()
    with contextlib.suppress(PermissionError):  # what can't be looked at is there, for all that is known
        missing = missing or not home.exists()
    if missing:
        raise HostProblem("This account has no home directory.", "Set XDG_CACHE_HOME to a directory of your own.")
    return home


@dataclass
class Run:
    """One run of this program.

    ``directory`` (in the cache) contains its disks; ``scratch`` (short path, outside the home) its sockets, and files
    for other user ids. Both are removed with the run, unless it is kept.
    """

    id: str
    directory: Path
    scratch: Path
    kept: bool = False
    unfinished: bool = False
    """Whether objects of it on its host could not be removed: its record stays, and the next run there tries again."""

    @property
    def sockets(self) -> Path:
        """A directory for control sockets that only this account can enter."""
        return self.scratch / "s"

    def keep(self, host: str) -> None:
        """Keep everything of this run until ``invoke clean``."""
        self.kept = True
        _note(self.directory, host, store_of(self), kept=True)

    def record_host(self, host: str, store: str = "") -> None:
        """Record the host, and the store of its engine, before the run makes objects there."""
        _note(self.directory, host, store, kept=False)


@dataclass(frozen=True)
class LockedRun:
    """A run that can't be removed, because its lock can't be taken."""

    id: str
    host: str
    """Empty if it is not known yet."""
    processes: tuple[int, ...]
    """The account's processes that hold the lock: the run is active."""
    problem: str
    """Why the lock can't be taken if no such process holds it."""


@contextlib.contextmanager
def new_run() -> Iterator[Run]:
    """A new run, locked while it is active. Its directories are removed at the end, unless it was kept.

    SIGINT, SIGTERM and SIGHUP raise Interrupted in the block.
    """
    run_id = secrets.token_hex(5)
    directory = cache() / "runs" / run_id
    with signals.raising(), contextlib.ExitStack() as unless_made:
        directory.mkdir(parents=True)
        unless_made.callback(shutil.rmtree, directory, ignore_errors=True)
        with locks.opened(directory / _LOCK) as lock:
            locks.take(lock)
            _note(directory, "", "", kept=False)
            run = Run(run_id, directory, _make_scratch(run_id, directory))
            unless_made.pop_all()
            ending: BaseException | None = None
            try:
                run.sockets.mkdir(mode=0o700)
                os.environ[MARK] = run.id
                yield run
            except BaseException as error:
                ending = error
                raise
            finally:
                with signals.held():
                    os.environ.pop(MARK, None)
                    if not run.kept:
                        remove(run)
                        _check_removed(run, ending)


def _check_removed(run: Run, ending: BaseException | None) -> None:
    """Check that a run is removed. Raises HostProblem, or adds a note to the error that ended the run."""
    record = f"directory {run.directory}" if run.unfinished else ""
    if left := [each for each in leftovers(run.id, cache()) if each != record]:
        problem = HostProblem(f"Run {run.id} could not remove: {'; '.join(left)}.", "Remove it by hand.")
        if ending is None or isinstance(ending, KeyboardInterrupt):
            raise problem
        ending.add_note(str(problem))
    elif isinstance(ending, KeyboardInterrupt) and not run.unfinished:  # else it has been told what is left
        ending.add_note("the run's processes, directories and mounts on this machine were removed")


def dead_runs() -> list[tuple[Run, str]]:
    """Runs that ended without cleanup, each with its host; not active or kept ones."""
    dead = [(run, str(note.get("host", ""))) for run, note in _unlocked() if not note.get("kept")]
    return [*dead, *((run, "") for run in _orphans())]


def kept_runs() -> list[tuple[Run, str]]:
    """Runs that were kept for inspection, each with its host."""
    return [(run, str(note.get("host", ""))) for run, note in _unlocked() if note.get("kept")]


def locked_runs() -> list[LockedRun]:
    """Runs that are active, or whose lock can't be taken for another reason."""
    found = []
    for directory in _all():
        try:
            with locks.opened(directory / _LOCK, create=False) as lock:
                if locks.taken(lock):
                    continue
                holders = tuple(pid for pid in locks.holders(lock) if _of_this_account(pid))
            why = "" if holders else f"no process of this account holds its lock, {directory / _LOCK}, but it is taken"
        except OSError as error:
            # The run is beginning or ending, or was killed before it had a lock: see _unlocked.
            if not (directory / _RECORD).exists():
                continue
            holders, why = (), f"its lock, {directory / _LOCK}, can't be opened: {error.strerror}"
        found.append(LockedRun(directory.name, str(_read(directory).get("host", "")), holders, why))
    return found


def _of_this_account(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return not of_another_account(Path(f"/proc/{pid}").stat().st_uid)
    return False


def remove(run: Run) -> None:
    """Kill a run's processes on this machine, and remove its directories; the record of an unfinished run stays."""
    stop(run.id)
    for directory in (run.scratch, *_private_of(run.id), *([] if run.unfinished else [run.directory])):
        remove_tree(directory)


def remove_tree(directory: Path) -> None:
    """Remove a directory and its content as far as possible; it may be missing."""
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():  # files of subordinate ids: only root of a user namespace can remove them
        argv = ["unshare", "--map-auto", "--map-root-user", "rm", "-rf", "--", str(directory)]
        subprocess.run(argv, capture_output=True, check=False)


def leftovers(run_id: str, where: Path) -> list[str]:
    """Leftovers of a run on this machine, a line each, after killed processes have exited; ``where`` is its cache."""
    await_end(run_id)
    own = (where / "runs" / run_id, *_scratch_of(run_id), *_private_of(run_id))
    mounts = [Path(line.split(" ")[4]) for line in lines_of(_kernels("/proc/self/mountinfo")) if run_id in line]
    # Any account can mount with FUSE, under any name, where it can write.
    mounts = [mount for mount in mounts if any(mount.is_relative_to(each) for each in own)]
    return [
        *(f"process {pid}: {' '.join(words(pid))[:80]}" for pid in processes_of(run_id)),
        *(f"directory {directory}" for directory in own if directory.exists()),
        *(f"mount {mount}" for mount in mounts),
    ]


def _kernels(file: str) -> str:
    """What the kernel says in a file. Names in it may be of other accounts and in any encoding."""
    return Path(file).read_text(errors="replace")


def _make_scratch(run_id: str, directory: Path) -> Path:
    """Make a run's scratch directory with an unpredictable name; a link in it points to ``directory``.

    Raises HostProblem where any account could replace it.
    """
    mode = _SHARED.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise HostProblem(f"{_SHARED} has no sticky bit: any account can replace files in it.", f"chmod +t {_SHARED}")
    scratch = Path(tempfile.mkdtemp(prefix=f"{PROGRAM}-{run_id}.", dir=_SHARED))
    (scratch / _OWNER).symlink_to(directory)
    scratch.chmod(0o711)  # other users may pass, but neither list nor write
    return scratch


def _scratch_of(run_id: str) -> list[Path]:
    """This account's scratch directories of a run id (a glob pattern)."""
    return _own_directories(f"{PROGRAM}-{run_id}.*")


def _private_of(run_id: str) -> list[Path]:
    """This account's private directories of a run id (a glob pattern): those that its cases use on this machine."""
    return _own_directories(f"{PROGRAM}-{run_id}-*")


def _own_directories(pattern: str) -> list[Path]:
    found = []
    for path in sorted(_SHARED.glob(pattern)):
        with contextlib.suppress(FileNotFoundError):  # another run may be removing it
            seen = path.lstat()
            if stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid():
                found.append(path)
    return found


def _run(run_id: str) -> Run:
    scratch = next(iter(_scratch_of(run_id)), _SHARED / f"{PROGRAM}-{run_id}.none")
    return Run(run_id, cache() / "runs" / run_id, scratch)


def _unlocked() -> Iterator[tuple[Run, dict[str, object]]]:
    for directory in _all():
        if _never_locked(directory):
            yield _run(directory.name), {}
        with contextlib.suppress(OSError), locks.opened(directory / _LOCK, create=False) as lock:
            if locks.taken(lock) and ((note := _read(directory)) or not any(directory.glob(_RECORD))):
                yield _run(directory.name), note


def _never_locked(directory: Path) -> bool:
    """Whether a run was killed before it had a lock, and not just now."""
    with contextlib.suppress(OSError):
        made = (directory / _LOCK).exists() or (directory / _RECORD).exists()
        return not made and time.time() - directory.stat().st_mtime > _BEGINNING
    return False


def _all() -> list[Path]:
    """The directories of all runs, active or not."""
    return sorted((cache() / "runs").glob(_ANY_ID))


def _orphans() -> Iterator[Run]:
    """Runs with only a scratch directory left: their cache was removed."""
    for scratch in _scratch_of(_ANY_ID):
        owner = scratch / _OWNER
        if owner.is_symlink() and not owner.exists():
            yield Run(scratch.stem.removeprefix(f"{PROGRAM}-"), owner.readlink(), scratch)


def store_of(run: Run) -> str:
    """The engine and the store that a run has recorded; empty if it has not."""
    return str(_read(run.directory).get("store", ""))


def _note(directory: Path, host: str, store: str, *, kept: bool) -> None:
    files.replace_json(directory / _RECORD, {"pid": os.getpid(), "host": host, "store": store, "kept": kept})


def _read(directory: Path) -> dict[str, object]:
    try:
        note = read_json(directory / _RECORD)
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
