"""A stub of the Messages API: the service that an agent under test talks to. It answers each key with its own text.

Source of the wire format: https://docs.claude.com/en/api/messages-streaming
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from checks.problems import HostProblem

_PIECE = 7  # characters of text in an event: any answer comes in several


@dataclass
class Conversation:
    """What one agent is answered, and what it asked."""

    key: str
    text: str
    silent: bool = False
    """Take the question and never answer."""
    asked: list[str] = field(default_factory=list)
    """The bodies of its requests for a message."""
    heard: threading.Event = field(default_factory=threading.Event)
    """Set when the first of them has come."""


class Service:
    """The stub, listening on an address of this machine until it is closed."""

    def __init__(self, address: str) -> None:
        self._conversations: dict[str, Conversation] = {}
        self.token = secrets.token_hex(8)
        """What ``GET /`` answers: by it a client knows that it reached this service and no other."""
        self._closing = threading.Event()
        try:
            self._server = _Server((address, 0), self)
        except OSError as error:
            raise HostProblem(f"No port could be opened on this machine: {error.strerror}.") from error
        threading.Thread(target=self._server.serve_forever, name="messages-api", daemon=True).start()

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return int(self._server.server_address[1])

    def conversation(self, text: str = "", *, silent: bool = False) -> Conversation:
        """A new key, and what whoever shows it is answered. Without ``text``, a text that nobody can guess."""
        key = f"sk-ant-stub-{secrets.token_hex(12)}"
        talk = Conversation(key, text or f"The answer is {secrets.token_hex(12)}.", silent)
        self._conversations[key] = talk
        return talk

    def of(self, key: str) -> Conversation | None:
        """The conversation of that key."""
        return self._conversations.get(key)

    def wait(self) -> None:
        """Return when the service is closed."""
        self._closing.wait()

    def close(self) -> None:
        """Stop listening and let go of who waits for an answer."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], service: Service) -> None:
        self.service = service
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Requests are evidence, not log lines."""

    def do_HEAD(self) -> None:
        self._send(200, b"")

    def do_GET(self) -> None:
        self._send(200, self.server.service.token.encode(), "text/plain")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        talk = self.server.service.of(self._key())
        path = self.path.partition("?")[0]
        if talk is None:
            self._send_json(401, {"type": "error", "error": {"type": "authentication_error", "message": "unknown key"}})
        elif path == "/v1/messages/count_tokens":
            self._send_json(200, {"input_tokens": len(body) // 4})
        elif path == "/v1/messages":
            self._message(talk, body)
        else:
            self._send_json(404, {"type": "error", "error": {"type": "not_found_error", "message": path}})

    def _key(self) -> str:
        return self.headers.get("x-api-key") or (self.headers.get("authorization") or "").removeprefix("Bearer ")

    def _message(self, talk: Conversation, body: bytes) -> None:
        talk.asked.append(body.decode(errors="replace"))
        talk.heard.set()
        if talk.silent:
            self.server.service.wait()
            return
        wanted = json.loads(body)
        model = str(wanted.get("model", ""))
        if not wanted.get("stream"):
            self._send_json(200, {**_message(model), "content": [{"type": "text", "text": talk.text}]})
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in _events(model, talk.text):
            data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def _send_json(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, json.dumps(value).encode())

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _message(model: str) -> dict[str, Any]:
    return {
        "id": f"msg_{secrets.token_hex(12)}", "type": "message", "role": "assistant", "model": model, "content": [],
        "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 10},
    }  # fmt: skip


def _events(model: str, text: str) -> Iterator[dict[str, Any]]:
    yield {"type": "message_start", "message": {**_message(model), "stop_reason": None}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for at in range(0, len(text), _PIECE):
        yield {
            "type": "content_block_delta", "index": 0,
            "delta": {"type": "text_delta", "text": text[at : at + _PIECE]},
        }  # fmt: skip
    yield {"type": "content_block_stop", "index": 0}
    yield {
        "type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 10},
    }  # fmt: skip
    yield {"type": "message_stop"}
