"""A run and what belongs to it: its id, its directories, its lock; and what runs left that died without cleaning."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from checks.core import files
from checks.core.bounded import read_json
from checks.core.errors import HostProblem, Interrupted
from checks.core.polling import poll

if TYPE_CHECKING:
    from checks.core.progress import Progress

PROGRAM = "nanoclaw-verify"
MARK = "NANOCLAW_VERIFY_RUN"
"""In the environment of every process that a run starts: how a dead run's leftovers are told from anyone else's."""

_SHARED = Path("/var/tmp")  # noqa: S108 - only mkdtemp makes anything in it
_OWNER = "run"
"""In the scratch directory: a link to the run's directory in the cache."""
_OWN_CACHE = "Set XDG_CACHE_HOME to a directory of your own."
_UNMAPPED = 65534  # the owner of what belongs to nobody of this user namespace
_KILL_BOUND = 5.0  # seconds; a killed process takes a moment to go


def cache() -> Path:
    """This project's directory in the user's cache, made when missing.

    A relative XDG_CACHE_HOME is ignored, as the XDG specification requires.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    directory = (Path(base) if Path(base).is_absolute() else _home() / ".cache") / PROGRAM
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = directory.stat()
    except OSError as error:
        raise HostProblem(f"The cache directory {directory} can't be made: {error.strerror}.", _OWN_CACHE) from error
    # Programs, disks and private keys are taken from there: whoever can write it can run code as this account.
    if seen.st_uid != os.geteuid():
        raise HostProblem(
            f"The cache directory {directory} belongs to another account (uid {seen.st_uid}).", _OWN_CACHE
        )
    for each in (directory, *directory.resolve().parents):
        seen = each.stat()
        # Who can write a directory can replace what is in it, but for one with the sticky bit (/tmp).
        if seen.st_mode & 0o022 and not (each != directory and seen.st_mode & stat.S_ISVTX) and not _own_group(seen):
            raise HostProblem(f"Other accounts can write {each}, where the cache is.", f"chmod go-w {each}")
        if seen.st_uid not in (0, os.geteuid(), _UNMAPPED):
            raise HostProblem(
                f"{each}, where the cache is, belongs to another account (uid {seen.st_uid}).", _OWN_CACHE
            )
    return directory


def _own_group(seen: os.stat_result) -> bool:
    """Whether its group has this account alone, as the user private groups of many systems have."""
    if seen.st_mode & 0o002:
        return False
    try:
        group = grp.getgrgid(seen.st_gid)
        own = pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    others = [name for name in group.gr_mem if name != own.pw_name]
    shared = any(each.pw_gid == seen.st_gid and each.pw_uid != own.pw_uid for each in pwd.getpwall())
    return not others and not shared


def _home() -> Path:
    """This account's home: $HOME, or the one that the system has where that is unset, empty or relative."""
    home = Path(os.environ.get("HOME", ""))
    if not home.is_absolute():
        try:
            home = Path(pwd.getpwuid(os.getuid()).pw_dir)
        except KeyError:
            home = Path()
    if not home.is_absolute():
        raise HostProblem("This account has no home directory.", "Set XDG_CACHE_HOME to a directory of your own.")
    return home


@dataclass
class Run:
    """One run of this program.

    ``directory`` (in the cache) holds its disks, ``scratch`` (short path, outside the home) its sockets and what other
    users' ids must be able to enter. Both go with the run, unless it is kept.
    """

    id: str
    directory: Path
    scratch: Path
    kept: bool = False

    @property
    def sockets(self) -> Path:
        """A directory that only this account can enter, for control sockets."""
        return self.scratch / "s"

    def keep(self, host: str) -> None:
        """Leave everything of this run where it is when it ends, until ``invoke clean``."""
        self.kept = True
        _note(self.directory, host, kept=True)

    def aims_at(self, host: str) -> None:
        """Write down which host the run leaves objects on, before it makes any."""
        _note(self.directory, host, kept=False)


