# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Registries that never come to an end: how much is asked of them, and how much is read."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import Cancelled, RegistryError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.parallel import in_parallel
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry import client as client_module
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry import read
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.client import Registry
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.credentials import Credentials
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.delete import delete
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.hosts import RegistryHosts
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.push import check_push

from tests.support.interrupts import interrupting
from tests.unit.registries import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Answer,
    Seen,
    Server,
    scripted,
    serving,
    sha256,
)

Store = dict[str, tuple[str, bytes]]


@pytest.fixture
def client() -> Iterator[Registry]:
    with Registry(RegistryHosts(), Credentials(), retry_for=0) as made:
        yield made


def keep(store: Store, content: Mapping[str, Any], tag: str = "") -> str:
    """Keep a manifest in ``store``, also under ``tag``; gives its digest."""
    body = json.dumps(content).encode()
    store[sha256(body)] = store[tag] = (str(content.get("mediaType", OCI_INDEX)), body)
    return sha256(body)


def serve(store: Store) -> Callable[[Seen], Answer]:
    def answer(request: Seen) -> Answer:
        media_type, body = store.get(request.path.rpartition("/")[2], ("", b""))
        return (200, {"Content-Type": media_type}, body) if body else (404, {}, b"")

    return answer


def index(*digests: str, **fields: Any) -> dict[str, Any]:
    entries = [{"mediaType": OCI_MANIFEST, "digest": digest, "size": 1} for digest in digests]
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, **fields}


def reference(server: Server, tag: str = "1") -> Reference:
    return Reference.parse(f"{server.host}/app:{tag}")


def test_an_index_in_an_index_is_not_looked_into(client: Registry) -> None:
    store: Store = {}
    inner = keep(store, index(), "")
    for depth in range(3000):
        inner = keep(store, index(inner, inner, annotations={"depth": str(depth)}), "1")
    with serving(serve(store)) as server:
        assert read.manifest(client, reference(server)).platforms == {}
        assert len(server.seen) == 3


def test_an_index_that_names_itself_by_a_digest_that_nobody_can_make_is_refused(client: Registry) -> None:
    body = json.dumps(index(*(f"sha256:{'0' * 64}" for _ in range(32)))).encode()
    with serving(lambda request: (200, {"Content-Type": OCI_INDEX}, body)) as server:
        with pytest.raises(RegistryError, match="not that of its digest"):
            read.manifest(client, reference(server))
        assert len(server.seen) <= 3


def test_an_index_of_many_that_do_not_say_their_platform_costs_two_requests_for_each(
    client: Registry,
) -> None:
    store: Store = {}
    digests = []
    for number in range(32):
        config = keep(store, {"os": "linux", "architecture": "amd64", "n": number})
        descriptor = {"mediaType": OCI_CONFIG, "digest": config, "size": 1}
        digests.append(keep(store, {"mediaType": OCI_MANIFEST, "config": descriptor, "layers": []}))
    keep(store, index(*digests), "1")
    with serving(serve(store)) as server:
        assert len(read.manifest(client, reference(server)).platforms) == 1
        assert len(server.seen) == 65


@pytest.mark.parametrize(("requests", "received"), [(3, 1 << 30), (1 << 30, 500)])
def test_an_operation_has_a_budget(
    client: Registry, monkeypatch: pytest.MonkeyPatch, requests: int, received: int
) -> None:
    monkeypatch.setattr(client_module, "_MOST_REQUESTS", requests)
    monkeypatch.setattr(client_module, "_MOST_BYTES", received)
    page = json.dumps({"tags": ["x" * 100]}).encode()

    def answer(request: Seen) -> Answer:
        if request.method == "DELETE":
            return 405, {}, b""
        if "/tags/" in request.path:
            return 200, {"Link": f'</v2/app/tags/list?last={len(server.seen)}>; rel="next"'}, page
        return 200, {"Docker-Content-Digest": f"sha256:{'a' * 64}"}, b""

    with serving(answer) as server:
        with pytest.raises(RegistryError, match="needs more than"):
            delete(client, reference(server))
        assert sum("/tags/" in request.path for request in server.seen) <= 6


