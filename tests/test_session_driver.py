"""nanoclaw 2.2's docker commands, compared with those that its own driver called a recording docker with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.nanoclaw import session_driver
from checks.nanoclaw.contract import Mount
from checks.nanoclaw.session_driver import Gateway, Limits, Notice, Phase, SessionKey, notices

KEY = SessionKey("slug", "ag-1", "sess-1")
DIED: dict[str, Any] = {
    "Action": "die",
    "Actor": {"Attributes": {"exitCode": "3", "nanoclaw-group": "ag-1", "nanoclaw-session": "sess-1"}},
}
OF_PODMAN: dict[str, Any] = {"Name": "ncl-slug-sess-1", "Status": "died", "Attributes": DIED["Actor"]}


def created(uid: int = 1500, **more: object) -> list[str]:
    command = session_driver.create(
        KEY, folder="family", started="nanoclaw-v2-family-1", zone="UTC", uid=uid, gid=7, image="IMG", **more,  # type: ignore[arg-type]
    )  # fmt: skip
    return command.words


LABELS = [
    "--label", "nanoclaw-install=slug", "--label", "nanoclaw-group=ag-1", "--label", "nanoclaw-session=sess-1",
    "--label", "nanoclaw-role=agent", "--label", "nanoclaw-container-name=nanoclaw-v2-family-1",
    "--label", "nanoclaw-group-folder=family",
]  # fmt: skip
AGENT = ["--entrypoint", "bash", "IMG", "-c", "exec bun run /app/src/index.ts"]
HARDENED = ["--cap-drop=ALL", "--security-opt", "no-new-privileges", "--init"]


def test_create_has_every_option_of_the_driver_in_its_order() -> None:
    gateway = Gateway({"HTTPS_PROXY": "p"}, [Mount("/ca", "/tmp/ca.pem", readonly=True)])
    words = created(mounts=[Mount("/a", "/b")], gateway=gateway, limits=Limits(64, "2", 512))
    assert words == [
        "create", "--rm", "--name", "ncl-slug-sess-1", *LABELS, "--cpus", "2", "--memory", "512m", "--shm-size=1024m",
        *HARDENED, "--pids-limit", "64", "--user", "1500:7", "-e", "TZ=UTC", "-e", "HOME=/home/node",
        "-e", "HTTPS_PROXY=p", "-v", "/a:/b", "-v", "/ca:/tmp/ca.pem:ro",
        "--add-host=host.docker.internal:host-gateway", *AGENT,
    ]  # fmt: skip


def test_limits_are_set_only_where_nanoclaw_is_asked_for_them() -> None:
    assert [word for word in created() if word in ("--cpus", "--memory")] == []
    assert created()[created().index("--pids-limit") + 1] == "2048"
    assert "--pids-limit" not in created(limits=Limits(pids=0))


def test_user_is_passed_for_every_account_but_root() -> None:
    assert created(1000)[created(1000).index("--user") + 1] == "1000:7"
    assert "--user" not in created(0)
    assert "HOME=/home/node" not in created(0)


def test_an_agent_without_egress_is_on_that_network_alone() -> None:
    words = created(network=session_driver.on_network("nanoclaw-egress"))
    assert words[words.index("--network") + 1] == "nanoclaw-egress"
    assert not [word for word in words if word.startswith("--add-host")]


def test_a_long_name_is_cut_and_gets_a_digest_of_the_whole() -> None:
    assert KEY.container == "ncl-slug-sess-1"
    assert SessionKey("a b", "", "c").container == "ncl-a-b-c"
    assert SessionKey("a" * 30, "", "b" * 30).container == f"ncl-{'a' * 30}-{'b' * 8}-baba8b9f"


def test_the_commands_that_read_are_those_of_the_driver() -> None:
    index = "|".join(f'{{{{index .Config.Labels "nanoclaw-{name}"}}}}' for name in ("install", "group", "session"))
    assert session_driver.owner("n") == ["inspect", "--format", index, "n"]
    assert session_driver.status("n") == ["inspect", "--format", "{{.State.Status}}|{{.State.ExitCode}}", "n"]
    agents = ["--filter", "label=nanoclaw-install=slug", "--filter", "label=nanoclaw-role=agent"]
    form = '{{.Names}}|{{.State}}|{{.Label "nanoclaw-group"}}|{{.Label "nanoclaw-session"}}'
    assert session_driver.sessions("slug") == ["ps", "-a", *agents, "--format", form]
    assert session_driver.residue("slug") == [
        "ps", "-a", "--filter", "label=nanoclaw-install=slug", "--filter", "status=exited", "--filter",
        "status=created", "--filter", "status=dead", "--format", "{{.Names}}",
    ]  # fmt: skip
    form = '{{.Names}}|{{.Label "nanoclaw-session"}}'
    assert session_driver.of_any_version("slug") == [
        "ps", "--filter", "label=nanoclaw-install=slug", "--format", form,
    ]  # fmt: skip
    assert session_driver.networks("slug") == [
        "network", "ls", "--filter", "label=nanoclaw-install=slug", "--format", "{{.Name}}",
    ]  # fmt: skip
    assert session_driver.events("slug").words == [
        "events", "--filter", "type=container", *agents, "--format", "{{json .}}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("running", Phase.RUNNING),
        ("paused", Phase.RUNNING),
        ("created", Phase.STARTING),
        ("exited", Phase.TERMINAL),
        ("Up 3 seconds", Phase.TERMINAL),  # Podman before 5
        ("", Phase.TERMINAL),
    ],
)
def test_a_state_of_ps_is_a_phase(state: str, phase: Phase) -> None:
    assert Phase.of(state) is phase


def test_the_end_of_an_agent_is_recognized_in_docker_s_event_and_not_in_podman_s() -> None:
    assert notices(json.dumps(DIED), "slug") == [(KEY, Notice.TERMINAL)]
    assert notices(json.dumps(OF_PODMAN), "slug") == []
    assert notices(json.dumps({**DIED, "Action": "exec_die"}), "slug") == []
    assert notices(json.dumps({**DIED, "Action": "start"}), "slug") == [(KEY, Notice.PHASE)]
    assert notices(json.dumps({**DIED, "Actor": {"Attributes": {"nanoclaw-group": "ag-1"}}}), "slug") == []


@pytest.mark.parametrize("odd", ["[]", "{}", '{"Actor": 1}', '{"Action": "die", "Actor": {"Attributes": []}}', "{{}"])
def test_other_documents_are_passed_over(odd: str) -> None:
    assert notices(odd, "slug") == []


@given(
    st.lists(st.sampled_from([DIED, OF_PODMAN, {"Action": 'a "quoted" } brace { \\'}]), max_size=5),
    st.sampled_from([None, 2]),
    st.sampled_from(["", "\n", " \n\n"]),
)
def test_events_are_found_however_they_are_written(
    documents: list[dict[str, Any]], indent: int | None, between: str
) -> None:
    stream = between.join(json.dumps(each, indent=indent) for each in documents)
    assert len(notices(stream, "slug")) == documents.count(DIED)
    assert len(notices(stream[:-1], "slug")) == documents[:-1].count(DIED)  # the last one is incomplete


def test_nested_documents_without_an_end_are_passed_over() -> None:
    assert notices("{" * 100_000 + "}" * 100_000, "slug") == []
