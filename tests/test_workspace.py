import json
import sqlite3
from pathlib import Path

import pytest

from checks.engine.case_context import CaseContext, RunScope
from checks.engine.docker import Record
from checks.engine.expect import Mismatch
from checks.nanoclaw import workspace
from checks.nanoclaw.agent import stub_agent
from checks.nanoclaw.contract import AgentProtocol
from checks.nanoclaw.workspace import Message
from tests.fakes import FakeHost


@pytest.fixture
def ctx(tmp_path: Path) -> CaseContext:
    ctx = CaseContext(FakeHost(tmp_path).pretend(), RunScope("run", "run"), "case", Record())
    ctx._directory = str(tmp_path)
    return ctx


def targets(place: workspace.Workspace) -> list[str]:
    return [f"{mount.target}{':ro' if mount.readonly else ''}" for mount in place.mounts]


def test_the_first_design_mounts_in_nanoclaws_order(ctx: CaseContext) -> None:
    agent = stub_agent()[AgentProtocol.STREAMS]
    last = ["/home/node/.claude", "/workspace/ipc", "/app/src"]
    assert targets(workspace.for_streams(ctx, agent)) == ["/workspace/group", "/workspace/global:ro", *last]
    assert targets(workspace.for_streams(ctx, agent, is_main=True)) == [
        "/workspace/project:ro", "/workspace/project/.env:ro", "/workspace/group", *last,
    ]  # fmt: skip


def test_every_source_of_a_mount_exists(ctx: CaseContext) -> None:
    agents = stub_agent()
    for place in (
        workspace.for_streams(ctx, agents[AgentProtocol.STREAMS], project="a b"),
        workspace.for_databases(ctx, agents[AgentProtocol.DATABASES], prompt="?"),
    ):
        for mount in place.mounts:
            assert Path(mount.source).exists(), mount


def test_the_agents_source_can_be_another_one(ctx: CaseContext) -> None:
    place = workspace.for_streams(ctx, stub_agent()[AgentProtocol.STREAMS], source="console.log(1)")
    (source,) = (mount.source for mount in place.mounts if mount.target == "/app/src")
    assert [path.name for path in Path(source).iterdir()] == ["index.ts"]
    assert Path(source, "index.ts").read_text() == "console.log(1)"


def test_an_agent_of_2_0_has_the_mounts_that_its_host_gives_it(ctx: CaseContext) -> None:
    place = workspace.for_databases(ctx, stub_agent()[AgentProtocol.DATABASES], prompt="?")
    assert targets(place) == [
        "/workspace", "/workspace/agent", "/workspace/agent/container.json:ro", "/workspace/agent/CLAUDE.md:ro",
        "/workspace/agent/.claude-fragments:ro", "/app/CLAUDE.md:ro", "/home/node/.claude", "/app/src:ro",
        "/app/skills:ro",
    ]  # fmt: skip


def test_a_message_waits_in_the_inbound_database(ctx: CaseContext) -> None:
    place = workspace.for_databases(ctx, stub_agent()[AgentProtocol.DATABASES], prompt="Who?")
    with sqlite3.connect(place.path(f"{place.exchange}/inbound.db")) as database:
        ((content, status),) = database.execute("SELECT content, status FROM messages_in")
        assert json.loads(content)["text"] == "Who?"
        assert status == "pending"
        assert database.execute("SELECT name FROM destinations").fetchall() == [(workspace.DESTINATION,)]
        assert database.execute("PRAGMA journal_mode").fetchone() != ("wal",)


def test_a_second_message_comes_after_the_first_and_a_scheduled_one_at_its_time(tmp_path: Path) -> None:
    file = tmp_path / "inbound.db"
    file.write_bytes(workspace.inbound([Message("now"), Message("later", due=1_700_000_000)]))
    with sqlite3.connect(file) as database:
        rows = database.execute("SELECT seq, process_after, content FROM messages_in ORDER BY seq").fetchall()
        due = "datetime(process_after) <= datetime(?, 'unixepoch')"
        ready = f"SELECT COUNT(*) FROM messages_in WHERE process_after IS NULL OR {due}"  # noqa: S608
        counts = [database.execute(ready, (1_700_000_000 + late,)).fetchone()[0] for late in (-1, 0)]
    database.close()
    assert [(seq, json.loads(content)["text"]) for seq, _, content in rows] == [(2, "now"), (4, "later")]
    assert counts == [1, 2]


