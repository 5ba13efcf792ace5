# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The registry client against real registries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import RegistryError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry import read
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.client import Registry
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.credentials import (
    Credentials,
    Login,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.delete import delete
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.hosts import RegistryHosts
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.push import check_push
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret

from tests.unit.registries import (
    OCI_INDEX,
    RunningRegistry,
    TokenService,
    make_certificate,
    running_registry,
    serving,
)

PASSWORD = "correct horse: battery/staple"
AMD64 = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64", "variant": "v8"}
ARMV7 = {"os": "linux", "architecture": "arm", "variant": "v7"}


@pytest.fixture(scope="module")
def open_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry that everybody may read, write and delete in."""
    with running_registry(tmp_path_factory.mktemp("open")) as made:
        yield made


@pytest.fixture(scope="module")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry that wants a password by HTTP's Basic scheme."""
    with running_registry(tmp_path_factory.mktemp("private"), username="builder", password=PASSWORD) as made:
        made.push_image("team/app", "1")
        yield made


@pytest.fixture(scope="module")
def tls_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry that speaks TLS with a certificate of its own and wants a password."""
    folder = tmp_path_factory.mktemp("tls")
    certificate = make_certificate(folder)
    with running_registry(folder, certificate=certificate, username="builder", password=PASSWORD) as made:
        made.push_image("app", "1")
        yield made


@pytest.fixture(scope="module")
def token_service(tmp_path_factory: pytest.TempPathFactory) -> TokenService:
    """Accounts with different rights for a registry that takes tokens."""
    return TokenService(
        make_certificate(tmp_path_factory.mktemp("token")),
        accounts={"builder": PASSWORD, "reader": "read-only"},
        rights={"builder": {"pull", "push", "delete"}, "reader": {"pull"}},
        refresh_tokens={"identity-of-builder": "builder"},
    )


@pytest.fixture(scope="module")
def token_registry(
    token_service: TokenService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningRegistry]:
    """A registry that takes the tokens of ``token_service``."""
    with (
        serving(token_service.answer) as tokens,
        running_registry(
            tmp_path_factory.mktemp("tokens"), auth=token_service.registry_auth(tokens.host)
        ) as made,
    ):
        made.token = token_service.issue("builder", "repository:team/app:pull,push")
        made.push_image("team/app", "1")
        yield made


@pytest.fixture
def client() -> Iterator[Registry]:
    """A client without logins, with the settings of an engine's defaults."""
    with Registry(RegistryHosts(), Credentials(), retry_for=0) as made:
        yield made


def login(host: str, username: str = "builder", password: str = PASSWORD) -> Credentials:
    return Credentials({host: Login(username, Secret(password))})


def test_an_index_gives_the_digest_of_each_platform_and_no_attestation(
    open_registry: RunningRegistry, client: Registry
) -> None:
    amd64 = open_registry.push_image("many", platform=AMD64)
    arm64 = open_registry.push_image("many", platform=ARM64)
    armv7 = open_registry.push_image("many", platform=ARMV7)
    attestation = open_registry.push_image("many", platform={"os": "unknown", "architecture": "unknown"})
    marked = open_registry.push_image("many", platform={"os": "linux", "architecture": "s390x"})
    digest = open_registry.push_index(
        "many",
        "1",
        [
            {"digest": amd64, "platform": AMD64},
            {"digest": arm64, "platform": ARM64},
            {"digest": armv7, "platform": ARMV7},
            {"digest": attestation, "platform": {"os": "unknown", "architecture": "unknown"}},
            {
                "digest": marked,
                "platform": {"os": "linux", "architecture": "s390x"},
                "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
            },
        ],
        annotations={"io.example.key": "value"},
    )
    found = read.manifest(client, Reference.parse(f"{open_registry.host}/many:1"))
    assert (found.digest, found.media_type) == (digest, OCI_INDEX)
    assert found.annotations == {"io.example.key": "value"}
    assert {str(platform): found for platform, found in found.platforms.items()} == {
        "linux/amd64": amd64,
        "linux/arm64": arm64,
        "linux/arm/v7": armv7,
    }


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_a_single_image_has_the_platform_of_its_config(
    open_registry: RunningRegistry, client: Registry, docker: bool
) -> None:
    digest = open_registry.push_image(f"single-{docker}".lower(), "1", ARMV7, docker=docker)
    found = read.manifest(client, Reference.parse(f"{open_registry.host}/single-{docker}:1".lower()))
    assert found.digest == digest
    assert {str(platform): found for platform, found in found.platforms.items()} == {"linux/arm/v7": digest}


def test_an_index_without_platforms_takes_them_from_the_configs(
    open_registry: RunningRegistry, client: Registry
) -> None:
    digest = open_registry.push_image("unnamed", platform=ARM64, docker=True)
    open_registry.push_index("unnamed", "1", [{"digest": digest}], docker=True)
    found = read.manifest(client, Reference.parse(f"{open_registry.host}/unnamed:1"))
    assert {str(platform): found for platform, found in found.platforms.items()} == {"linux/arm64": digest}


def test_a_reference_by_digest_is_read(open_registry: RunningRegistry, client: Registry) -> None:
    digest = open_registry.push_image("pinned", "1")
    open_registry.push_image("pinned", "1", salt="newer")
    reference = Reference.parse(f"{open_registry.host}/pinned:1@{digest}")
    assert read.manifest(client, reference).digest == digest
    assert read.digest(client, reference) == digest


def test_the_digest_of_an_absent_tag_or_repository_is_none(
    open_registry: RunningRegistry, client: Registry
) -> None:
    digest = open_registry.push_index(
        "there", "1", [{"digest": open_registry.push_image("there"), "platform": AMD64}]
    )
    assert read.digest(client, Reference.parse(f"{open_registry.host}/there:1")) == digest
    assert read.digest(client, Reference.parse(f"{open_registry.host}/there:2")) is None
    assert read.digest(client, Reference.parse(f"{open_registry.host}/not-there:1")) is None


def test_reading_an_absent_image_names_it(open_registry: RunningRegistry, client: Registry) -> None:
    with pytest.raises(RegistryError, match=f"{open_registry.host}/absent:7") as raised:
        read.manifest(client, Reference.parse(f"{open_registry.host}/absent:7"))
    assert (raised.value.code, raised.value.status, raised.value.retryable) == (
        "manifest_unknown",
        404,
        False,
    )


def test_a_hundred_tags_are_asked_over_a_few_connections() -> None:
    headers = {"Docker-Content-Digest": f"sha256:{'a' * 64}"}
    with (
        serving(lambda request: (200, headers, b"")) as server,
        ThreadPoolExecutor(4) as pool,
        Registry(RegistryHosts(), Credentials()) as client,
    ):
        tags = [Reference.parse(f"{server.host}/app:{number}") for number in range(100)]
        assert set(pool.map(partial(read.digest, client), tags)) == {headers["Docker-Content-Digest"]}
        # The first attempts are made by TLS, which this server does not know.
        assert len(server.connections) <= 8


def test_a_login_by_basic_opens_a_private_registry(private_registry: RunningRegistry) -> None:
    with Registry(RegistryHosts(), login(private_registry.host), retry_for=0) as client:
        assert read.manifest(client, Reference.parse(f"{private_registry.host}/team/app:1")).platforms
        check_push(client, Reference.parse(f"{private_registry.host}/team/new:1"))


def test_without_a_login_the_error_says_that_none_was_given(
    private_registry: RunningRegistry, client: Registry
) -> None:
    with pytest.raises(RegistryError, match="none was given") as raised:
        read.digest(client, Reference.parse(f"{private_registry.host}/team/app:1"))
    assert (raised.value.code, raised.value.retryable) == ("registry_unauthorized", False)
    assert private_registry.host in raised.value.hint


def test_a_wrong_password_is_found_before_anything_is_pushed_and_is_not_told(
    private_registry: RunningRegistry,
) -> None:
    with (
        Registry(RegistryHosts(), login(private_registry.host, password="wrong-word")) as client,
        pytest.raises(RegistryError, match="password of the user builder") as raised,
    ):
        check_push(client, Reference.parse(f"{private_registry.host}/team/app:1"))
    assert raised.value.code == "registry_unauthorized"
    assert "wrong-word" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_push_check_leaves_no_upload(open_registry: RunningRegistry, client: Registry) -> None:
    open_registry.push_image("checked", "1")
    before = open_registry.uploads()
    check_push(client, Reference.parse(f"{open_registry.host}/checked:1"))
    assert open_registry.uploads() == before


class TestTls:
    def test_a_ca_in_the_certificates_folder_is_trusted(
        self, tls_registry: RunningRegistry, tmp_path: Path
    ) -> None:
        (tmp_path / tls_registry.host).mkdir()
        assert tls_registry.ca is not None
        (tmp_path / tls_registry.host / "ca.crt").write_bytes(tls_registry.ca.read_bytes())
        hosts = RegistryHosts(secure={tls_registry.host: True}, certificates_folder=str(tmp_path))
        with Registry(hosts, login(tls_registry.host), retry_for=0) as client:
            assert read.digest(client, Reference.parse(f"{tls_registry.host}/app:1"))

    def test_an_unknown_ca_is_refused_at_once_with_a_hint(self, tls_registry: RunningRegistry) -> None:
        with (
            Registry(RegistryHosts(secure={tls_registry.host: True}), login(tls_registry.host)) as client,
            pytest.raises(RegistryError, match="not trusted") as raised,
        ):
            read.digest(client, Reference.parse(f"{tls_registry.host}/app:1"))
        assert (raised.value.code, raised.value.retryable) == ("registry_tls", False)
        assert f"certs.d/{tls_registry.host}/ca.crt" in raised.value.hint

    def test_an_insecure_registry_may_have_any_certificate(self, tls_registry: RunningRegistry) -> None:
        hosts = RegistryHosts(insecure_networks=(), secure={tls_registry.host: False})
        with Registry(hosts, login(tls_registry.host), retry_for=0) as client:
            assert read.digest(client, Reference.parse(f"{tls_registry.host}/app:1"))

    def test_a_certificate_for_another_address_is_refused(self, tmp_path: Path) -> None:
        certificate = make_certificate(tmp_path / "server", "127.0.0.2")
        with serving(lambda request: (200, {}, b""), certificate) as server:
            (tmp_path / server.host).mkdir()
            (tmp_path / server.host / "ca.crt").write_bytes(certificate.path.read_bytes())
            hosts = RegistryHosts(secure={server.host: True}, certificates_folder=str(tmp_path))
            with (
                Registry(hosts, Credentials()) as client,
                pytest.raises(RegistryError, match="not trusted") as raised,
            ):
                read.digest(client, Reference.parse(f"{server.host}/app:1"))
        assert raised.value.code == "registry_tls"

    def test_a_registry_that_must_speak_tls_is_not_spoken_to_in_clear_text(
        self, private_registry: RunningRegistry
    ) -> None:
        hosts = RegistryHosts(secure={private_registry.host: True})
        with (
            Registry(hosts, login(private_registry.host)) as client,
            pytest.raises(RegistryError, match="does not speak TLS") as raised,
        ):
            read.digest(client, Reference.parse(f"{private_registry.host}/team/app:1"))
        assert raised.value.code == "registry_tls"
        assert "insecure-registries" in raised.value.hint


class TestTokens:
    def test_a_password_is_changed_for_a_token(self, token_registry: RunningRegistry) -> None:
        reference = Reference.parse(f"{token_registry.host}/team/app:1")
        with Registry(RegistryHosts(), login(token_registry.host), retry_for=0) as client:
            assert read.manifest(client, reference).platforms
            check_push(client, reference)

    def test_an_identity_token_is_changed_for_a_token(self, token_registry: RunningRegistry) -> None:
        credentials = login(token_registry.host, "<token>", "identity-of-builder")
        with Registry(RegistryHosts(), credentials, retry_for=0) as client:
            check_push(client, Reference.parse(f"{token_registry.host}/team/app:1"))

    def test_an_identity_token_that_is_no_longer_good_is_told_as_such(
        self, token_registry: RunningRegistry
    ) -> None:
        with (
            Registry(RegistryHosts(), login(token_registry.host, "<token>", "stale"), retry_for=0) as client,
            pytest.raises(RegistryError, match="identity token") as raised,
        ):
            read.digest(client, Reference.parse(f"{token_registry.host}/team/app:1"))
        assert raised.value.code == "registry_unauthorized"

    def test_a_token_is_kept_for_the_next_request(
        self, token_service: TokenService, token_registry: RunningRegistry
    ) -> None:
        with (
            serving(token_service.answer) as tokens,
            serving(
                lambda request: (
                    (200, {"Docker-Content-Digest": f"sha256:{'b' * 64}"}, b"")
                    if request.authorization.startswith("Bearer ")
                    else (
                        401,
                        {"WWW-Authenticate": f'Bearer realm="http://{tokens.host}/token",service="tests"'},
                        b"",
                    )
                )
            ) as server,
            Registry(RegistryHosts(), Credentials(), retry_for=0) as client,
        ):
            for tag in ("1", "2", "3"):
                read.digest(client, Reference.parse(f"{server.host}/app:{tag}"))
            assert len(tokens.seen) == 1
            assert len(server.seen) == 4

    def test_a_token_that_expired_is_fetched_anew(self, token_service: TokenService) -> None:
        good: list[str] = []

        def answer(request: object) -> tuple[int, dict[str, str], bytes]:
            good.append(f"token{len(good) + 1}")
            return 200, {}, json.dumps({"token": good[-1]}).encode()

        with serving(answer) as tokens:
            challenge = {"WWW-Authenticate": f'Bearer realm="http://{tokens.host}/t"'}
            with (
                serving(
                    lambda request: (
                        (200, {"Docker-Content-Digest": f"sha256:{'b' * 64}"}, b"")
                        if good and request.authorization == f"Bearer {good[-1]}"
                        else (401, challenge, b"")
                    )
                ) as server,
                Registry(RegistryHosts(), Credentials(), retry_for=0) as client,
            ):
                reference = Reference.parse(f"{server.host}/app:1")
                assert read.digest(client, reference)
                good.append("the registry forgot the first")
                assert read.digest(client, reference)

    def test_a_wrong_password_is_unauthorized(self, token_registry: RunningRegistry) -> None:
        with (
            Registry(RegistryHosts(), login(token_registry.host, password="wrong-word")) as client,
            pytest.raises(RegistryError) as raised,
        ):
            check_push(client, Reference.parse(f"{token_registry.host}/team/app:1"))
        assert raised.value.code == "registry_unauthorized"

    def test_a_login_that_may_only_read_is_denied_a_push(self, token_registry: RunningRegistry) -> None:
        credentials = login(token_registry.host, "reader", "read-only")
        reference = Reference.parse(f"{token_registry.host}/team/app:1")
        with Registry(RegistryHosts(), credentials, retry_for=0) as client:
            assert read.manifest(client, reference).platforms
            with pytest.raises(RegistryError, match="does not allow") as raised:
                check_push(client, reference)
        assert raised.value.code == "registry_denied"

    def test_nobody_in_particular_is_told_to_log_in(
        self, token_registry: RunningRegistry, client: Registry
    ) -> None:
        with pytest.raises(RegistryError, match="none was given") as raised:
            read.digest(client, Reference.parse(f"{token_registry.host}/team/app:1"))
        assert raised.value.code == "registry_unauthorized"

    def test_a_password_for_https_is_not_sent_to_a_token_service_in_clear_text(
        self, token_service: TokenService, tmp_path: Path
    ) -> None:
        certificate = make_certificate(tmp_path / "server")
        with serving(token_service.answer) as tokens:
            challenge = {"WWW-Authenticate": f'Bearer realm="http://{tokens.host}/token",service="tests"'}
            with serving(lambda request: (401, challenge, b""), certificate) as server:
                (tmp_path / server.host).mkdir()
                (tmp_path / server.host / "ca.crt").write_bytes(certificate.path.read_bytes())
                hosts = RegistryHosts(
                    secure={server.host: True}, insecure_networks=(), certificates_folder=str(tmp_path)
                )
                with (
                    Registry(hosts, login(server.host), retry_for=0) as client,
                    pytest.raises(RegistryError, match="cannot be used"),
                ):
                    read.digest(client, Reference.parse(f"{server.host}/app:1"))
            assert tokens.seen == []


class TestRemoval:
    def test_a_tag_that_stands_alone_is_removed(
        self, open_registry: RunningRegistry, client: Registry
    ) -> None:
        open_registry.push_image("removed", "1")
        kept = open_registry.push_image("removed", "2", salt="other")
        reference = Reference.parse(f"{open_registry.host}/removed:1")
        assert delete(client, reference)
        assert read.digest(client, reference) is None
        assert read.digest(client, Reference.parse(f"{open_registry.host}/removed:2")) == kept
        assert not delete(client, reference)

    def test_a_tag_is_kept_while_another_tag_has_the_same_image(
        self, open_registry: RunningRegistry, client: Registry
    ) -> None:
        for tag in ("1", "latest"):
            digest = open_registry.push_image("shared", tag)
        with pytest.raises(RegistryError, match="latest") as raised:
            delete(client, Reference.parse(f"{open_registry.host}/shared:1"))
        assert raised.value.code == "tag_shared"
        assert read.digest(client, Reference.parse(f"{open_registry.host}/shared:latest")) == digest

    def test_an_image_that_an_index_needs_is_kept(
        self, open_registry: RunningRegistry, client: Registry
    ) -> None:
        digest = open_registry.push_image("part", "amd64")
        open_registry.push_index("part", "all", [{"digest": digest, "platform": AMD64}])
        with pytest.raises(RegistryError, match="all") as raised:
            delete(client, Reference.parse(f"{open_registry.host}/part:amd64"))
        assert raised.value.code == "tag_shared"

    def test_a_manifest_is_removed_by_its_digest(
        self, open_registry: RunningRegistry, client: Registry
    ) -> None:
        digest = open_registry.push_image("by-digest", "1")
        reference = Reference.parse(f"{open_registry.host}/by-digest@{digest}")
        assert delete(client, reference)
        assert read.digest(client, Reference.parse(f"{open_registry.host}/by-digest:1")) is None
        assert not delete(client, reference)

    def test_a_tag_with_a_digest_is_kept_once_it_names_another_image(
        self, open_registry: RunningRegistry, client: Registry
    ) -> None:
        old = open_registry.push_image("moved", "1")
        new = open_registry.push_image("moved", "1", salt="newer")
        assert not delete(client, Reference.parse(f"{open_registry.host}/moved:1@{old}"))
        assert read.digest(client, Reference.parse(f"{open_registry.host}/moved:1")) == new

    def test_a_registry_that_removes_tags_is_only_asked_for_the_tag(self, client: Registry) -> None:
        tags = {"1", "latest"}

        def answer(request: object) -> tuple[int, dict[str, str], bytes]:
            tag = request.path.rpartition("/")[2]  # type: ignore[attr-defined]
            if request.method == "DELETE":  # type: ignore[attr-defined]
                tags.discard(tag)
                return 202, {}, b""
            return (
                (200, {"Docker-Content-Digest": f"sha256:{'c' * 64}"}, b"") if tag in tags else (404, {}, b"")
            )

        with serving(answer) as server:
            assert delete(client, Reference.parse(f"{server.host}/app:1"))
        assert tags == {"latest"}

    def test_a_registry_without_deletion_is_told_as_such(self, tmp_path: Path, client: Registry) -> None:
        with running_registry(tmp_path, delete=False) as registry:
            registry.push_image("app", "1")
            reference = Reference.parse(f"{registry.host}/app:1")
            with pytest.raises(RegistryError, match="does not allow it") as raised:
                delete(client, reference)
            assert (raised.value.code, raised.value.retryable) == ("delete_unsupported", False)
            assert read.digest(client, reference)