def test_tags_without_an_end_are_not_looked_through(client: Registry) -> None:
    def answer(request: Seen) -> Answer:
        if request.method == "DELETE":
            return 405, {}, b""
        if "/tags/" in request.path:
            tags = [f"t{len(server.seen)}-{number}" for number in range(1000)]
            link = f'</v2/app/tags/list?last={len(server.seen)}>; rel="next"'
            return 200, {"Link": link}, json.dumps({"tags": tags}).encode()
        return 200, {"Docker-Content-Digest": f"sha256:{'a' * 64}"}, b""

    with serving(answer) as server:
        with pytest.raises(RegistryError, match="more than 5000 tags"):
            delete(client, reference(server))
        assert len(server.seen) < 12


def test_a_page_of_tags_on_another_server_is_not_asked_for(client: Registry) -> None:
    def answer(request: Seen) -> Answer:
        if "/tags/" in request.path:
            link = f'<http://{other.host}/v2/app/tags/list?last=x>; rel="next"'
            last = "last=x" in request.path
            return 200, {} if last else {"Link": link}, b'{"tags": ["\\ud800", "../..", "a"]}'
        if request.method == "DELETE":
            return 405, {}, b""
        if request.path.endswith("/a"):
            return 404, {}, b""
        return 200, {"Docker-Content-Digest": f"sha256:{'a' * 64}"}, b""

    with serving(lambda request: (200, {}, b"")) as other, serving(answer) as server:
        with pytest.raises(RegistryError, match="does not allow it"):
            delete(client, reference(server))
        assert other.connections == []
        assert {request.path for request in server.seen if "manifests/" in request.path} == {
            "/v2/app/manifests/1",
            "/v2/app/manifests/a",
            f"/v2/app/manifests/sha256:{'a' * 64}",
        }


def test_deeply_nested_json_is_refused(client: Registry) -> None:
    body = b'{"manifests":' * 100_000
    with (
        serving(lambda request: (200, {"Content-Type": OCI_INDEX}, body)) as server,
        pytest.raises(RegistryError, match="cannot be used"),
    ):
        read.manifest(client, reference(server))


def test_an_annotation_can_be_written_wherever_results_go(client: Registry) -> None:
    body = b'{"mediaType": "%s", "manifests": [], "annotations": {"a\\ud800": "b\\udfff", "c": "d\\n"}}'
    with serving(lambda request: (200, {}, body % OCI_INDEX.encode())) as server:
        found = read.manifest(client, reference(server)).annotations
    assert found == {"a?": "b?", "c": "d\n"}
    json.dumps(found, ensure_ascii=False).encode()


def test_no_registry_is_asked_for_more_than_a_few_things_at_a_time(client: Registry) -> None:
    now, most, lock = 0, 0, threading.Lock()

    def answer(request: Seen) -> Answer:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.02)
        with lock:
            now -= 1
        return 200, {"Docker-Content-Digest": f"sha256:{'a' * 64}"}, b""

    with serving(answer) as server:
        in_parallel(
            lambda n: in_parallel(lambda m: read.digest(client, reference(server, f"{n}-{m}")), range(8)),
            range(8),
        )
        assert len(server.seen) == 64
    assert most <= 16


def test_checks_of_many_uploads_are_open_together(client: Registry) -> None:
    together = threading.Barrier(8)

    def answer(request: Seen) -> Answer:
        if request.method == "POST":
            together.wait(20)
        return 202, {"Location": "/v2/app/blobs/uploads/1"}, b""

    with serving(answer) as server:
        in_parallel(partial(check_push, client), [reference(server, str(n)) for n in range(16)])
        assert sum(request.method == "POST" for request in server.seen) == 16


def test_an_interrupt_ends_requests_whose_connections_are_not_kept() -> None:
    """As Ctrl-C does: the main thread leaves the block of the client while all wait for a body."""

    def serve(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nx")
        under_way.wait(20)
        released.wait(60)

    under_way = threading.Barrier(5)
    with (
        interrupting(Cancelled, under_way) as released,
        scripted(serve) as url,
        ThreadPoolExecutor(4) as pool,
    ):
        hosts = RegistryHosts(mirrors=(url,))
        tag = Reference.parse("app:1")
        asked: list[Future[object]] = []
        with pytest.raises(Cancelled), Registry(hosts, Credentials(), retry_for=600) as client:  # noqa: PT012
            asked += [pool.submit(read.manifest, client, tag) for _ in range(3)]
            read.manifest(client, tag)
        for future in asked:
            with pytest.raises(Cancelled):
                future.result(20)
