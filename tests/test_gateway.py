import base64
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from checks.nanoclaw import gateway as module
from checks.nanoclaw.gateway import CERTIFICATE, Gateway
from checks.nanoclaw.service import Service
from tests.patience import AT_ONCE, PATIENCE


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service("127.0.0.1")
    yield service
    service.close()


@pytest.fixture
def gateway(service: Service) -> Iterator[Gateway]:
    gateway = Gateway(service, "127.0.0.1", name="127.0.0.1")
    yield gateway
    gateway.close()


def asked(gateway: Gateway, path: str, body: dict[str, Any] | None = None, *, key: str = "") -> dict[str, Any]:
    """What the app port answers to nanoclaw."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{gateway.app_port}{path}",
        data=json.dumps(body).encode() if body else None,
        headers={"authorization": f"Bearer {key or gateway.api_key}"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        found = json.load(answer)
    assert isinstance(found, dict)
    return found


def registered(gateway: Gateway, identifier: str = "ag-1", version: str = "/v1") -> dict[str, Any]:
    """The container configuration of a registered agent."""
    asked(gateway, f"{version}/agents", {"name": "Andy", "identifier": identifier})
    return asked(gateway, f"{version}/container-config?agent={identifier}")


def credentials(configuration: dict[str, Any]) -> str:
    proxy = urlsplit(configuration["env"]["HTTPS_PROXY"])
    return base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()


def through(gateway: Gateway, basic: str, target: str = "api.anthropic.com:443") -> tuple[socket.socket, bytes]:
    """A connection to the proxy, and its answer to CONNECT."""
    client = socket.create_connection(("127.0.0.1", gateway.proxy_port), timeout=PATIENCE)
    client.sendall(f"CONNECT {target} HTTP/1.1\r\nproxy-authorization: Basic {basic}\r\n\r\n".encode())
    return client, client.recv(65536)


def messages(gateway: Gateway, configuration: dict[str, Any], *, key: str = "", timeout: float = PATIENCE) -> bytes:
    """What the Messages API answers an agent that has this configuration."""
    client, answer = through(gateway, credentials(configuration))
    client.settimeout(timeout)
    assert answer.startswith(b"HTTP/1.1 200 ")
    trusting = ssl.create_default_context(cadata=configuration["caCertificate"])
    body = b'{"model": "m", "messages": []}'
    with trusting.wrap_socket(client, server_hostname="api.anthropic.com") as tls:
        shown = key or configuration["env"]["ANTHROPIC_API_KEY"]
        head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {shown}\r\nconnection: close\r\n"
        tls.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        got = b""
        while piece := tls.recv(65536):
            got += piece
    return got


@pytest.mark.parametrize("version", ["/v1", "/api"])
def test_both_generations_of_the_interface_register_and_configure_an_agent(gateway: Gateway, version: str) -> None:
    configuration = registered(gateway, version=version)
    proxy = urlsplit(configuration["env"]["HTTPS_PROXY"])
    assert (proxy.hostname, proxy.port) == ("127.0.0.1", gateway.proxy_port)
    assert configuration["caCertificateContainerPath"] == configuration["env"]["NODE_EXTRA_CA_CERTS"] == CERTIFICATE
    assert asked(gateway, f"{version}/gateway-url") == {"url": f"http://127.0.0.1:{gateway.proxy_port}"}


def test_agents_are_told_the_forwarded_port(gateway: Gateway) -> None:
    gateway.published = 10255
    assert urlsplit(registered(gateway)["env"]["HTTPS_PROXY"]).port == 10255


def test_an_agent_is_registered_once(gateway: Gateway) -> None:
    registered(gateway)
    with pytest.raises(urllib.error.HTTPError, match="409"):
        registered(gateway)


def test_an_unregistered_agent_is_not_configured(gateway: Gateway) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        asked(gateway, "/v1/container-config?agent=ag-2")


@pytest.mark.parametrize("path", ["/v1/container-config?agent=ag-1", "/v1/gateway-url"])
def test_the_app_port_refuses_an_unknown_key(gateway: Gateway, path: str) -> None:
    registered(gateway)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        asked(gateway, path, key="oc_of_someone_else")


def test_the_key_replaces_the_placeholder(gateway: Gateway, service: Service) -> None:
    gateway.conversation = service.conversation()
    assert gateway.conversation.text.encode() in messages(gateway, registered(gateway))
    assert gateway.connected == ["ag-1"]
    assert len(gateway.conversation.asked) == 1


def test_the_key_replaces_nothing_but_the_placeholder(gateway: Gateway, service: Service) -> None:
    gateway.conversation = service.conversation()
    assert messages(gateway, registered(gateway), key=gateway.conversation.key).startswith(b"HTTP/1.1 401 ")


def test_a_gateway_without_a_key_authenticates_nobody(gateway: Gateway) -> None:
    assert messages(gateway, registered(gateway)).startswith(b"HTTP/1.1 401 ")


def test_each_admitted_agent_gets_the_key_of_its_own_conversation(gateway: Gateway, service: Service) -> None:
    conversations = [service.conversation() for _ in range(2)]
    accesses = [gateway.admit(each) for each in conversations]
    for conversation, access in zip(conversations, accesses, strict=True):
        configuration = {"env": access.environment, "caCertificate": access.certificate}
        assert conversation.text.encode() in messages(gateway, configuration)
        assert len(conversation.asked) == 1
        assert conversation.key not in str(configuration)


def test_an_unknown_agent_is_not_connected(gateway: Gateway) -> None:
    registered(gateway)
    client, answer = through(gateway, base64.b64encode(b"x:aoc_of_someone_else").decode())
    client.close()
    assert answer.startswith(b"HTTP/1.1 407 ")
    assert not gateway.connected


def test_no_other_host_is_connected(gateway: Gateway) -> None:
    client, answer = through(gateway, credentials(registered(gateway)), "example.com:443")
    client.close()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert gateway.refused == ["example.com:443"]


def test_a_silent_conversation_is_not_answered_through_the_proxy(gateway: Gateway, service: Service) -> None:
    gateway.conversation = service.conversation(silent=True)
    with pytest.raises(TimeoutError):
        messages(gateway, registered(gateway), timeout=5)
    assert gateway.conversation.request_received.is_set()


def test_the_proxy_is_known_by_the_token_of_its_service(gateway: Gateway, service: Service) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.proxy_port}/", timeout=PATIENCE) as answer:
        assert answer.read().decode() == service.token


def test_closing_does_not_wait_for_pending_approvals(
    gateway: Gateway, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_POLL", PATIENCE)
    client = socket.create_connection(("127.0.0.1", gateway.proxy_port), timeout=PATIENCE)
    key = f"authorization: Bearer {gateway.api_key}"
    client.sendall(f"GET /v1/approvals/pending HTTP/1.1\r\n{key}\r\n\r\n".encode())
    began = time.monotonic()
    service.close()
    assert b"requests" in client.recv(65536)
    client.close()
    assert time.monotonic() - began < AT_ONCE
