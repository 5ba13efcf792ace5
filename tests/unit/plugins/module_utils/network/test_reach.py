# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Addresses that the operator forbids: nothing connects to them, by whatever name, redirect or proxy.

``127.0.0.2`` stands for what is forbidden, and ``127.0.0.1`` for the rest of the world.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.source import RemoteFile
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import BuilderError, SourceError
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Lines
from ansible_collections.sodalite.image_builder.plugins.module_utils.network.reach import check_host
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.policy import Address, Reach, everywhere
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry import read
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.client import Registry
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.credentials import Credentials
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.hosts import RegistryHosts
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.download import fetch_text

from tests.unit.registries import Answer, Seen, Server, serving

FORBIDDEN = "127.0.0.2"
FOUND = (200, {"Content-Type": "application/vnd.oci.image.index.v1+json"}, b'{"manifests": []}')

#: Fetches ``/v2/app/manifests/1`` from ``host:port`` within a reach; tells the lines of tries again.
Fetch = Callable[[str, Reach], list[str]]


def allow(address: Address) -> bool:
    return address != ip_address(FORBIDDEN)


def from_registry(host: str, reach: Reach) -> list[str]:
    hosts = RegistryHosts(secure={host: False})
    with Registry(hosts, Credentials(), retry_for=30, reach=reach) as registry:
        read.manifest(registry, Reference.parse(f"{host}/app:1"))
    return []


def from_file_server(host: str, reach: Reach) -> list[str]:
    told: list[str] = []
    fetch_text(RemoteFile(f"http://{host}/v2/app/manifests/1"), 1 << 20, Lines(told.append), reach)
    return told


@pytest.fixture(params=[from_registry, from_file_server], ids=["registry", "file"])
def fetch(request: pytest.FixtureRequest) -> Fetch:
    made: Fetch = request.param
    return made


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Sequence[str]], None]:
    """Gives a name addresses, as a name server would."""
    real, names = socket.getaddrinfo, dict[str, Sequence[str]]()

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **settings: Any) -> list[Any]:
        found = (real(address, port, *arguments, **settings) for address in names.get(host, [host]))
        return [entry for entries in found for entry in entries]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names.__setitem__


@pytest.fixture
def world() -> Iterator[Server]:
    """A server where it may be reached."""
    with serving(lambda request: FOUND) as server:
        yield server


@pytest.fixture
def inner(world: Server) -> Iterator[Server]:
    """A server at the same port of the forbidden address."""
    with serving(lambda request: FOUND, address=(FORBIDDEN, port(world))) as server:
        yield server


def port(server: Server) -> int:
    return int(server.host.rpartition(":")[2])


def refused(fetch: Fetch, host: str, reach: Reach = allow) -> BuilderError:
    denied: list[Address] = []

    def noted(address: Address) -> bool:
        if not reach(address):
            denied.append(address)
        return reach(address)

    with pytest.raises(BuilderError) as caught:
        fetch(host, noted)
    assert (caught.value.code, caught.value.retryable) == ("address_forbidden", False)
    assert caught.value.hint
    assert len(denied) == len(set(denied)), "it was tried again"
    return caught.value


def test_what_is_allowed_is_reached(fetch: Fetch, world: Server) -> None:
    fetch(world.host, allow)
    assert world.seen


def test_a_forbidden_address_is_not_connected_to(fetch: Fetch, inner: Server) -> None:
    assert inner.host.partition(":")[0] in refused(fetch, inner.host).message
    assert inner.connections == []
    fetch(inner.host, everywhere)
    assert inner.seen


def test_a_name_does_not_hide_a_forbidden_address_and_the_error_does_not_tell_it(
    fetch: Fetch, inner: Server, resolving: Callable[..., None]
) -> None:
    resolving("hidden.test", [FORBIDDEN])
    error = refused(fetch, f"hidden.test:{port(inner)}")
    assert "hidden.test" in error.message
    assert FORBIDDEN not in str(error)
    assert inner.connections == []


def test_of_two_addresses_of_a_name_only_the_allowed_one_is_connected_to(
    fetch: Fetch, world: Server, inner: Server, resolving: Callable[..., None]
) -> None:
    resolving("two.test", [FORBIDDEN, "127.0.0.1"])
    fetch(f"two.test:{port(world)}", allow)
    assert world.seen
    assert inner.connections == []


def test_an_ipv4_address_written_as_ipv6_is_judged_as_what_it_is(
    fetch: Fetch, inner: Server, resolving: Callable[..., None]
) -> None:
    resolving("mapped.test", [f"::ffff:{FORBIDDEN}"])
    asked: list[Address] = []

    def only_noted(address: Address) -> bool:
        asked.append(address)
        return False

    refused(fetch, f"mapped.test:{port(inner)}", only_noted)
    assert set(asked) == {IPv4Address(FORBIDDEN)}


def test_a_redirect_to_a_forbidden_address_is_not_followed(fetch: Fetch, inner: Server) -> None:
    moved = (307, {"Location": f"http://{inner.host}/v2/app/manifests/1"}, b"")
    with serving(lambda request: moved) as server:
        refused(fetch, server.host)
        assert len(server.seen) == 1
    assert inner.connections == []


def test_a_token_service_at_a_forbidden_address_is_not_asked(inner: Server) -> None:
    challenge = (401, {"WWW-Authenticate": f'Bearer realm="http://{inner.host}/token"'}, b"")
    with serving(lambda request: challenge) as server:
        refused(from_registry, server.host)
    assert inner.connections == []


class TestProxies:
    """A proxy of the environment, which answers for every server behind it."""

    @pytest.fixture
    def proxy(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
        def answer(request: Seen) -> Answer:
            # No tunnel: what knows no TLS is asked by plain HTTP.
            return FOUND if request.method in ("GET", "HEAD") else (403, {}, b"")

        with serving(answer) as server:
            monkeypatch.setenv("http_proxy", f"http://{server.host}")
            yield server

    def test_a_proxy_at_a_forbidden_address_is_not_asked(self, proxy: Server) -> None:
        refused(from_file_server, "192.0.2.1", lambda address: not address.is_loopback)
        assert proxy.connections == []

    def test_a_proxy_is_not_asked_for_a_forbidden_address(
        self, proxy: Server, resolving: Callable[..., None]
    ) -> None:
        resolving("hidden.test", ["192.0.2.7", "192.0.2.1"])
        for host in ("192.0.2.1", "hidden.test"):
            refused(from_file_server, host, lambda address: address != ip_address("192.0.2.1"))
        assert proxy.connections == []

    def test_a_name_that_only_the_proxy_knows_is_the_proxys_to_judge(self, proxy: Server) -> None:
        from_file_server("known-to-the-proxy.invalid", allow)
        assert [request.path for request in proxy.seen] == [
            "http://known-to-the-proxy.invalid/v2/app/manifests/1"
        ]


def test_a_host_is_checked_for_programs_that_connect_to_any_of_its_addresses(
    resolving: Callable[..., None],
) -> None:
    resolving("two.test", ["127.0.0.1", FORBIDDEN])
    resolving("one.test", ["127.0.0.1"])
    for host in (FORBIDDEN, "two.test"):
        with pytest.raises(SourceError, match=f"{host} may not be reached") as caught:
            check_host(host, 443, allow)
        assert caught.value.code == "address_forbidden"
        check_host(host, 443, everywhere)
    check_host("one.test", 443, allow)
    check_host("unknown-here.invalid", 443, allow)
