import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from checks.nanoclaw.service import Service


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
    with urllib.request.urlopen(request, timeout=5) as answer:
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
    talk = service.conversation()
    assert json.loads(post(service, talk.key))["content"] == [{"type": "text", "text": talk.text}]


def test_what_was_asked_is_kept(service: Service) -> None:
    talk = service.conversation()
    assert not talk.heard.is_set()
    post(service, talk.key, system="a question")
    assert talk.heard.is_set()
    assert "a question" in talk.asked[0]


def test_an_unknown_key_is_refused(service: Service) -> None:
    service.conversation()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        post(service, "sk-of-someone-else")


def test_anything_else_is_not_found(service: Service) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        post(service, service.conversation().key, path="/v1/other")


def test_a_silent_conversation_is_heard_and_not_answered(service: Service) -> None:
    talk = service.conversation(silent=True)
    request = urllib.request.Request(
        f"http://127.0.0.1:{service.port}/v1/messages", data=b"{}", headers={"authorization": f"Bearer {talk.key}"}
    )
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(request, timeout=0.3)
    assert talk.heard.is_set()


def test_it_is_known_by_its_token(service: Service) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/", timeout=5) as answer:
        assert answer.read().decode() == service.token
