import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from checks.nanoclaw import service as module
from checks.nanoclaw.service import LARGEST, MAX_CONNECTIONS, Service
from tests.patience import AT_ONCE, PATIENCE


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service("127.0.0.1")
    yield service
    service.close()


def post(service: Service, key: str, path: str = "/v1/messages", **body: Any) -> bytes:
    request = urllib.request.Request(
        f"http://127.0.0.1:{service.port}{path}",
        data=json.dumps({"model": "m", "messages": [], **body}).encode(),
        headers={"x-api-key": key},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return bytes(answer.read())


def streamed(data: bytes) -> str:
    events = [json.loads(line.removeprefix("data: ")) for line in data.decode().splitlines() if line.startswith("data")]
    assert [events[0]["type"], events[-1]["type"]] == ["message_start", "message_stop"]
    return "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")


def test_each_key_is_answered_with_its_own_text(service: Service) -> None:
    one, other = service.conversation(), service.conversation("ünicode, in several pieces")
    assert streamed(post(service, one.key, stream=True)) == one.text
    assert streamed(post(service, other.key, stream=True)) == other.text
    assert one.text != other.text


def test_a_caller_who_does_not_stream_gets_one_message(service: Service) -> None:
    conversation = service.conversation()
    assert json.loads(post(service, conversation.key))["content"] == [{"type": "text", "text": conversation.text}]


def test_what_was_asked_is_kept(service: Service) -> None:
    conversation = service.conversation()
    assert not conversation.request_received.is_set()
    post(service, conversation.key, system="a question")
    assert conversation.request_received.is_set()
    assert "a question" in conversation.asked[0]


def test_an_unknown_key_is_refused(service: Service) -> None:
    service.conversation()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        post(service, "sk-of-someone-else")


def test_anything_else_is_not_found(service: Service) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        post(service, service.conversation().key, path="/v1/other")


def test_a_silent_conversation_is_heard_and_not_answered(service: Service) -> None:
    conversation = service.conversation(silent=True)
    request = urllib.request.Request(
        f"http://127.0.0.1:{service.port}/v1/messages",
        data=b"{}",
        headers={"authorization": f"Bearer {conversation.key}"},
    )
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(request, timeout=3)
    assert conversation.request_received.is_set()


def test_it_is_known_by_its_token(service: Service) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/", timeout=PATIENCE) as answer:
        assert answer.read().decode() == service.token


