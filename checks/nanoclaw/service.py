"""A stub of the Messages API, the service of the agents under test. It answers each key with its own text.

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
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast

from checks.core.bounded import parsed
from checks.core.errors import HostProblem

LARGEST = 32 * 2**20
"""Bytes of a request: the limit of the real Messages API."""
MAX_CONNECTIONS = 64
"""Simultaneous connections; further ones are closed at once."""

_KEY_TIMEOUT = 10.0  # seconds for the key of a new connection to arrive
_DROP = 1.0  # seconds for a closed connection to free its place
_TIMEOUT = 60.0  # seconds for a complete request to arrive, and for an idle connection
_HEADERS = 128 * 1024  # bytes of a request before its body
_PIECE = 7  # characters of text in an event: every answer has several events
_LINGER = 1.0  # seconds for a refused client to read the answer
_RECORDED = LARGEST  # bytes of questions kept for a conversation


@dataclass
class Conversation:
    """The answer for one agent, and its questions."""

    key: str = field(repr=False)  # a traceback prints values
    text: str
    silent: bool = False
    """Whether to accept questions and never answer."""
    asked: list[str] = field(default_factory=list)
    """The bodies of its message requests, the first 32 MB."""
    request_received: threading.Event = field(default_factory=threading.Event)
    """Set when the first request has arrived."""
    _room: int = _RECORDED

    def hear(self, body: bytes) -> None:
        """Record a message request."""
        if len(body) <= self._room:
            self._room -= len(body)
            self.asked.append(body.decode(errors="replace"))
        self.request_received.set()


class Service:
    """The stub, listening on an address of this machine until it is closed."""

    def __init__(self, address: str) -> None:
        self._conversations: dict[str, Conversation] = {}
        self.token = secrets.token_hex(8)
        """The answer of ``GET /``, which identifies this service."""
        self._closing = threading.Event()
        self._server = BoundedServer.started(address, self, Handler)

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return self._server.port

    def conversation(self, text: str = "", *, silent: bool = False) -> Conversation:
        """A new key with its answer, by default a random one."""
        key = f"sk-ant-stub-{secrets.token_hex(12)}"
        conversation = Conversation(key, text or f"The answer is {secrets.token_hex(12)}.", silent)
        self._conversations[key] = conversation
        return conversation

    def of(self, key: str) -> Conversation | None:
        """The conversation of that key, looked up in constant time."""
        shown, found = key.encode("utf-8", "surrogateescape"), None
        for known, conversation in list(self._conversations.items()):
            if hmac.compare_digest(known.encode(), shown):
                found = conversation
        return found

    def closed(self, within: float) -> bool:
        """Whether the service is closed, or will be ``within`` so many seconds."""
        return self._closing.wait(within)

    def close(self) -> None:
        """Stop listening, and close waiting connections."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()