@contextlib.contextmanager
def new_run() -> Iterator[Run]:
    """A run of its own id, locked while it lives. Its directories are removed at the end, unless it was kept.

    A signal that asks for its end raises Interrupted in the block.
    """
    run_id = secrets.token_hex(5)
    directory = cache() / "runs" / run_id
    with _signals_raise():
        directory.mkdir(parents=True)
        with (directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _note(directory, "", kept=False)
            run = Run(run_id, directory, _make_scratch(run_id, directory))
            run.sockets.mkdir(mode=0o700)
            os.environ[MARK] = run.id
            ending: BaseException | None = None
            try:
                yield run
            except BaseException as error:
                ending = error
                raise
            finally:
                os.environ.pop(MARK, None)
                if not run.kept:
                    remove(run)
                    _look_back(run, ending)


def _look_back(run: Run, ending: BaseException | None) -> None:
    """Look at what is left of a removed run. Raises HostProblem, or notes it on the error that ends the run."""
    if left := leftovers(run.id, cache()):
        problem = HostProblem(f"The run {run.id} left behind: {'; '.join(left)}.", "Remove it by hand.")
        if ending is None or isinstance(ending, KeyboardInterrupt):
            raise problem
        ending.add_note(str(problem))
    elif isinstance(ending, KeyboardInterrupt):
        ending.add_note("everything that the run had made was removed")


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the run as Ctrl-C does: by an exception, so that everything is given back."""

    def raise_it(number: int, _: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)  # cleaning up is not to be interrupted again
        raise Interrupted(signal.Signals(number).name)

    before = {each: signal.signal(each, raise_it) for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def locked(file: Path, progress: Progress, waiting: str) -> Iterator[None]:
    """The only run, of those that lock ``file``, until the block ends; says ``waiting`` while another one is."""
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress.step(waiting):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def dead_runs() -> list[tuple[Run, str]]:
    """Runs that ended without cleaning up, each with the host it aimed at; not those that live or were kept."""
    dead = [(run, str(note.get("host", ""))) for run, note in _unlocked() if not note.get("kept")]
    return [*dead, *((run, "") for run in _orphans())]


def kept_runs() -> list[tuple[Run, str]]:
    """Runs that were kept to be looked at, each with the host it aimed at."""
    return [(run, str(note.get("host", ""))) for run, note in _unlocked() if note.get("kept")]


def stop(run: Run) -> None:
    """End what a run left running here. First of all: a client that lives may yet start what was just removed."""

    def stopped() -> bool:
        left = processes_of(run.id)
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        return not left

    poll(stopped, timeout=_KILL_BOUND, interval=0.05)


def remove(run: Run) -> None:
    """End what a run left running here, and remove its directories."""
    stop(run)
    for directory in (run.scratch, run.directory):
        remove_tree(directory)


def remove_tree(directory: Path) -> None:
    """Remove a directory and all in it, as far as that is possible; it may not be there."""
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():  # files of subordinate ids, from a build by a plain user: only its namespace may remove them
        argv = ["unshare", "--map-auto", "--map-root-user", "rm", "-rf", "--", str(directory)]
        subprocess.run(argv, capture_output=True, check=False)


def processes_of(run_id: str) -> list[int]:
    """The processes of this machine, besides our own, that a run started."""
    wanted = f"{MARK}={run_id}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(entry.name) != os.getpid() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def leftovers(run_id: str, where: Path) -> list[str]:
    """What is left of a run on this machine, in words; ``where`` is its cache. A killed process gets a moment to go."""
    poll(lambda: not processes_of(run_id), timeout=_KILL_BOUND, interval=0.05)
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if run_id in line]
    return [
        *(f"process {pid}: {' '.join(words(pid))[:80]}" for pid in processes_of(run_id)),
        *(
            f"directory {directory}"
            for directory in (where / "runs" / run_id, *_scratch_of(run_id))
            if directory.exists()
        ),
        *(f"mount {mount}" for mount in mounts),
    ]


def words(pid: int) -> list[str]:
    """A process's command line; empty where it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    return []


def _make_scratch(run_id: str, directory: Path) -> Path:
    """Make a run's scratch directory, with a name that nobody can predict; a file in it names ``directory``."""
    scratch = Path(tempfile.mkdtemp(prefix=f"{PROGRAM}-{run_id}.", dir=_SHARED))
    (scratch / _OWNER).symlink_to(directory)
    scratch.chmod(0o711)  # other users' ids may pass, and neither list nor write
    return scratch


def _scratch_of(run_id: str) -> list[Path]:
    """The scratch directories that this account owns, for runs of that id (a glob pattern)."""
    return [
        path
        for path in sorted(_SHARED.glob(f"{PROGRAM}-{run_id}.*"))
        if stat.S_ISDIR((it := path.lstat()).st_mode) and it.st_uid == os.geteuid()
    ]


def _run(run_id: str) -> Run:
    scratch = next(iter(_scratch_of(run_id)), _SHARED / f"{PROGRAM}-{run_id}.none")
    return Run(run_id, cache() / "runs" / run_id, scratch)


def _unlocked() -> Iterator[tuple[Run, dict[str, object]]]:
    for directory in sorted((cache() / "runs").glob("*")):
        with contextlib.suppress(OSError), (directory / "lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # it lives
            if (note := _read(directory)) or not any(directory.glob("run.json")):
                yield _run(directory.name), note


def _orphans() -> Iterator[Run]:
    """Runs of which only the scratch directory is left: their cache was removed."""
    for scratch in _scratch_of("[0-9a-f]" * 10):
        owner = scratch / _OWNER
        if owner.is_symlink() and not owner.exists():
            yield Run(scratch.stem.removeprefix(f"{PROGRAM}-"), owner.readlink(), scratch)


def _note(directory: Path, host: str, *, kept: bool) -> None:
    files.replace_json(directory / "run.json", {"pid": os.getpid(), "host": host, "kept": kept})


def _read(directory: Path) -> dict[str, object]:
    try:
        note = read_json(directory / "run.json")
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
