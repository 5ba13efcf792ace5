# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What stands in a real registry after a push, against what was pushed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import RegistryError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.manifest import Manifest
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry import read
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.client import Registry
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.confirm import (
    confirm,
    named_now,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.credentials import Credentials
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.hosts import RegistryHosts

from tests.unit.registries import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Answer,
    RunningRegistry,
    Seen,
    running_registry,
    serving,
    sha256,
)

PLATFORMS = [Platform("linux", "amd64"), Platform("linux", "arm64")]
NOBODY = f"sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture
def client() -> Iterator[Registry]:
    with Registry(RegistryHosts(), Credentials(), retry_for=1) as made:
        yield made


def push(running: RunningRegistry, repository: str, *tags: str) -> tuple[str, list[dict[str, Any]]]:
    """Push an image for both platforms: its digest, and the entries of its index."""
    entries = []
    for name in ("amd64", "arm64"):
        platform = {"os": "linux", "architecture": name}
        entries.append(
            {
                "digest": running.push_image(repository, platform=platform, salt=repository),
                "platform": platform,
            }
        )
    digests = {running.push_index(repository, tag, entries) for tag in tags}
    return digests.pop(), entries


def references(running: RunningRegistry, repository: str, *tags: str) -> list[Reference]:
    return [Reference.parse(f"{running.host}/{repository}:{tag}") for tag in tags]


def other(manifest: Manifest) -> bool:
    """Whether it is not for both platforms."""
    return set(manifest.platforms) != set(PLATFORMS)


def lost(
    client: Registry,
    wanted: list[Reference],
    digest: str,
    before: Optional[dict[Reference, Optional[str]]] = None,
) -> str:
    """What is said of the loss; ``before`` is what the references named, nothing if it is left out."""
    with pytest.raises(RegistryError) as raised:
        confirm(client, wanted, digest, dict.fromkeys(wanted) if before is None else before, other)
    assert (raised.value.code, raised.value.phase, raised.value.retryable) == ("push_lost", "report", True)
    return str(raised.value)


def test_what_stands_there_whole_is_given_back(running: RunningRegistry, client: Registry) -> None:
    digest, entries = push(running, "whole", "a", "b")
    found = confirm(client, references(running, "whole", "a", "b"), digest, {}, other)
    assert (found.manifest.digest, found.moved, found.warnings) == (digest, {}, [])
    assert list(found.manifest.platforms.values()) == [entry["digest"] for entry in entries]


def test_a_tag_that_is_not_there_is_lost(running: RunningRegistry, client: Registry) -> None:
    digest, _ = push(running, "tags", "a")
    assert "holds nothing as" in lost(client, references(running, "tags", "b"), digest)
    assert "tags:b" in lost(client, references(running, "tags", "a", "b"), digest)


def test_a_tag_that_names_what_it_did_before_is_lost(running: RunningRegistry, client: Registry) -> None:
    digest, _ = push(running, "other", "a")
    wanted = references(running, "other", "a")
    before = named_now(client, wanted)
    assert before == {wanted[0]: digest}
    assert f"holds {digest} as" in lost(client, wanted, NOBODY, before)
    # What is not known to have been something else before is not known to be somebody's later push.
    assert f"holds {digest} as" in lost(client, wanted, NOBODY, {})
    assert named_now(client, [Reference.parse("127.0.0.1:1/a:1")]) == {}
    # Their push alone tells nothing of ours.
    assert "holds nothing as" in lost(client, wanted, NOBODY)


def test_a_tag_that_somebody_moved_on_is_told_of_and_costs_nothing(
    running: RunningRegistry, client: Registry
) -> None:
    digest, entries = push(running, "moved", "a", "b")
    wanted = references(running, "moved", "a", "b")
    before = {wanted[0]: NOBODY, wanted[1]: None}
    theirs = running.push_index("moved", "a", entries[:1])
    found = confirm(client, wanted, digest, before, other)
    assert (found.manifest.digest, found.moved) == (digest, {wanted[0]: theirs})
    assert found.warnings == [f"warning: {wanted[0]} was moved on to {theirs} after this push"]


def test_an_index_without_one_of_the_platforms_is_lost(running: RunningRegistry, client: Registry) -> None:
    _, entries = push(running, "single", "a")
    digest = running.push_index("single", "a", entries[:1])
    lost(client, references(running, "single", "a"), digest)


def test_a_platform_whose_manifest_is_gone_is_named(running: RunningRegistry, client: Registry) -> None:
    digest, entries = push(running, "gone", "a")
    assert running.call("DELETE", f"gone/manifests/{entries[1]['digest']}")[0] == 202
    assert "without linux/arm64" in lost(client, references(running, "gone", "a"), digest)


def test_a_registry_that_cannot_be_asked_is_told_as_such(running: RunningRegistry, client: Registry) -> None:
    with pytest.raises(RegistryError) as raised:
        confirm(client, [Reference.parse("127.0.0.1:1/a:1")], NOBODY, {})
    assert (raised.value.code, raised.value.phase) == ("registry_unreachable", "report")


