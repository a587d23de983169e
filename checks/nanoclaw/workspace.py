"""The directories that nanoclaw makes for an agent, and their mounts, in its own order."""

from __future__ import annotations

import json
import sqlite3
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from checks.core import run_directories
from checks.core.archive import Member, pack
from checks.core.bounded import parsed
from checks.engine.case_context import CaseContext
from checks.engine.expect import Mismatch
from checks.nanoclaw.agent import Agent
from checks.nanoclaw.checkout import entries
from checks.nanoclaw.contract import Mount
from checks.nanoclaw.gateway import CERTIFICATE

PROJECT = "nanoclaw"
"""The default name of the project directory in a case's directory."""
GROUP = "family"
SESSION = "sess-1"
AGENT_GROUP = "ag-1"
DESTINATION = "home"
"""The destination for answers of an agent of 2.x."""

_WORKING_DIRECTORY = "/workspace/group"

_INBOUND = """
CREATE TABLE messages_in (
  id TEXT PRIMARY KEY, seq INTEGER UNIQUE, kind TEXT NOT NULL, timestamp TEXT NOT NULL, status TEXT DEFAULT 'pending',
  process_after TEXT, recurrence TEXT, series_id TEXT, tries INTEGER DEFAULT 0, trigger INTEGER NOT NULL DEFAULT 1,
  platform_id TEXT, channel_type TEXT, thread_id TEXT, content TEXT NOT NULL, source_session_id TEXT,
  on_wake INTEGER NOT NULL DEFAULT 0);
CREATE TABLE delivered (
  message_out_id TEXT PRIMARY KEY, platform_message_id TEXT, status TEXT NOT NULL DEFAULT 'delivered',
  delivered_at TEXT NOT NULL);
CREATE TABLE destinations (
  name TEXT PRIMARY KEY, display_name TEXT, type TEXT NOT NULL, channel_type TEXT, platform_id TEXT,
  agent_group_id TEXT);
CREATE TABLE session_routing (
  id INTEGER PRIMARY KEY CHECK (id = 1), channel_type TEXT, platform_id TEXT, thread_id TEXT);
"""

_OUTBOUND = """
CREATE TABLE messages_out (
  id TEXT PRIMARY KEY, seq INTEGER UNIQUE, in_reply_to TEXT, timestamp TEXT NOT NULL, deliver_after TEXT,
  recurrence TEXT, kind TEXT NOT NULL, platform_id TEXT, channel_type TEXT, thread_id TEXT, content TEXT NOT NULL);
CREATE TABLE processing_ack (message_id TEXT PRIMARY KEY, status TEXT NOT NULL, status_changed TEXT NOT NULL);
CREATE TABLE session_state (key TEXT PRIMARY KEY, value TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE TABLE container_state (
  id INTEGER PRIMARY KEY CHECK (id = 1), current_tool TEXT, tool_declared_timeout_ms INTEGER, tool_started_at TEXT,
  updated_at TEXT NOT NULL);
"""


_QUERY_TIMEOUT = 5.0  # seconds for reading the outbound database
_LARGEST_VALUE = 2**20  # bytes of a value in it

# Only tables with pages of their own: views and virtual tables run SQL of the agent's choice.
_TABLES = """
SELECT name FROM main.sqlite_master
WHERE type = 'table' AND rootpage > 0 AND name IN ('messages_out', 'processing_ack') LIMIT 4
"""
# Without ORDER BY, for which SQLite would sort without a limit in memory.
_SENT = "SELECT COALESCE(CAST(seq AS INTEGER), 0), COALESCE(CAST(content AS TEXT), '') FROM messages_out LIMIT 100"


@dataclass(frozen=True)
class Workspace:
    """A project directory on the host for one agent."""

    ctx: CaseContext
    name: str
    """The project directory's name in the case's directory."""
    mounts: Sequence[Mount]
    claude: str
    """The directory of Claude Code's state and debug log; a name in the case's directory."""
    exchange: str
    """The directory for messages: ipc, or the session's."""
    gateway: Sequence[Mount] = ()
    """The mounts of the credential gateway, which nanoclaw 2.x adds before its own."""

    def mount_points(self) -> set[str]:
        """Host paths of empty files and directories that the engine makes: for nested mounts, and for the image's
        working directory. The engine decides who owns them, also with Docker."""
        targets = [*(mount.target for mount in self.mounts), _WORKING_DIRECTORY]
        return {
            outer.source + target.removeprefix(outer.target)
            for outer in self.mounts
            for target in targets
            if target.startswith(f"{outer.target}/")
        }

    def path(self, name: str) -> str:
        """The full path of a name in the case's directory."""
        return f"{self.ctx.directory}/{name}"


