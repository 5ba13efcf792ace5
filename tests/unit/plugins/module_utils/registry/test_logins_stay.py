# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Where a registry may lead, and what it may tell: no login leaves the way it was meant to go.

In ``TestNearness`` 127.0.0.1 stands for a public address, 127.0.0.2 for a private one, and 127.0.0.3 for
this machine.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from ipaddress import ip_address

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import RegistryError
from ansible_collections.sodalite.image_builder.plugins.module_utils.network import reach
from ansible_collections.sodalite.image_builder.plugins.module_utils.network.reach import Nearness
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.policy import Address
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry import read
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.client import Registry
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.credentials import (
    Credentials,
    Login,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.hosts import RegistryHosts
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.push import (
    check_push,
    push_blob,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.words import words
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret

from tests.unit.registries import (
    OCI_INDEX,
    Answer,
    Certificate,
    Seen,
    make_certificate,
    serving,
    sha256,
)

PASSWORD = "correct-horse-battery"
INDEX = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
FOUND = (200, {"Content-Type": OCI_INDEX}, INDEX)
_NEARNESS = {"127.0.0.1": Nearness.PUBLIC, "127.0.0.2": Nearness.PRIVATE, "127.0.0.3": Nearness.HERE}

Exchange = Callable[[Registry, str], object]


def challenge(realm: str) -> Answer:
    return 401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'}, b""


def login(host: str, username: str = "builder") -> Credentials:
    return Credentials({host: Login(username, Secret(PASSWORD))})


def read_manifest(client: Registry, host: str) -> object:
    return read.manifest(client, Reference.parse(f"{host}/app:1"))


def upload(client: Registry, host: str) -> object:
    return push_blob(client, Reference.parse(f"{host}/app"), sha256(b""), "/dev/null")


def begin_upload(client: Registry, host: str) -> object:
    return check_push(client, Reference.parse(f"{host}/app:1"))


def leading_to(url: str) -> Callable[[Seen], Answer]:
    """A registry whose redirects and uploads lead to ``url``."""

    def answer(request: Seen) -> Answer:
        if request.method == "HEAD":
            return 404, {}, b""
        if request.method == "POST":
            return 202, {"Location": url}, b""
        return 307, {"Location": url}, b""

    return answer


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


class TestClearText:
    """From TLS nothing leads to clear text, also where the engine's settings call all of it insecure."""

    @pytest.mark.parametrize("username", ["builder", "<token>"], ids=["password", "identity token"])
    def test_a_login_does_not_go_to_a_realm_in_clear_text(
        self, certificate: Certificate, username: str
    ) -> None:
        with serving(lambda request: (200, {}, b'{"token": "x"}')) as tokens:
            realm = challenge(f"http://{tokens.host}/token")
            with (
                serving(lambda request: realm, certificate) as server,
                Registry(RegistryHosts(), login(server.host, username), retry_for=0) as client,
                pytest.raises(RegistryError, match="cannot be used"),
            ):
                read_manifest(client, server.host)
            assert tokens.connections == []

    @pytest.mark.parametrize("exchange", [read_manifest, upload])
    def test_nothing_else_goes_there(self, certificate: Certificate, exchange: Exchange) -> None:
        with serving(lambda request: FOUND) as elsewhere:
            answer = leading_to(f"http://{elsewhere.host}/x")
            with (
                serving(answer, certificate) as server,
                Registry(RegistryHosts(), login(server.host), retry_for=0) as client,
                pytest.raises(RegistryError, match="cannot be used"),
            ):
                exchange(client, server.host)
            assert elsewhere.connections == []


def test_that_a_registry_is_insecure_does_not_let_its_token_service_have_any_certificate(
    certificate: Certificate,
) -> None:
    with serving(lambda request: (200, {}, b'{"token": "x"}'), certificate) as tokens:
        realm = challenge(f"https://{tokens.host}/token")
        with serving(lambda request: realm) as server:
            hosts = RegistryHosts(secure={server.host: False}, insecure_networks=())
            with (
                Registry(hosts, login(server.host), retry_for=0) as client,
                pytest.raises(RegistryError, match="not trusted"),
            ):
                read_manifest(client, server.host)
        assert tokens.seen == []


def test_an_identity_token_does_not_follow_a_redirect_of_its_token_service() -> None:
    with serving(lambda request: (200, {}, b'{"token": "x"}')) as thief:
        moved = (307, {"Location": f"http://{thief.host}/token"}, b"")
        with serving(lambda request: moved) as tokens:
            realm = challenge(f"http://{tokens.host}/token")
            with (
                serving(lambda request: realm) as server,
                Registry(RegistryHosts(), login(server.host, "<token>"), retry_for=0) as client,
                pytest.raises(RegistryError, match="status 307"),
            ):
                read_manifest(client, server.host)
        assert thief.connections == []


class TestNearness:
    """What is public does not lead to what is private, nor that to this machine."""

    @pytest.fixture(autouse=True)
    def _stand_ins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def nearness(address: Address) -> Nearness:
            return _NEARNESS[str(address)]

        monkeypatch.setattr(reach, "nearness", nearness)

    @pytest.fixture(
        params=[("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "127.0.0.3"), ("127.0.0.2", "127.0.0.3")]
    )
    def farther(self, request: pytest.FixtureRequest) -> tuple[str, str]:
        """An address, and one that is nearer."""
        made: tuple[str, str] = request.param
        return made

    @pytest.mark.parametrize("exchange", [read_manifest, upload])
    def test_neither_a_redirect_nor_an_upload_goes_to_what_is_nearer(
        self, farther: tuple[str, str], exchange: Exchange
    ) -> None:
        far, near = farther
        with serving(lambda request: FOUND, address=(near, 0)) as inner:
            answer = leading_to(f"http://{inner.host}/latest/meta-data")
            with (
                serving(answer, address=(far, 0)) as server,
                Registry(RegistryHosts(), login(server.host), retry_for=0) as client,
                pytest.raises(RegistryError) as raised,
            ):
                exchange(client, server.host)
            assert raised.value.code == "address_forbidden"
            assert inner.connections == []

    def test_no_token_is_asked_of_what_is_nearer(self, farther: tuple[str, str]) -> None:
        far, near = farther
        with serving(lambda request: (200, {}, b'{"token": "x"}'), address=(near, 0)) as inner:
            realm = challenge(f"http://{inner.host}/token")
            with (
                serving(lambda request: realm, address=(far, 0)) as server,
                Registry(RegistryHosts(), login(server.host), retry_for=0) as client,
                pytest.raises(RegistryError) as raised,
            ):
                read_manifest(client, server.host)
            assert raised.value.code == "address_forbidden"
            assert inner.connections == []

    def test_a_server_in_between_does_not_bring_it_nearer(self) -> None:
        with serving(lambda request: FOUND, address=("127.0.0.3", 0)) as inner:
            second = leading_to(f"http://{inner.host}/x")
            with serving(second, address=("127.0.0.1", 0)) as middle:
                first = leading_to(f"http://{middle.host}/y")
                with (
                    serving(first, address=("127.0.0.2", 0)) as server,
                    Registry(RegistryHosts(), Credentials(), retry_for=0) as client,
                    pytest.raises(RegistryError),
                ):
                    read_manifest(client, server.host)
            assert inner.connections == []

    @pytest.mark.parametrize("exchange", [read_manifest, begin_upload])
    def test_what_is_near_may_lead_farther(self, exchange: Exchange) -> None:
        with serving(lambda request: FOUND, address=("127.0.0.1", 0)) as outer:
            answer = leading_to(f"http://{outer.host}/x")
            with (
                serving(answer, address=("127.0.0.3", 0)) as server,
                Registry(RegistryHosts(), Credentials(), retry_for=0) as client,
            ):
                exchange(client, server.host)
            assert outer.seen


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("8.8.8.8", Nearness.PUBLIC),
        ("2001:4860:4860::8888", Nearness.PUBLIC),
        ("10.1.2.3", Nearness.PRIVATE),
        ("172.16.0.1", Nearness.PRIVATE),
        ("192.168.1.1", Nearness.PRIVATE),
        ("100.64.0.1", Nearness.PRIVATE),
        ("fd00::1", Nearness.PRIVATE),
        ("fec0::1", Nearness.PRIVATE),
        ("64:ff9b::a01:203", Nearness.PRIVATE),
        ("2002:a01:203::1", Nearness.PRIVATE),
        ("127.0.0.1", Nearness.HERE),
        ("::1", Nearness.HERE),
        ("0.0.0.0", Nearness.HERE),
        ("169.254.169.254", Nearness.HERE),
        ("fe80::1", Nearness.HERE),
        ("64:ff9b::7f00:1", Nearness.HERE),
    ],
)
def test_how_near_an_address_is(address: str, near: Nearness) -> None:
    assert reach.nearness(ip_address(address)) is near


def _split(text: str, by: str) -> str:
    return by.join(text[n : n + 3] for n in range(0, len(text), 3))


BASIC = base64.b64encode(f"builder:{PASSWORD}".encode()).decode()
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJidWlsZGVyIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "said",
    [
        f"no {PASSWORD} here",
        f"Authorization: Basic {BASIC}",
        f"Authorization: Bearer {TOKEN}",
        base64.b64encode(f"Authorization: Basic {BASIC}".encode()).decode(),
        base64.b64encode(f" {PASSWORD}".encode()).decode(),
        base64.urlsafe_b64encode(f"x{PASSWORD}".encode()).decode().rstrip("="),
        _split(PASSWORD, " "),
        _split(BASIC, "\n"),
        _split(BASIC, ", "),
        _split(TOKEN, "-"),
        PASSWORD.upper(),
        PASSWORD.encode().hex(),
        "x" * 190 + PASSWORD,
        "x" * 1990 + PASSWORD,
        _split(base64.b64encode(PASSWORD.encode()).decode(), "\u200b"),
    ],
)
def test_a_registry_tells_nothing_of_what_it_was_given(said: str) -> None:
    secrets = [Secret(PASSWORD), Secret(BASIC), Secret(TOKEN)]
    told = words(json.dumps({"errors": [{"message": said}]}).encode(), secrets)
    letters = "".join(filter(str.isalnum, told)).lower()
    for secret in (
        PASSWORD,
        BASIC,
        TOKEN,
        PASSWORD.encode().hex(),
        base64.b64encode(PASSWORD.encode()).decode(),
    ):
        form = "".join(filter(str.isalnum, secret)).lower()
        assert not any(form[n : n + 8] in letters for n in range(len(form) - 7)), told
    assert len(told) <= 202


def test_harmless_words_are_told() -> None:
    said = {"errors": [{"message": "quota of project builder exceeded: 10 GiB"}]}
    told = words(json.dumps(said).encode(), [Secret(PASSWORD), Secret(BASIC), Secret(TOKEN)])
    assert told == ": quota of project builder exceeded: 10 GiB"


def test_a_token_that_a_registry_repeats_is_not_told() -> None:
    def answer(request: Seen) -> Answer:
        if request.authorization:
            return 403, {}, json.dumps({"errors": [{"message": f"bad {request.authorization}"}]}).encode()
        return challenge(f"http://{tokens.host}/token")

    with (
        serving(lambda request: (200, {}, json.dumps({"token": TOKEN}).encode())) as tokens,
        serving(answer) as server,
        Registry(RegistryHosts(), login(server.host), retry_for=0) as client,
        pytest.raises(RegistryError, match="does not allow it") as raised,
    ):
        read_manifest(client, server.host)
    assert TOKEN[:12] not in str(raised.value)


def test_a_password_is_not_told_by_the_name_of_a_host() -> None:
    def answer(request: Seen) -> Answer:
        return challenge(f"http://{PASSWORD}.invalid/token")

    with (
        serving(answer) as server,
        Registry(RegistryHosts(), login(server.host), retry_for=0) as client,
        pytest.raises(RegistryError) as raised,
    ):
        read_manifest(client, server.host)
    assert PASSWORD not in str(raised.value)