class Whole:
    """An image for two platforms with a layer each and one in common, and an attestation of the first."""

    def __init__(self, running: RunningRegistry, repository: str) -> None:
        self.running, self.repository = running, repository
        self.common = self._layer(b"common")
        self.layers = {name: self._layer(name.encode()) for name in ("amd64", "arm64")}
        elsewhere = {
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": NOBODY,
            "size": 1,
            "urls": ["https://example.com/layer"],
        }
        entries: list[dict[str, Any]] = []
        for name, layer in self.layers.items():
            platform = {"os": "linux", "architecture": name}
            layers = [self.common, layer, elsewhere] if name == "amd64" else [self.common, layer]
            pushed = running.push_image(repository, platform=platform, layers=layers)
            entries.append({"digest": pushed, "platform": platform})
        self.statement = running.push_blob(repository, b"{}" + repository.encode())
        nowhere = {"os": "unknown", "architecture": "unknown"}
        about = {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": str(entries[0]["digest"]),
        }
        statement = {"mediaType": "application/vnd.in-toto+json", **self.statement}
        attestation = running.push_image(repository, platform=nowhere, layers=[statement])
        self.attestation = attestation
        self.entries = [*entries, {"digest": attestation, "platform": nowhere, "annotations": about}]
        self.digest = running.push_index(repository, "1", self.entries)

    def _layer(self, content: bytes) -> dict[str, Any]:
        blob = self.running.push_blob(self.repository, content + self.repository.encode())
        return {"mediaType": "application/vnd.oci.image.layer.v1.tar", **blob}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("common", "a layer of linux/amd64"),
        ("layer", "a layer of linux/arm64"),
        ("config", "the config of linux/arm64"),
        ("attestation", "the attestation of linux/amd64"),
        ("statement", "the attestation of linux/amd64"),
    ],
)
def test_what_a_pull_needs_and_the_registry_lost_is_named(
    running: RunningRegistry, client: Registry, kind: str, said: str
) -> None:
    whole = Whole(running, f"needs-{kind}")
    reference = Reference.parse(f"{running.host}/{whole.repository}:1")
    held = read.manifest(client, reference)
    assert read.missing(client, held) == []
    named = whole.entries[1]["digest"]
    _, _, body = running.call("GET", f"{whole.repository}/manifests/{named}", Accept=OCI_MANIFEST)
    gone = {
        "common": whole.common["digest"],
        "layer": whole.layers["arm64"]["digest"],
        "config": json.loads(body)["config"]["digest"],
        "statement": whole.statement["digest"],
        "attestation": whole.attestation,
    }[kind]
    place = "manifests" if kind == "attestation" else "blobs"
    assert running.call("DELETE", f"{whole.repository}/{place}/{gone}")[0] == 202
    with Registry(RegistryHosts(), Credentials(), retry_for=1) as anew:
        assert read.missing(anew, held) == [said]
        assert said in lost(anew, [reference], whole.digest)


def test_what_was_seen_once_is_not_looked_at_again(running: RunningRegistry) -> None:
    whole = Whole(running, "once")
    seen: list[str] = []

    def answer(request: Seen) -> Answer:
        seen.append(f"{request.method} {request.path}")
        path = request.path.removeprefix("/v2/")
        status, headers, body = running.call(request.method, path, Accept=f"{OCI_INDEX}, {OCI_MANIFEST}")
        kept = ("Content-Type", "Docker-Content-Digest", "Content-Length")
        return status, {name: headers[name] for name in kept if name in headers}, body

    with serving(answer) as server, Registry(RegistryHosts(), Credentials(), retry_for=0) as client:
        through = Reference.parse(f"{server.host}/once:1")
        held = read.manifest(client, through)
        assert read.missing(client, held) == []
        assert len(seen) == len(set(seen))
        asked = len(seen)
        assert read.missing(client, held) == []
        assert len(seen) == asked
    assert held.digest == whole.digest
    # One for the index, one for each of three manifests; then their configs, three layers, and the statement.
    assert asked == 1 + 3 + 3 + 4


@pytest.mark.parametrize("status", [307, 400, 405, 501])
def test_a_registry_that_does_not_answer_head_of_a_blob_is_not_held_to_it(status: int) -> None:
    config = json.dumps({"os": "linux", "architecture": "amd64"}).encode()
    described = {"mediaType": OCI_CONFIG, "digest": sha256(config), "size": len(config)}
    body = json.dumps({"mediaType": OCI_MANIFEST, "config": described, "layers": [described]}).encode()

    def answer(request: Seen) -> Answer:
        if request.method == "HEAD":
            return status, {"Location": "http://elsewhere.invalid/blob"}, b""
        return 200, {}, config if "/blobs/" in request.path else body

    with serving(answer) as server, Registry(RegistryHosts(), Credentials(), retry_for=0) as client:
        held = read.manifest(client, Reference.parse(f"{server.host}/app:1"))
        assert read.missing(client, held) == []