class Tree:
    """Directories and files to be made on a host at once."""

    def __init__(self) -> None:
        self._members: list[Member] = []

    def directory(self, *names: str) -> None:
        """Directories, with those above them."""
        self._members += [Member(name, None, 0o755) for name in names]

    def file(self, name: str, content: str | bytes, mode: int = 0o644) -> None:
        """A file."""
        self._members.append(Member(name, content.encode() if isinstance(content, str) else content, mode))

    def copy(self, directory: Path, name: str, root: Path) -> None:
        """Copy a directory of the checkout ``root`` on this machine; links stay links. Raises as ``entries`` does."""
        for each in entries(directory, root):
            path = f"{name}/{each.name}"
            if stat.S_ISREG(each.mode):
                self.file(path, each.data, each.mode & 0o777)
            elif stat.S_ISDIR(each.mode):
                self.directory(path)
            else:
                self._members.append(Member(path, target=each.target))

    def change(self, name: str, to: Callable[[bytes], bytes]) -> None:
        """Change the content of a file, if the tree has it."""
        for at, member in enumerate(self._members):
            if member.name == name and member.data is not None and not member.target:
                self._members[at] = Member(name, to(member.data), member.mode)

    def lay_out(self, ctx: CaseContext) -> None:
        """Make all of it in the case's directory."""
        ctx.host.unpack(ctx.directory, pack(self._members), doing="making the agent's directories")


def for_streams(
    ctx: CaseContext, agent: Agent, *, project: str = PROJECT, is_main: bool = False, source: str = ""
) -> Workspace:
    """The directories of an agent of 1.x. ``source`` replaces the agent's own program."""
    tree = Tree()
    groups, sessions, ipc = f"{project}/groups", f"{project}/data/sessions/{GROUP}", f"{project}/data/ipc/{GROUP}"
    claude, runner = f"{sessions}/.claude", f"{sessions}/agent-runner-src"
    tree.directory(
        f"{groups}/{GROUP}/logs", f"{groups}/global", *(f"{ipc}/{each}" for each in ("messages", "tasks", "input"))
    )
    tree.file(f"{groups}/global/CLAUDE.md", "# Global memory\n")
    tree.file(f"{claude}/settings.json", json.dumps({"env": {"CLAUDE_CODE_DISABLE_AUTO_MEMORY": "0"}}))
    tree.file(f"{project}/.env", "SECRET=not-for-the-agent\n")
    tree.file(f"{project}/package.json", "{}\n")
    if source:
        tree.file(f"{runner}/index.ts", source)
    else:
        tree.copy(agent.source, runner, agent.root)
    tree.lay_out(ctx)

    def at(name: str) -> str:
        return f"{ctx.directory}/{name}"

    if is_main:
        first = [
            Mount(at(project), "/workspace/project", readonly=True),
            Mount("/dev/null", "/workspace/project/.env", readonly=True),
            Mount(at(f"{groups}/{GROUP}"), "/workspace/group"),
        ]
    else:
        first = [
            Mount(at(f"{groups}/{GROUP}"), "/workspace/group"),
            Mount(at(f"{groups}/global"), "/workspace/global", readonly=True),
        ]
    mounts = [
        *first,
        Mount(at(claude), "/home/node/.claude"),
        Mount(at(ipc), "/workspace/ipc"),
        Mount(at(runner), "/app/src"),
    ]
    return Workspace(ctx, project, mounts, claude, ipc)


def for_databases(
    ctx: CaseContext, agent: Agent, *, prompt: str, project: str = PROJECT, source: str = ""
) -> Workspace:
    """The directories of an agent of 2.x, with a message in its inbound database. ``source`` replaces its program."""
    tree = Tree()
    group, sessions = f"{project}/groups/{GROUP}", f"{project}/data/v2-sessions/{AGENT_GROUP}"
    session, claude, container = f"{sessions}/{SESSION}", f"{sessions}/.claude-shared", f"{project}/container"
    tree.directory(f"{session}/outbox", f"{group}/.claude-fragments", f"{claude}/skills")
    tree.file(f"{group}/container.json", json.dumps({
        "mcpServers": {}, "packages": {"apt": [], "npm": []}, "additionalMounts": [], "skills": [],
        "provider": "claude", "groupName": GROUP, "assistantName": "Andy", "agentGroupId": AGENT_GROUP,
    }))  # fmt: skip
    tree.file(f"{group}/CLAUDE.md", "# Andy\n")
    tree.file(f"{group}/.claude-fragments/core.md", "# Core\n")
    tree.file(f"{group}/CLAUDE.local.md", "")
    tree.file(f"{claude}/settings.json", "{}\n")
    tree.file(f"{container}/CLAUDE.md", "# Shared\n")
    tree.file(f"{container}/skills/README.md", "")
    tree.file(f"{container}/ca.pem", "")
    if source:
        tree.file(f"{container}/agent-runner/src/index.ts", source)
    else:
        tree.copy(agent.source, f"{container}/agent-runner/src", agent.root)
    tree.file(f"{session}/inbound.db", inbound([Message(prompt)]))
    tree.file(f"{session}/outbound.db", _database(_OUTBOUND))
    tree.lay_out(ctx)

    def at(name: str) -> str:
        return f"{ctx.directory}/{name}"

    mounts = [
        Mount(at(session), "/workspace"),
        Mount(at(group), "/workspace/agent"),
        Mount(at(f"{group}/container.json"), "/workspace/agent/container.json", readonly=True),
        Mount(at(f"{group}/CLAUDE.md"), "/workspace/agent/CLAUDE.md", readonly=True),
        Mount(at(f"{group}/.claude-fragments"), "/workspace/agent/.claude-fragments", readonly=True),
        Mount(at(f"{container}/CLAUDE.md"), "/app/CLAUDE.md", readonly=True),
        Mount(at(claude), "/home/node/.claude"),
        Mount(at(f"{container}/agent-runner/src"), "/app/src", readonly=True),
        Mount(at(f"{container}/skills"), "/app/skills", readonly=True),
    ]
    gateway = [Mount(at(f"{container}/ca.pem"), CERTIFICATE, readonly=True)]
    return Workspace(ctx, project, mounts, claude, session, gateway)


