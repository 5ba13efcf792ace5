# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Blobs and manifests pushed to a real registry, also through one that fails in between."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import RegistryError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry import push, read
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.client import Registry
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.credentials import (
    Credentials,
    Login,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.hosts import RegistryHosts
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.push import (
    push_blob,
    push_manifest,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret

from tests.unit.registries import (
    OCI_INDEX,
    Answer,
    RunningRegistry,
    Seen,
    running_registry,
    scripted,
    serving,
    sha256,
)

CONTENT = os.urandom(3 << 20)
DIGEST = sha256(CONTENT)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    folder = tmp_path_factory.mktemp("registry")
    with running_registry(folder, username="user", password="pass") as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    return str(path)


def client(host: str, password: Optional[str] = "pass", retry_for: float = 10.0) -> Registry:
    logins = {host: Login("user", Secret(password))} if password else {}
    return Registry(RegistryHosts(), Credentials(logins), retry_for=retry_for)


def test_a_blob_is_stored_as_the_file_is(running: RunningRegistry, file: str) -> None:
    with client(running.host) as registry:
        push_blob(registry, Reference.parse(f"{running.host}/stored"), DIGEST, file)
    assert running.call("GET", f"stored/blobs/{DIGEST}")[2] == CONTENT


def test_a_blob_that_is_there_is_not_sent_again(running: RunningRegistry, file: str) -> None:
    with client(running.host) as registry:
        push_blob(registry, Reference.parse(f"{running.host}/twice"), DIGEST, file)
        push_blob(registry, Reference.parse(f"{running.host}/twice"), DIGEST, "/nonexistent")


def test_a_blob_is_taken_from_another_repository(running: RunningRegistry, file: str) -> None:
    with client(running.host) as registry:
        push_blob(registry, Reference.parse(f"{running.host}/first"), DIGEST, file)
        push_blob(registry, Reference.parse(f"{running.host}/second"), DIGEST, "/nonexistent", "first")
    assert running.call("GET", f"second/blobs/{DIGEST}")[2] == CONTENT


def test_a_file_with_another_content_is_refused_at_once(running: RunningRegistry, file: str) -> None:
    reference = Reference.parse(f"{running.host}/wrong")
    with client(running.host) as registry, pytest.raises(RegistryError) as caught:
        push_blob(registry, reference, sha256(b"another"), file)
    assert (caught.value.status, caught.value.retryable) == (400, False)


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_push_without_the_right_login_is_refused(
    running: RunningRegistry, file: str, password: Optional[str]
) -> None:
    reference = Reference.parse(f"{running.host}/private")
    with client(running.host, password) as registry, pytest.raises(RegistryError) as caught:
        push_blob(registry, reference, DIGEST, file)
    assert caught.value.code == "registry_unauthorized"


def test_a_manifest_stands_under_its_tag_and_its_digest(running: RunningRegistry) -> None:
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
    reference = Reference.parse(f"{running.host}/manifest:1")
    with client(running.host) as registry:
        push_manifest(registry, reference, OCI_INDEX, body, sha256(body))
        assert read.digest(registry, reference) is None
        push_manifest(registry, reference, OCI_INDEX, body)
        assert read.digest(registry, reference) == sha256(body)


@pytest.mark.parametrize("failure", [None, (500, {}, b""), (429, {}, b"")], ids=["broken off", "500", "429"])
def test_an_upload_that_fails_is_begun_anew(file: str, failure: Answer) -> None:
    stored: dict[str, bytes] = {}
    left = [failure]

    def answer(request: Seen) -> Answer:
        if request.method == "HEAD":
            return 404, {}, b""
        if request.method == "POST":
            number = sum(seen.method == "POST" for seen in server.seen)
            return 202, {"Location": f"/v2/app/blobs/uploads/{number}?state=x"}, b""
        if left:
            return left.pop()
        stored[request.path] = request.body
        return 201, {}, b""

    with serving(answer) as server, client(server.host, None) as registry:
        push_blob(registry, Reference.parse(f"{server.host}/app"), DIGEST, file)
    digest = DIGEST.replace(":", "%3A")
    assert stored == {f"/v2/app/blobs/uploads/2?state=x&digest={digest}": CONTENT}


def test_an_upload_to_another_server_carries_no_login(file: str) -> None:
    def store(request: Seen) -> Answer:
        return 201, {}, b""

    def send_on(request: Seen) -> Answer:
        if not request.authorization:
            return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b""
        if request.method == "HEAD":
            return 404, {}, b""
        return 202, {"Location": f"http://{storage.host}/put?signature=1"}, b""

    with serving(store) as storage, serving(send_on) as front, client(front.host) as registry:
        push_blob(registry, Reference.parse(f"{front.host}/app"), DIGEST, file)
    (request,) = storage.seen
    assert (request.method, request.authorization, request.body) == ("PUT", "", CONTENT)
    assert request.path.startswith("/put?signature=1&digest=")


@pytest.mark.parametrize(
    ("status", "said", "code", "hint"),
    [
        (
            412,
            "due to 'app:1' configured as immutable.",
            "tag_immutable",
            "another tag",
        ),
        (
            400,
            "cannot be overwritten because the tag is immutable.",
            "tag_immutable",
            "another tag",
        ),
        (403, "tag is Immutable", "tag_immutable", "another tag"),
        (409, "", "tag_immutable", "another tag"),
        (415, "manifest schema version not supported", "registry_error", "OCI"),
        (400, "manifest invalid", "registry_error", "OCI"),
    ],
)
def test_why_a_manifest_is_refused_is_told_with_what_to_do(
    status: int, said: str, code: str, hint: str
) -> None:
    answer = (status, {}, json.dumps({"errors": [{"code": "X", "message": said}]}).encode())
    with serving(lambda request: answer) as server, client(server.host, None) as registry:
        with pytest.raises(RegistryError) as caught:
            push_manifest(registry, Reference.parse(f"{server.host}/app:1"), OCI_INDEX, b"{}")
        assert len(server.seen) == 1
    assert (caught.value.code, caught.value.status, caught.value.retryable) == (code, status, False)
    assert hint in caught.value.hint
    assert said.rstrip(".") in caught.value.message


def test_an_upload_that_is_taken_in_drop_by_drop_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than the buffers of two sockets hold.
    with (tmp_path / "blob").open("wb") as file:
        file.truncate(64 << 20)
    monkeypatch.setattr(push, "_LEAST_SECONDS", 0.3)
    monkeypatch.setattr(push, "_SLOWEST", 1 << 40)

    def serve(connection: socket.socket) -> None:
        asked = connection.recv(1 << 16)
        # TLS is tried first, and plain HTTP where that is answered.
        if not asked.isascii():
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif asked.startswith(b"HEAD"):
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        elif asked.startswith(b"POST"):
            connection.sendall(
                b"HTTP/1.1 202 Accepted\r\nLocation: /put\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
        elif asked.startswith(b"PUT"):
            while connection.recv(1 << 16):
                threading.Event().wait(0.005)

    with (
        scripted(serve) as url,
        client(url.partition("://")[2], None) as registry,
        pytest.raises(RegistryError, match="too slowly") as caught,
    ):
        push_blob(registry, Reference.parse(f"{url.partition('://')[2]}/app"), DIGEST, str(tmp_path / "blob"))
    assert not caught.value.retryable
