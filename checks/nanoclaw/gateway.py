"""A stub of OneCLI, the credential gateway of nanoclaw 2.x, in front of the stub Messages API.

nanoclaw asks its app port how agents reach its proxy, and passes the answer on as environment and a CA certificate.
The proxy ends TLS for the Messages API with a certificate of its own CA, and replaces the placeholder that agents have
in place of a key.

Sources: the package @onecli-sh/sdk, versions 0.5.0 (paths below /api) and 2.2.1 (below /v1); the route
container-config of https://github.com/onecli/onecli.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import secrets
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

from checks.core.bounded import parsed
from checks.nanoclaw.service import BoundedServer, Conversation, Handler, Refused, Service

UPSTREAM = "api.anthropic.com"
"""The only host that the proxy connects agents with."""
PLACEHOLDER = "placeholder"
"""What agents have in place of a key."""
CERTIFICATE = "/tmp/onecli-gateway-ca.pem"  # noqa: S108 - a path in the agent's container
"""Where the agent's container has the CA certificate."""

_MAX_AGENTS = 1000
_MAX_NOTES = 100
_POLL = 25.0  # seconds that a request for pending approvals is held, like by the real gateway
_HANDSHAKE = 20.0  # seconds


@dataclass(frozen=True)
class Access:
    """What the gateway adds to an agent's container: environment, and the certificate of its CA at ``CERTIFICATE``."""

    environment: Mapping[str, str]
    certificate: str = field(repr=False)
    """PEM."""


class Gateway:
    """The stub, listening on an address of this machine until it is closed.

    ``service`` answers as the Messages API. ``name`` is the name of this machine inside an agent's container.
    """

    def __init__(self, service: Service, address: str, *, name: str = "host.docker.internal") -> None:
        self.service = service
        self.api_key = f"oc_{secrets.token_hex(16)}"
        """The key of the app port, for nanoclaw's ONECLI_API_KEY."""
        self.conversation: Conversation | None = None
        """The conversation whose key agents get that have none of their own; None: the gateway has no key."""
        self.published = 0
        """The port of the proxy on the agents' host, if it is forwarded."""
        self.connected: list[str] = []
        """The agents that were connected with the Messages API, by identifier."""
        self.refused: list[str] = []
        """What the proxy refused to connect an agent with."""
        self._name = name
        self._lock = threading.Lock()
        self._tokens: dict[str, str] = {}
        self._conversations: dict[str, Conversation] = {}
        authority = trustme.CA()
        self.certificate = authority.cert_pem.bytes().decode()
        """The CA certificate, PEM."""
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(UPSTREAM).configure_cert(self.tls)
        self._app = _GatewayServer.opened(self, address, _App)
        self._proxy = _GatewayServer.opened(self, address, _Proxy)

    @property
    def app_port(self) -> int:
        """The TCP port that nanoclaw asks."""
        return self._app.port

    @property
    def proxy_port(self) -> int:
        """The TCP port of the proxy."""
        return self._proxy.port

    def register(self, identifier: str) -> bool:
        """Register an agent; whether it is new. Raises Refused if there are too many."""
        with self._lock:
            if identifier in self._tokens:
                return False
            if len(self._tokens) >= _MAX_AGENTS:
                raise Refused(429, "rate_limit_error", f"at most {_MAX_AGENTS} agents")
            self._tokens[identifier] = f"aoc_{secrets.token_hex(16)}"
            return True

    def admit(self, conversation: Conversation) -> Access:
        """Register a new agent that gets the key of this conversation. Raises Refused if there are too many."""
        identifier = f"ag-{secrets.token_hex(8)}"
        self.register(identifier)
        self._conversations[identifier] = conversation
        access = self.access(identifier)
        assert access
        return access

    def access(self, identifier: str) -> Access | None:
        """What a registered agent's container gets; None for an unknown agent."""
        with self._lock:
            token = self._tokens.get(identifier)
        if token is None:
            return None
        proxy = f"http://x:{token}@{self._name}:{self.published or self.proxy_port}"
        environment = {
            **{f"{kind}_PROXY": proxy for kind in ("HTTPS", "HTTP")},
            **{f"{kind}_proxy": proxy for kind in ("https", "http")},
            "NODE_EXTRA_CA_CERTS": CERTIFICATE,
            "NODE_USE_ENV_PROXY": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_HTTP_PROXY_AUTHMETHOD": "basic",
            "ANTHROPIC_API_KEY": PLACEHOLDER,
        }
        return Access(environment, self.certificate)

    def conversation_of(self, agent: str) -> Conversation | None:
        """The conversation whose key that agent gets."""
        return self._conversations.get(agent, self.conversation)

    def agent_of(self, credentials: str) -> str:
        """The identifier of the agent that has these proxy credentials; empty if none has."""
        found = ""
        with self._lock:
            known = list(self._tokens.items())
        for identifier, token in known:
            basic = base64.b64encode(f"x:{token}".encode()).decode()
            if hmac.compare_digest(f"Basic {basic}".encode(), credentials.encode("utf-8", "surrogateescape")):
                found = identifier
        return found

    def note(self, kept: list[str], text: str) -> None:
        """Add a text to one of the gateway's lists, up to a limit."""
        with self._lock:
            if len(kept) < _MAX_NOTES:
                kept.append(text[:200])

    def close(self) -> None:
        """Stop listening."""
        for server in (self._app, self._proxy):
            server.shutdown()
            server.server_close()