@dataclass(frozen=True)
class Message:
    """A message for an agent of 2.x. ``due``: its time in seconds since 1970; 0 for a message without one."""

    text: str
    due: int = 0


def inbound(messages: Sequence[Message]) -> bytes:
    """The inbound database with these messages.

    The agent opens the database anew for every look, so a new one can take the place of the old one.
    """
    return _database(_INBOUND, _waiting(messages))


def answers(database: bytes) -> tuple[list[str], int]:
    """Read the replies of a 2.x agent from its outbound database, and how many messages it has completed.

    Raises sqlite3.Error if the copy was taken during a write, and Mismatch if the agent replaced a table with
    something that runs its own SQL.
    """
    deadline = time.monotonic() + _QUERY_TIMEOUT
    with tempfile.NamedTemporaryFile(suffix=".db", dir=run_directories.cache()) as copy:
        copy.write(database)
        copy.flush()
        connection = sqlite3.connect(f"file:{copy.name}?mode=ro&immutable=1", uri=True)
        try:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE)
            connection.set_progress_handler(lambda: time.monotonic() > deadline, 1000)
            for setting in ("trusted_schema=OFF", "temp_store=MEMORY"):
                connection.execute(f"PRAGMA {setting}")
            tables = {name for (name,) in connection.execute(_TABLES)}
            if missing := {"messages_out", "processing_ack"} - tables:
                raise Mismatch("the tables of outbound.db", f"no table {', '.join(sorted(missing))}")
            rows = connection.execute(_SENT).fetchall()
            (done,) = connection.execute("SELECT COUNT(*) FROM processing_ack WHERE status = 'completed'").fetchone()
        except sqlite3.Error as error:
            if time.monotonic() > deadline:
                raise Mismatch(f"outbound.db to be read within {_QUERY_TIMEOUT:g} s", str(error)) from error
            raise
        finally:
            connection.close()
    return [_text_of(content) for _, content in sorted(rows)], int(done)


def _text_of(content: object) -> str:
    """The text of a message; other content is returned unchanged."""
    try:
        message = parsed(str(content))
    except ValueError:
        return str(content)
    return str(message.get("text", "")) if isinstance(message, dict) else str(content)


_MESSAGE = """
INSERT INTO messages_in (id, seq, kind, timestamp, platform_id, channel_type, process_after, content)
VALUES (?, ?, 'chat', '2026-01-01T00:00:00.000Z', 'home@verify', 'verify', ?, ?)
"""


def _waiting(messages: Sequence[Message]) -> Iterable[tuple[str, tuple[str | int | None, ...]]]:
    """Messages for the agent, its possible destinations, and the default one."""
    for number, message in enumerate(messages, 1):
        due = f"{datetime.fromtimestamp(message.due, UTC):%Y-%m-%dT%H:%M:%S}.000Z" if message.due else None
        content = json.dumps({"text": message.text, "sender": "Someone", "senderId": "someone"})
        yield _MESSAGE, (f"message-{number}", 2 * number, due, content)
    yield "INSERT INTO destinations VALUES (?, 'Home', 'channel', 'verify', 'home@verify', NULL)", (DESTINATION,)
    yield "INSERT INTO session_routing VALUES (1, 'verify', 'home@verify', NULL)", ()


def _database(schema: str, rows: Iterable[tuple[str, tuple[str | int | None, ...]]] = ()) -> bytes:
    """A new SQLite database in nanoclaw's journal mode, without additional files."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(schema)
        for statement, values in rows:
            connection.execute(statement, values)
        connection.commit()
        return connection.serialize()
    finally:
        connection.close()