class BoundedServer(ThreadingHTTPServer):
    """An HTTP server with a limited number of connections. Closed with ``shutdown`` and ``server_close``."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], service: Service, handler: type[Handler]) -> None:
        self.service = service
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._unidentified: dict[Any, None] = {}  # connections without a key so far, the oldest first
        self._changing = threading.Lock()
        super().__init__(address, handler)

    @classmethod
    def started(cls, address: str, service: Service, handler: type[Handler], port: int = 0) -> Self:
        """A server that listens on an address and runs in a thread. Raises HostProblem if the port can't be opened."""
        try:
            server = cls((address, port), service, handler)
        except OSError as error:
            raise HostProblem(f"No port could be opened on this machine: {error.strerror}.") from error
        threading.Thread(target=server.serve_forever, name=handler.__name__, daemon=True).start()
        return server

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False) and not (self._dropped_one() and self._free.acquire(timeout=_DROP)):
            self.shutdown_request(request)
            return
        with self._changing:
            self._unidentified[request] = None
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._ended(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._ended(request)

    def identified(self, request: Any) -> None:
        """Keep a connection, which has shown a valid key, when others need its place."""
        with self._changing:
            self._unidentified.pop(request, None)

    def _ended(self, request: Any) -> None:
        self.identified(request)
        self._free.release()

    def _dropped_one(self) -> bool:
        """Close the oldest connection without a key; whether there was one. Its thread then frees its place."""
        with self._changing:
            oldest = next(iter(self._unidentified), None)
            self._unidentified.pop(oldest, None)
            if oldest is not None:
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
        return oldest is not None

    def handle_error(self, request: object, client_address: object) -> None:
        """Report nothing: clients may disconnect at any time."""


class _Incoming(io.RawIOBase):
    """A client's input with a deadline for each request, also for clients that send single bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._timeout = _KEY_TIMEOUT
        self._deadline = 0.0
        self._room = 0
        self.begin()

    def begin(self) -> None:
        """Start the deadline and the size limit of the next request."""
        self._deadline = time.monotonic() + self._timeout
        self._room = _HEADERS

    def identified(self) -> None:
        """Give a client with a valid key more time: for this request, and for later ones."""
        self._timeout = _TIMEOUT
        self._deadline = time.monotonic() + _TIMEOUT

    def expect(self, body: int) -> None:
        """Allow a body of that size."""
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
            self._connection.settimeout(_TIMEOUT)  # for each answer


class Refused(Exception):
    """A request that gets an error as answer; then its connection is closed."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection as the Messages API does."""

    protocol_version = "HTTP/1.1"
    server: BoundedServer

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._incoming = _Incoming(self.connection)
        self.connection.settimeout(_TIMEOUT)
        self.rfile = cast("io.BufferedReader", io.BufferedReader(self._incoming))

    def handle_one_request(self) -> None:
        self._incoming.begin()
        super().handle_one_request()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Requests are evidence, not log lines."""

    def do_HEAD(self) -> None:
        self.send(200 if self.path == "/" else 404, b"")

    def do_GET(self) -> None:
        if self.path == "/":
            self.send(200, self.server.service.token.encode(), "text/plain")
        else:
            self.send_json(404, {"type": "error", "error": {"type": "not_found_error", "message": "unknown path"}})

    def do_POST(self) -> None:
        with self.refusing():
            self._answer()

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Answer a Refused with its error, and close the connection."""
        try:
            yield
        except Refused as why:
            self.close_connection = True  # the rest of the input is not a request
            error = {"type": "error", "error": {"type": why.kind, "message": str(why)}}
            self.send_json(why.status, error)
            self._linger()

    def _answer(self) -> None:
        # Check the key first: the body of an unknown client is not read.
        conversation = self.server.service.of(self.key())
        if conversation is None:
            raise Refused(401, "authentication_error", "unknown key")
        self.identified()
        body = self.body()
        path = self.path.partition("?")[0]
        if path == "/v1/messages/count_tokens":
            self.send_json(200, {"input_tokens": len(body) // 4})
        elif path == "/v1/messages":
            self._message(conversation, body)
        else:
            raise Refused(404, "not_found_error", path)

    def identified(self) -> None:
        """Note that the client has shown a valid key: its connection gets more time, and keeps its place."""
        self._incoming.identified()
        self.server.identified(self.connection)

    def body(self) -> bytes:
        """The body of the request. Raises Refused where it has no size, is too large, or ends before its size."""
        length = self._length()
        self._incoming.expect(length)
        body = self.rfile.read(length)
        if len(body) < length:
            raise Refused(400, "invalid_request_error", "the body is shorter than its content-length")
        return body

    def _length(self) -> int:
        """The size of the body in bytes, from exactly one header. Raises Refused."""
        named = self.headers.get_all("content-length") or []
        if self.headers.get("transfer-encoding") or not named:
            raise Refused(411, "invalid_request_error", "content-length is required")
        if len(named) > 1 or not (named[0].isascii() and named[0].isdigit()):
            raise Refused(400, "invalid_request_error", "content-length is not a number")
        if len(named[0]) > 12 or int(named[0]) > LARGEST:
            raise Refused(413, "request_too_large", f"a request must not exceed {LARGEST} bytes")
        return int(named[0])

    def _linger(self) -> None:
        """Read the rest of a refused client's input for a moment: closing at once would discard the answer."""
        deadline = time.monotonic() + _LINGER
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv(65536):
                    return

    def key(self) -> str:
        """The API key of the request; empty without one."""
        return self.headers.get("x-api-key") or (self.headers.get("authorization") or "").removeprefix("Bearer ")

    def _message(self, conversation: Conversation, body: bytes) -> None:
        conversation.hear(body)
        if conversation.silent:
            self._wait()
            return
        try:
            wanted = parsed(body)
        except ValueError:
            wanted = None
        if not isinstance(wanted, dict):
            raise Refused(400, "invalid_request_error", "the body is not a JSON object")
        model = str(wanted.get("model", ""))
        if not wanted.get("stream"):
            self.send_json(200, {**_message(model), "content": [{"type": "text", "text": conversation.text}]})
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in _events(model, conversation.text):
            data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def _wait(self) -> None:
        """Wait until the service is closed or the client disconnects."""
        self.close_connection = True
        self.connection.settimeout(0)
        while not self.server.service.closed(0.2):
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                if not self.connection.recv(4096):
                    return

    def send_json(self, status: int, value: dict[str, Any]) -> None:
        """Answer with JSON."""
        self.send(status, json.dumps(value).encode())

    def send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        """Answer with a body of the media type ``kind``."""
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