def sent(service: Service, head: str, body: bytes = b"", *, key: str = "") -> bytes:
    """All that is answered to these bytes; the headers end where ``head`` does."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as client:
        shown = f"x-api-key: {key}\r\n" if key else ""
        client.sendall(f"{head}\r\n{shown}\r\n".encode() + body)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
        return answer


POST = "POST /v1/messages HTTP/1.1\r\nhost: x"


def test_a_stranger_is_refused_before_the_body_is_read(service: Service) -> None:
    began = time.monotonic()
    answer = sent(service, f"{POST}\r\ncontent-length: {LARGEST}", b"only the beginning", key="sk-of-a-stranger")
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert time.monotonic() - began < AT_ONCE


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"content-length: {LARGEST + 1}", 413),
        ("content-length: 99999999999999999999999999", 413),
        ("content-length: -1", 400),
        ("content-length: 2\r\ncontent-length: 3", 400),
        ("content-length: \xb2", 400),
        ("transfer-encoding: chunked", 411),
        ("x: y", 411),
    ],
)
def test_a_body_of_no_size_or_too_much_is_refused(service: Service, header: str, status: int) -> None:
    assert sent(service, f"{POST}\r\n{header}", key=service.conversation().key).startswith(
        f"HTTP/1.1 {status} ".encode()
    )


@pytest.mark.parametrize("body", [b"{", b"[]", b"1", b"[" * 100_000, b"\xff"])
def test_what_is_no_request_is_refused(service: Service, body: bytes) -> None:
    head = f"{POST}\r\ncontent-length: {len(body)}"
    assert sent(service, head, body, key=service.conversation().key).startswith(b"HTTP/1.1 400 ")


def test_a_body_that_ends_before_its_size_is_refused_and_is_no_request(service: Service) -> None:
    conversation = service.conversation()
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as client:
        client.sendall(f"{POST}\r\nx-api-key: {conversation.key}\r\ncontent-length: 50\r\n\r\n{{}}".encode())
        client.shutdown(socket.SHUT_WR)
        assert client.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert conversation.asked == []


def test_a_client_that_sends_a_byte_now_and_then_is_let_go(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEY_TIMEOUT", 1.0)
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as client:
        began = time.monotonic()
        try:
            while time.monotonic() - began < AT_ONCE:
                client.sendall(b"G")
                time.sleep(0.1)
        except OSError:
            return
    pytest.fail("the service still answers")


def test_endless_headers_are_not_read(service: Service) -> None:
    try:
        answer = sent(service, "GET / HTTP/1.1\r\n" + "\r\n".join(f"x{n}: {'y' * 60_000}" for n in range(90)))
    except ConnectionError:
        return
    assert b"200 OK" not in answer


def test_silent_strangers_leave_room_for_a_client_with_a_key(service: Service) -> None:
    conversation = service.conversation()
    clients = [socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) for _ in range(MAX_CONNECTIONS)]
    try:
        time.sleep(0.5)
        for _ in range(3):
            assert json.loads(post(service, conversation.key))["content"][0]["text"] == conversation.text
    finally:
        for client in clients:
            client.close()


def test_strangers_do_not_take_the_place_of_clients_with_a_key(service: Service) -> None:
    conversation = service.conversation()
    known = [http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE) for _ in range(3)]

    def ask(client: http.client.HTTPConnection) -> bytes:
        client.request("POST", "/v1/messages", b"{}", {"x-api-key": conversation.key})
        return client.getresponse().read()

    assert all(conversation.text.encode() in ask(client) for client in known)
    connections = [client.sock for client in known]
    strangers = [
        socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) for _ in range(MAX_CONNECTIONS)
    ]
    try:
        time.sleep(0.5)
        assert all(conversation.text.encode() in ask(client) for client in known)
        assert [client.sock for client in known] == connections  # not connected again
    finally:
        for stranger in strangers:
            stranger.close()
        for client in known:
            client.close()


def test_connections_are_bounded(service: Service) -> None:
    before = threading.active_count()
    clients = [
        socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) for _ in range(MAX_CONNECTIONS + 20)
    ]
    try:
        time.sleep(1)
        assert threading.active_count() - before <= MAX_CONNECTIONS
        for client in clients:
            client.close()
        deadline = time.monotonic() + PATIENCE
        while True:  # who has gone makes room
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{service.port}/", timeout=5)
                break
            except (OSError, urllib.error.URLError):
                assert time.monotonic() < deadline
    finally:
        for client in clients:
            client.close()


def test_what_is_recorded_is_bounded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = service.conversation()
    conversation._room = 1000
    for _ in range(5):
        post(service, conversation.key, system="x" * 300)
    assert sum(map(len, conversation.asked)) <= 1000
    assert conversation.request_received.is_set()


def test_a_conversations_key_is_in_no_traceback(service: Service) -> None:
    conversation = service.conversation()
    assert conversation.key not in repr(conversation)


@pytest.mark.parametrize(
    ("line", "status"), [("GET /", 200), ("HEAD /", 200), ("GET /v1/messages", 404), ("GET /?x", 404), ("HEAD /x", 404)]
)
def test_without_a_key_only_the_word_is_answered(service: Service, line: str, status: int) -> None:
    assert sent(service, f"{line} HTTP/1.1\r\nconnection: close").startswith(f"HTTP/1.1 {status} ".encode())