class _GatewayServer(BoundedServer):
    gateway: Gateway

    @classmethod
    def opened(cls, gateway: Gateway, address: str, handler: type[Handler]) -> _GatewayServer:
        server = cls.started(address, gateway.service, handler)
        server.gateway = gateway
        return server


class _GatewayHandler(Handler):
    server: _GatewayServer

    @property
    def gateway(self) -> Gateway:
        return self.server.gateway

    @property
    def route(self) -> str:
        """The path below the version of the interface."""
        path = urlsplit(self.path).path
        return next((path.removeprefix(each) for each in ("/v1", "/api") if path.startswith(f"{each}/")), path)

    def authenticate(self) -> None:
        """Raise Refused unless the request has the key of the app port."""
        shown = self.headers.get("authorization") or ""
        if not hmac.compare_digest(f"Bearer {self.gateway.api_key}".encode(), shown.encode("utf-8", "surrogateescape")):
            raise Refused(401, "authentication_error", "unknown key")
        self.identified()


class _App(_GatewayHandler):
    def do_GET(self) -> None:
        with self.refusing():
            self.authenticate()
            if self.route == "/container-config":
                identifier = (parse_qs(urlsplit(self.path).query).get("agent") or [""])[0]
                access = self.gateway.access(identifier)
                if access is None:
                    error = {"error": f"No agent with identifier {identifier!r}.", "code": "AGENT_NOT_FOUND"}
                    self.send_json(404, error)
                    return
                configuration = {"env": access.environment, "caCertificate": access.certificate}
                self.send_json(200, {**configuration, "caCertificateContainerPath": CERTIFICATE})
            elif self.route == "/gateway-url":
                self.send_json(200, {"url": f"http://127.0.0.1:{self.gateway.published or self.gateway.proxy_port}"})
            else:
                raise Refused(404, "not_found_error", self.route)

    def do_POST(self) -> None:
        with self.refusing():
            self.authenticate()
            if self.route != "/agents":
                raise Refused(404, "not_found_error", self.route)
            try:
                wanted = parsed(self.body())
                identifier = wanted["identifier"]
            except (ValueError, TypeError, KeyError):
                identifier = None
            if not isinstance(identifier, str) or not 0 < len(identifier) <= 200:
                raise Refused(400, "invalid_request_error", "identifier is required")
            status = 201 if self.gateway.register(identifier) else 409
            self.send_json(status, {"identifier": identifier})


class _Proxy(_GatewayHandler):
    def do_GET(self) -> None:
        if self.path == "/":
            super().do_GET()
            return
        with self.refusing():
            if self.route != "/approvals/pending":
                self.gateway.note(self.gateway.refused, self.path)
                raise Refused(403, "permission_error", "only CONNECT, and only to the Messages API")
            self.authenticate()
            self.server.service.closed(_POLL)
            self.send_json(200, {"requests": [], "timeoutSeconds": 300})

    def do_POST(self) -> None:
        with self.refusing():
            raise Refused(403, "permission_error", "only CONNECT, and only to the Messages API")

    def do_CONNECT(self) -> None:
        with self.refusing():
            agent = self.gateway.agent_of(self.headers.get("proxy-authorization") or "")
            if not agent:
                raise Refused(407, "authentication_error", "unknown agent")
            self.identified()
            if self.path != f"{UPSTREAM}:443":
                self.gateway.note(self.gateway.refused, self.path)
                raise Refused(403, "permission_error", f"only {UPSTREAM} is connected")
            self.close_connection = True
            self.send_response(200)
            self.end_headers()
            self._end_tls(agent)

    def _end_tls(self, agent: str) -> None:
        self.connection.settimeout(_HANDSHAKE)
        with contextlib.suppress(OSError), self.gateway.tls.wrap_socket(self.connection, server_side=True) as decrypted:
            self.gateway.note(self.gateway.connected, agent)
            _Upstream(decrypted, self.client_address, self.server, agent)


class _Upstream(Handler):
    """Answers decrypted requests. Only the placeholder is replaced by the key: an agent must not have one itself."""

    server: _GatewayServer

    def __init__(self, connection: ssl.SSLSocket, address: Any, server: _GatewayServer, agent: str) -> None:
        self._agent = agent
        super().__init__(connection, address, server)

    def key(self) -> str:
        talk = self.server.gateway.conversation_of(self._agent)
        return talk.key if talk and super().key() == PLACEHOLDER else ""