def test_answers_are_read_from_a_copy_of_the_outbound_database(ctx: CaseContext) -> None:
    place = workspace.for_databases(ctx, stub_agent()[AgentProtocol.DATABASES], prompt="Who?")
    file = Path(place.path(f"{place.exchange}/outbound.db"))
    assert workspace.answers(file.read_bytes()) == ([], 0)
    with sqlite3.connect(file) as database:
        for seq, text in ((3, "second"), (1, "first")):
            database.execute(
                "INSERT INTO messages_out (id, seq, timestamp, kind, content) VALUES (?, ?, '', 'chat', ?)",
                (text, seq, json.dumps({"text": text})),
            )
        database.execute("INSERT INTO processing_ack VALUES ('message-1', 'completed', '')")
    database.close()
    assert workspace.answers(file.read_bytes()) == (["first", "second"], 1)
    with pytest.raises(sqlite3.Error):
        workspace.answers(file.read_bytes()[:5000])


def test_what_the_engine_makes_inside_a_mount_is_known(ctx: CaseContext) -> None:
    place = workspace.for_databases(ctx, stub_agent()[AgentProtocol.DATABASES], prompt="?")
    session = place.path(place.exchange)
    assert {f"{session}/agent", f"{session}/group"} <= place.mount_points()


def test_a_copied_program_can_still_be_run(ctx: CaseContext, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "from" / "run.sh").chmod(0o755)
    tree = workspace.Tree()
    tree.copy(tmp_path / "from", "to", tmp_path / "from")
    tree.lay_out(ctx)
    assert (tmp_path / "to" / "run.sh").stat().st_mode & 0o777 == 0o755


_ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS seq, 'a' AS content FROM n"


def changed(path: Path, *statements: str) -> bytes:
    database = sqlite3.connect(path)
    database.executescript(workspace._OUTBOUND)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()
    return path.read_bytes()


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE VIEW messages_out AS {_ENDLESS}",
        "CREATE VIRTUAL TABLE messages_out USING fts5(seq, content)",
        "SELECT 1",
    ],
    ids=["an endless view", "a virtual table", "no table"],
)
def test_only_tables_of_the_outbound_database_are_queried(tmp_path: Path, statement: str) -> None:
    data = changed(tmp_path / "outbound.db", "DROP TABLE messages_out", statement)
    with pytest.raises(Mismatch, match=r"the tables of outbound\.db; got no table messages_out"):
        workspace.answers(data)


def test_queries_of_the_outbound_database_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "INSERT INTO processing_ack SELECT x, 'b', '' FROM (WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL"
    data = changed(tmp_path / "outbound.db", f"{rows} SELECT x + 1 FROM n LIMIT 10000) SELECT x FROM n)")  # noqa: S608
    assert workspace.answers(data) == ([], 0)
    monkeypatch.setattr(workspace, "_QUERY_TIMEOUT", -1)
    with pytest.raises(Mismatch, match="to be read within"):
        workspace.answers(data)


def test_values_and_rows_of_the_outbound_database_are_bounded(tmp_path: Path) -> None:
    row = "INSERT INTO messages_out (id, seq, timestamp, kind, content)"
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 500)"
    data = changed(tmp_path / "rows.db", f"{row} {endless} SELECT x, x, '', '', 'a' FROM n")  # noqa: S608
    assert len(workspace.answers(data)[0]) == 100
    data = changed(tmp_path / "values.db", f"{row} VALUES (1, NULL, '', '', zeroblob(3000000))")
    with pytest.raises(sqlite3.Error):
        workspace.answers(data)
