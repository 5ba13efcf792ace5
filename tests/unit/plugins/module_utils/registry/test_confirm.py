# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What stands in a real registry after a push, against what was pushed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import RegistryError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.client import Registry
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.confirm import confirm
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.credentials import Credentials
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.hosts import RegistryHosts

from tests.unit.registries import RunningRegistry, running_registry

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


def lost(client: Registry, wanted: list[Reference], digest: str) -> str:
    """What is said of the loss."""
    with pytest.raises(RegistryError) as raised:
        confirm(client, wanted, digest, PLATFORMS)
    assert (raised.value.code, raised.value.phase, raised.value.retryable) == ("push_lost", "report", True)
    return str(raised.value)


def test_what_stands_there_whole_is_given_back(running: RunningRegistry, client: Registry) -> None:
    digest, entries = push(running, "whole", "a", "b")
    found = confirm(client, references(running, "whole", "a", "b"), digest, PLATFORMS)
    assert found.digest == digest
    assert list(found.platforms.values()) == [entry["digest"] for entry in entries]
    assert confirm(client, references(running, "whole", "a"), digest).digest == digest


def test_a_tag_that_is_not_there_is_lost(running: RunningRegistry, client: Registry) -> None:
    digest, _ = push(running, "tags", "a")
    assert "holds nothing as" in lost(client, references(running, "tags", "b"), digest)
    assert "tags:b" in lost(client, references(running, "tags", "a", "b"), digest)


def test_a_tag_that_names_something_else_is_lost(running: RunningRegistry, client: Registry) -> None:
    digest, _ = push(running, "other", "a")
    assert f"holds {digest} as" in lost(client, references(running, "other", "a"), NOBODY)


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
        confirm(client, [Reference.parse("127.0.0.1:1/a:1")], NOBODY)
    assert (raised.value.code, raised.value.phase) == ("registry_unreachable", "report")
