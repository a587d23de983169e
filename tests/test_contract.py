import json

from hypothesis import given
from hypothesis import strategies as st

from checks.nanoclaw import contract
from checks.nanoclaw.contract import END, START, Markers, Mount, Output

OUTPUTS = st.lists(
    st.builds(
        Output,
        status=st.sampled_from(["success", "error"]),
        result=st.none() | st.text(),
        session=st.none() | st.text(),
        error=st.none() | st.text(),
    ),
    max_size=4,
)


def printed(output: Output) -> bytes:
    values = {"status": output.status, "result": output.result, "newSessionId": output.session, "error": output.error}
    return START + b"\n" + json.dumps(values, ensure_ascii=False).encode() + b"\n" + END + b"\n"


@given(OUTPUTS, st.binary(max_size=20).filter(lambda noise: b"-" not in noise), st.data())
def test_outputs_are_found_however_the_stream_is_cut(outputs: list[Output], noise: bytes, data: st.DataObject) -> None:
    stream = noise + b"".join(printed(output) + noise for output in outputs)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    markers = Markers()
    assert [output for piece in pieces for output in markers.feed(piece)] == outputs
    assert not markers.malformed


def test_an_output_is_not_told_before_its_end_marker() -> None:
    markers = Markers()
    whole = printed(Output("success", "text", None, None)).rstrip()
    assert markers.feed(whole[:-1]) == []
    assert len(markers.feed(whole[-1:])) == 1


def test_what_is_no_output_between_markers_is_kept_as_malformed() -> None:
    markers = Markers()
    for inside in (b"not json", b"[]", b'{"status": 1}', b'{"result": "x"}', b""):
        assert markers.feed(START + inside + END) == []
    assert len(markers.malformed) == 5


def run_options(uid: int) -> list[str]:
    mounts = [Mount("/a", "/b"), Mount("/c", "/d", readonly=True)]
    return contract.run_streams(name="n", zone="UTC", uid=uid, gid=7, mounts=mounts, image="image").words


def test_the_first_design_passes_user_only_where_the_uid_is_neither_0_nor_1000() -> None:
    mounts = ["-v", "/a:/b", "-v", "/c:/d:ro", "image"]
    start = ["run", "-i", "--rm", "--name", "n", "-e", "TZ=UTC"]
    assert run_options(1500) == [*start, "--user", "1500:7", "-e", "HOME=/home/node", *mounts]
    assert run_options(1000) == run_options(0) == [*start, *mounts]


def test_the_second_design_keeps_nanoclaws_own_order() -> None:
    args = contract.run_databases(
        name="n", install="x", zone="UTC", gateway=["-e", "A=B"], uid=1500, gid=7,
        mounts=[Mount("/a", "/b")], image="image",
    )  # fmt: skip
    assert args.words == [
        "run", "--rm", "--name", "n", "--label", "nanoclaw-install=x", "-e", "TZ=UTC", "-e", "A=B",
        "--add-host=host.docker.internal:host-gateway", "--user", "1500:7", "-e", "HOME=/home/node", "-v", "/a:/b",
        "--entrypoint", "bash", "image", "-c", "exec bun run /app/src/index.ts",
    ]  # fmt: skip


@given(st.text(), st.text())
def test_the_input_is_json_as_node_writes_it(prompt: str, secret: str) -> None:
    stdin = contract.input_of(prompt=prompt, group="g", is_main=True, secrets={"KEY": secret})
    assert json.loads(stdin)["prompt"] == prompt
    assert json.loads(stdin)["secrets"] == {"KEY": secret}
    assert list(json.loads(stdin)) == ["prompt", "groupFolder", "chatJid", "isMain", "assistantName", "secrets"]
