"""A stub of the Messages API: the service that an agent under test talks to. It answers each key with its own text.

On this machine it listens on all addresses, since a container reaches its host by any but the loopback. So strangers
may call: they get no answer without a key, and can take neither memory nor threads without a bound.

Source of the wire format: https://docs.claude.com/en/api/messages-streaming
"""

from __future__ import annotations

import contextlib
import hmac
import io
import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from checks.core.bounded import parsed
from checks.core.errors import HostProblem

LARGEST = 32 * 2**20
"""Bytes of a request: the limit of the Messages API itself."""
MOST_CONNECTIONS = 64
"""Connections at a time; one more is closed at once."""

_PATIENCE = 60.0  # seconds that a whole request may take to arrive, and that an idle connection is kept
_HEADERS = 128 * 1024  # bytes that a request may have before its body
_PIECE = 7  # characters of text in an event: any answer comes in several
_LINGER = 1.0  # seconds that a refused client is given to read why
_RECORDED = LARGEST  # bytes of questions that a conversation keeps


@dataclass
class Conversation:
    """What one agent is answered, and what it asked."""

    key: str = field(repr=False)  # a traceback prints values
    text: str
    silent: bool = False
    """Take the question and never answer."""
    asked: list[str] = field(default_factory=list)
    """The bodies of its requests for a message, the first 32 MB of them."""
    heard: threading.Event = field(default_factory=threading.Event)
    """Set when the first of them has come."""
    _room: int = _RECORDED

    def hear(self, body: bytes) -> None:
        """Take a request for a message."""
        if len(body) <= self._room:
            self._room -= len(body)
            self.asked.append(body.decode(errors="replace"))
        self.heard.set()


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
        """The conversation of that key. How long it takes tells nothing about the keys that there are."""
        shown, found = key.encode("utf-8", "surrogateescape"), None
        for known, talk in list(self._conversations.items()):
            if hmac.compare_digest(known.encode(), shown):
                found = talk
        return found

    def closed(self, within: float) -> bool:
        """Whether the service is closed, now or ``within`` so many seconds."""
        return self._closing.wait(within)

    def close(self) -> None:
        """Stop listening and let go of who waits for an answer."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, address: tuple[str, int], service: Service) -> None:
        self.service = service
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is nothing to report."""


class _Incoming(io.RawIOBase):
    """What a client sends, until the deadline of its request: a client that sends a byte now and then meets it too."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline = 0.0
        self._room = 0
        self.begin()

    def begin(self) -> None:
        """Give the next request its time, and its headers their room."""
        self._deadline = time.monotonic() + _PATIENCE
        self._room = _HEADERS

    def expect(self, body: int) -> None:
        """Let a body of so many bytes come."""
        self._room += body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0 or self._room <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        try:
            got = self._connection.recv_into(buffer)
            self._room -= got
            return got
        finally:
            self._connection.settimeout(_PATIENCE)  # each answer's own


class _Refused(Exception):
    """A request that is answered with an error, after which its connection is closed."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._incoming = _Incoming(self.connection)
        self.connection.settimeout(_PATIENCE)
        self.rfile = cast("io.BufferedReader", io.BufferedReader(self._incoming))

    def handle_one_request(self) -> None:
        self._incoming.begin()
        super().handle_one_request()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Requests are evidence, not log lines."""

    def do_HEAD(self) -> None:
        self._send(200, b"")

    def do_GET(self) -> None:
        self._send(200, self.server.service.token.encode(), "text/plain")

    def do_POST(self) -> None:
        try:
            self._answer()
        except _Refused as why:
            self.close_connection = True  # the rest of what was sent is no request
            error = {"type": "error", "error": {"type": why.kind, "message": str(why)}}
            self._send_json(why.status, error)
            self._linger()

    def _answer(self) -> None:
        # The key first: nothing is read for a stranger.
        talk = self.server.service.of(self._key())
        if talk is None:
            raise _Refused(401, "authentication_error", "unknown key")
        length = self._length()
        self._incoming.expect(length)
        body = self.rfile.read(length)
        path = self.path.partition("?")[0]
        if path == "/v1/messages/count_tokens":
            self._send_json(200, {"input_tokens": len(body) // 4})
        elif path == "/v1/messages":
            self._message(talk, body)
        else:
            raise _Refused(404, "not_found_error", path)

    def _length(self) -> int:
        """The size of the body in bytes, which has to be named once. Raises _Refused."""
        named = self.headers.get_all("content-length") or []
        if self.headers.get("transfer-encoding") or not named:
            raise _Refused(411, "invalid_request_error", "the length of the body is needed")
        if len(named) > 1 or not (named[0].isascii() and named[0].isdigit()):
            raise _Refused(400, "invalid_request_error", "content-length is not a number")
        if len(named[0]) > 12 or int(named[0]) > LARGEST:
            raise _Refused(413, "request_too_large", f"a request may have {LARGEST} bytes")
        return int(named[0])

    def _linger(self) -> None:
        """Read what else a refused client sends, for a moment: closing at once would take the answer from it."""
        deadline = time.monotonic() + _LINGER
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv(65536):
                    return

    def _key(self) -> str:
        return self.headers.get("x-api-key") or (self.headers.get("authorization") or "").removeprefix("Bearer ")

    def _message(self, talk: Conversation, body: bytes) -> None:
        talk.hear(body)
        if talk.silent:
            self._wait()
            return
        try:
            wanted = parsed(body)
        except ValueError:
            wanted = None
        if not isinstance(wanted, dict):
            raise _Refused(400, "invalid_request_error", "the body is not a JSON object")
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

    def _wait(self) -> None:
        """Return when the service is closed or the client has gone."""
        self.close_connection = True
        self.connection.settimeout(0)
        while not self.server.service.closed(0.2):
            with contextlib.suppress(BlockingIOError):
                if not self.connection.recv(1, socket.MSG_PEEK):
                    return

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
