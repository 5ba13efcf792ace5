# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The registry client against servers and networks that fail."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import Cancelled, RegistryError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry import read
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.client import Registry
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.credentials import (
    Credentials,
    Login,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.hosts import (
    Endpoint,
    RegistryHosts,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.push import check_push
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret

from tests.unit.registries import (
    OCI_INDEX,
    Answer,
    Seen,
    Server,
    free_port,
    make_certificate,
    running_registry,
    serving,
    tunnelling,
)

PASSWORD = "correct-horse"
INDEX = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
FOUND = (200, {"Content-Type": OCI_INDEX}, INDEX)


def in_turn(*answers: Answer) -> Callable[[Seen], Answer]:
    """Give each answer once, and the last one for ever."""
    left = list(answers)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


def app(server: Server) -> Reference:
    return Reference.parse(f"{server.host}/app:1")


def open_client(retry_for: float = 0.0, timeout: float = 30.0) -> Registry:
    return Registry(RegistryHosts(), Credentials(), retry_for=retry_for, timeout=timeout)


@pytest.mark.parametrize(
    "failure",
    [(500, {}, b""), (503, {"Retry-After": "0"}, b""), (429, {"Retry-After": "1"}, b""), None],
    ids=["500", "503", "429", "no answer"],
)
def test_a_temporary_failure_is_tried_again(failure: Answer) -> None:
    with serving(in_turn(failure, FOUND)) as server, open_client(retry_for=30) as client:
        assert read.manifest(client, app(server)).media_type == OCI_INDEX
        assert len(server.seen) == 2


def test_a_connection_that_breaks_within_the_answer_is_tried_again() -> None:
    broken = (200, {"Content-Length": str(len(INDEX))}, INDEX[:10])
    with serving(in_turn(broken, FOUND)) as server, open_client(retry_for=30) as client:
        assert read.manifest(client, app(server)).media_type == OCI_INDEX


def test_a_failure_that_lasts_is_reported_as_one_that_may_pass() -> None:
    with serving(in_turn((502, {}, b""))) as server, open_client(retry_for=1) as client:
        with pytest.raises(RegistryError, match="502") as raised:
            read.manifest(client, app(server))
        assert (raised.value.code, raised.value.status, raised.value.retryable) == (
            "registry_error",
            502,
            True,
        )
        assert len(server.seen) == 3


def test_a_wait_beyond_the_limit_is_not_begun() -> None:
    with serving(in_turn((429, {"Retry-After": "3600"}, b""))) as server, open_client(retry_for=30) as client:
        with pytest.raises(RegistryError, match="too many requests") as raised:
            read.manifest(client, app(server))
        assert (raised.value.status, raised.value.retryable) == (429, True)
        assert len(server.seen) == 1


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_refusal_is_not_tried_again(status: int) -> None:
    with serving(in_turn((status, {}, b""))) as server, open_client(retry_for=30) as client:
        with pytest.raises(RegistryError) as raised:
            read.manifest(client, app(server))
        assert (raised.value.status, raised.value.retryable) == (status, False)
        assert len(server.seen) == 1


def test_a_refused_connection_is_reported_as_unreachable() -> None:
    host = f"127.0.0.1:{free_port()}"
    with (
        Registry(RegistryHosts(), Credentials()) as client,
        pytest.raises(RegistryError, match="refused the connection") as raised,
    ):
        read.digest(client, Reference.parse(f"{host}/app:1"))
    assert (raised.value.code, raised.value.status, raised.value.retryable) == (
        "registry_unreachable",
        None,
        True,
    )
    assert f"{host}/app:1" in str(raised.value)


def test_a_host_name_that_does_not_exist_is_named() -> None:
    with (
        open_client() as client,
        pytest.raises(RegistryError, match=r"the name of registry\.invalid cannot be resolved"),
    ):
        read.digest(client, Reference.parse("registry.invalid/app:1"))


def test_a_silent_server_does_not_hold_the_client_for_ever() -> None:
    released = threading.Event()

    def answer(request: Seen) -> Answer:
        released.wait(60)
        return FOUND

    with serving(answer) as server, open_client(timeout=0.5) as client:
        with pytest.raises(RegistryError, match="did not answer in time") as raised:
            read.manifest(client, app(server))
        released.set()
    assert raised.value.code == "registry_unreachable"


def test_a_registry_that_was_restarted_between_two_requests_is_no_failure(tmp_path: Path) -> None:
    port = free_port()
    with open_client() as client:
        with running_registry(tmp_path, port=port) as registry:
            digest = registry.push_index("app", "1", [])
            reference = Reference.parse(f"{registry.host}/app:1")
            assert read.digest(client, reference) == digest
        with running_registry(tmp_path, port=port):
            assert read.digest(client, reference) == digest


def test_closing_the_client_ends_a_pause_in_another_thread() -> None:
    asked = threading.Event()

    def answer(request: Seen) -> Answer:
        asked.set()
        return 503, {"Retry-After": "600"}, b""

    with ThreadPoolExecutor(1) as pool, serving(answer) as server:
        with open_client(retry_for=3600) as client:
            waiting = pool.submit(read.manifest, client, app(server))
            assert asked.wait(20)
        with pytest.raises(Cancelled):
            waiting.result(20)


def test_closing_the_client_ends_a_request_in_another_thread() -> None:
    asked, released = threading.Event(), threading.Event()

    def answer(request: Seen) -> Answer:
        asked.set()
        released.wait(60)
        return FOUND

    with ThreadPoolExecutor(1) as pool, serving(answer) as server:
        with open_client() as client:
            waiting = pool.submit(read.manifest, client, app(server))
            assert asked.wait(20)
        with pytest.raises(Cancelled):
            waiting.result(20)
        released.set()


def test_content_that_is_not_that_of_its_digest_is_refused() -> None:
    pinned = f"sha256:{hashlib.sha256(b'other').hexdigest()}"
    told = (200, {"Content-Type": OCI_INDEX, "Docker-Content-Digest": pinned}, INDEX)
    with serving(in_turn(FOUND, told)) as server, open_client() as client:
        for reference in (app(server).with_digest(pinned), app(server)):
            with pytest.raises(RegistryError, match="not that of its digest"):
                read.manifest(client, reference)


def test_a_registry_that_tells_no_digest_is_read_to_find_it() -> None:
    with serving(in_turn(FOUND)) as server, open_client() as client:
        assert read.digest(client, app(server)) == f"sha256:{hashlib.sha256(INDEX).hexdigest()}"


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    with (
        serving(in_turn((200, {}, b" " * (9 << 20)))) as server,
        open_client() as client,
        pytest.raises(RegistryError, match="longer than"),
    ):
        read.manifest(client, app(server))


def test_the_registrys_own_words_are_told_without_the_password() -> None:
    words = json.dumps({"errors": [{"code": "DENIED", "message": f"no {PASSWORD} for you\x1b[2J"}]}).encode()
    challenge = (401, {"WWW-Authenticate": 'Basic realm="x"'}, b"")
    with serving(in_turn(challenge, (403, {}, words))) as server:
        credentials = Credentials({server.host: Login("builder", Secret(PASSWORD))})
        with (
            Registry(RegistryHosts(), credentials, retry_for=0) as client,
            pytest.raises(RegistryError, match="for you") as raised,
        ):
            read.manifest(client, app(server))
    assert PASSWORD not in str(raised.value)
    assert "\x1b" not in str(raised.value)


def test_the_registrys_own_words_are_told_without_the_header_that_it_got() -> None:
    def answer(request: Seen) -> Answer:
        if not request.authorization:
            return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b""
        return 400, {}, json.dumps({"errors": [{"message": f"bad {request.authorization}"}]}).encode()

    with serving(answer) as server:
        credentials = Credentials({server.host: Login("builder", Secret(PASSWORD))})
        with (
            Registry(RegistryHosts(), credentials, retry_for=0) as client,
            pytest.raises(RegistryError) as raised,
        ):
            read.manifest(client, app(server))
    assert raised.value.message.endswith("bad Basic ********.")


@pytest.mark.parametrize("realm", ["", "/token"])
def test_a_realm_that_is_no_address_is_told_before_a_login_is_sent(realm: str) -> None:
    with serving(in_turn((401, {"WWW-Authenticate": f'Bearer realm="{realm}"'}, b""))) as server:
        credentials = Credentials({server.host: Login("builder", Secret(PASSWORD))})
        with (
            Registry(RegistryHosts(), credentials, retry_for=0) as client,
            pytest.raises(RegistryError, match="names no token service"),
        ):
            read.manifest(client, app(server))
    assert [request.authorization for request in server.seen] == [""]


class TestRedirects:
    def test_no_password_follows_to_another_host(self) -> None:
        challenge = (401, {"WWW-Authenticate": 'Basic realm="x"'}, b"")
        with serving(in_turn(FOUND)) as store:
            moved = (307, {"Location": f"http://{store.host}/elsewhere?signed=1"}, b"")
            with serving(in_turn(challenge, moved)) as server:
                credentials = Credentials({server.host: Login("builder", Secret(PASSWORD))})
                with Registry(RegistryHosts(), credentials, retry_for=0) as client:
                    assert read.manifest(client, app(server)).media_type == OCI_INDEX
                assert server.seen[-1].authorization.startswith("Basic ")
            assert [(request.path, request.authorization) for request in store.seen] == [
                ("/elsewhere?signed=1", "")
            ]

    def test_a_registry_gets_no_login_of_the_host_that_it_redirects_to(self) -> None:
        with serving(in_turn((401, {"WWW-Authenticate": 'Basic realm="x"'}, b""))) as other:
            with serving(in_turn((307, {"Location": f"http://{other.host}/x"}, b""))) as server:
                credentials = Credentials({other.host: Login("builder", Secret(PASSWORD))})
                with (
                    Registry(RegistryHosts(), credentials, retry_for=0) as client,
                    pytest.raises(RegistryError),
                ):
                    read.manifest(client, app(server))
            assert [request.authorization for request in (*server.seen, *other.seen)] == ["", ""]

    def test_a_password_follows_on_the_same_host(self) -> None:
        def answer(request: Seen) -> Answer:
            if not request.authorization:
                return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b""
            return FOUND if request.path == "/other" else (302, {"Location": "/other"}, b"")

        with serving(answer) as server:
            credentials = Credentials({server.host: Login("builder", Secret(PASSWORD))})
            with Registry(RegistryHosts(), credentials, retry_for=0) as client:
                assert read.manifest(client, app(server)).media_type == OCI_INDEX

    @pytest.mark.parametrize(
        "location",
        ["/v2/app/manifests/1", "file:///etc/passwd", "http://user@127.0.0.1/x", "http://[", "//"],
        ids=["loop", "file", "user", "bracket", "empty"],
    )
    def test_a_redirect_that_leads_nowhere_is_refused(self, location: str) -> None:
        with (
            serving(in_turn((302, {"Location": location}, b""))) as server,
            open_client(30) as client,
            pytest.raises(RegistryError) as raised,
        ):
            read.manifest(client, app(server))
        assert (raised.value.code, raised.value.retryable) == ("registry_error", False)


@dataclass(frozen=True)
class LocalHub(RegistryHosts):
    """An engine's settings for a Docker Hub that runs here."""

    hub: str = ""

    def push(self, registry: str) -> Endpoint:
        return super().push(self.hub)


class TestMirrors:
    @pytest.fixture
    def hub(self) -> Iterator[Server]:
        with serving(in_turn(FOUND)) as server:
            yield server

    @pytest.mark.parametrize(
        "answer",
        [(404, {}, b""), (500, {}, b""), (200, {}, b"rubbish"), None],
        ids=["404", "500", "bad", "none"],
    )
    def test_a_mirror_that_fails_is_passed_over_after_one_try(self, hub: Server, answer: Answer) -> None:
        with serving(in_turn(answer)) as mirror:
            hosts = LocalHub(mirrors=(f"http://{mirror.host}",), hub=hub.host)
            with Registry(hosts, Credentials()) as client:
                assert read.manifest(client, Reference.parse("alpine:3")).media_type == OCI_INDEX
            assert [request.path for request in mirror.seen] == ["/v2/library/alpine/manifests/3"]

    def test_the_first_mirror_that_has_the_image_answers(self, hub: Server) -> None:
        with serving(in_turn(FOUND)) as mirror:
            refused = f"http://127.0.0.1:{free_port()}"
            hosts = LocalHub(mirrors=(refused, f"http://{mirror.host}/"), hub=hub.host)
            with Registry(hosts, Credentials()) as client:
                assert read.digest(client, Reference.parse("alpine:3"))
            assert mirror.seen
            assert not hub.seen

    def test_a_pushed_image_is_looked_up_in_the_registry_itself(self, hub: Server) -> None:
        with serving(in_turn(FOUND)) as mirror:
            hosts = LocalHub(mirrors=(f"http://{mirror.host}",), hub=hub.host)
            with Registry(hosts, Credentials()) as client:
                assert read.digest(client, Reference.parse("me/app:1"), mirrors=False)
                check_push(client, Reference.parse("me/app:1"))
            assert not mirror.seen

    def test_an_image_that_is_nowhere_is_reported_with_what_the_mirror_said(self) -> None:
        with serving(in_turn((404, {}, b""))) as mirror:
            hosts = LocalHub(mirrors=(f"http://{mirror.host}",), hub=f"127.0.0.1:{free_port()}")
            with (
                Registry(hosts, Credentials(), retry_for=0) as client,
                pytest.raises(RegistryError, match="refused the connection") as raised,
            ):
                read.manifest(client, Reference.parse("alpine:3"))
        assert f"{mirror.host} has no such image" in str(raised.value)
        assert raised.value.hint.startswith("Check the image's name")

    def test_the_login_of_the_registry_is_not_given_to_its_mirror(self, hub: Server) -> None:
        with serving(in_turn((401, {"WWW-Authenticate": 'Basic realm="x"'}, b""))) as mirror:
            hosts = LocalHub(mirrors=(f"http://{mirror.host}",), hub=hub.host)
            credentials = Credentials({"docker.io": Login("builder", Secret(PASSWORD))})
            with Registry(hosts, credentials) as client:
                assert read.digest(client, Reference.parse("alpine:3"))
            assert [request.authorization for request in mirror.seen] == [""]

    def test_a_login_is_not_given_in_clear_text_to_a_mirror_that_is_not_insecure(self, hub: Server) -> None:
        with serving(in_turn((401, {"WWW-Authenticate": 'Basic realm="x"'}, b""))) as mirror:
            hosts = LocalHub(
                mirrors=(f"http://{mirror.host}",), secure={mirror.host: True, hub.host: False}, hub=hub.host
            )
            credentials = Credentials({mirror.host: Login("builder", Secret(PASSWORD))})
            with Registry(hosts, credentials) as client:
                assert read.digest(client, Reference.parse("alpine:3"))
            assert [request.authorization for request in mirror.seen] == [""]


class TestProxies:
    def test_tls_goes_through_a_tunnel_and_the_proxys_password_to_the_proxy_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        certificate = make_certificate(tmp_path / "server", "registry.test")
        (tmp_path / "registry.test").mkdir()
        (tmp_path / "registry.test" / "ca.crt").write_bytes(certificate.path.read_bytes())
        with (
            serving(in_turn(FOUND), certificate) as server,
            tunnelling(int(server.host.rpartition(":")[2])) as (proxy, seen),
            Registry(RegistryHosts(certificates_folder=str(tmp_path)), Credentials(), retry_for=0) as client,
        ):
            monkeypatch.setenv("https_proxy", f"http://user:word@{proxy}")
            assert read.manifest(client, Reference.parse("registry.test/app:1")).media_type == OCI_INDEX
            assert seen[0].startswith("CONNECT registry.test:443 ")
            assert "Proxy-Authorization: Basic dXNlcjp3b3Jk" in seen[0]
            assert [request.authorization for request in server.seen] == [""]

    def test_plain_http_is_asked_of_the_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving(in_turn(FOUND)) as proxy:
            monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
            hosts = RegistryHosts(mirrors=("http://mirror.test",))
            with Registry(hosts, Credentials(), retry_for=0) as client:
                assert read.digest(client, Reference.parse("alpine:3"))
            assert proxy.seen[0].path == "http://mirror.test/v2/library/alpine/manifests/3"
