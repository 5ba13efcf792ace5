# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Whose logins one image in a registry is asked for with, and which addresses may be asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.target import RegistryAccount
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import RegistryError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.registry_image import (
    describe,
    remove,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.policy import PERMISSIVE, Policy
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret

from tests.support.http import encoded_account
from tests.unit.registries import RunningRegistry, running_registry

VERBS: list[Callable[..., dict[str, Any]]] = [describe, remove]


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningRegistry]:
    """A registry that the user is logged in to, with the image ``app:1``; no engine answers."""
    config = tmp_path / "docker"
    config.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    with running_registry(tmp_path / "registry", username="me", password="mine") as registry:
        auths = {registry.host: {"auth": encoded_account("me", "mine")}}
        (config / "config.json").write_text(json.dumps({"auths": auths}), encoding="utf-8")
        registry.push_index("app", "1", [])
        yield registry


@pytest.mark.parametrize("verb", VERBS)
def test_the_users_own_login_counts_only_where_the_policy_lets_it(
    verb: Callable[..., dict[str, Any]], private: RunningRegistry
) -> None:
    reference, strict = Reference.parse(f"{private.host}/app:1"), Policy(own_settings=False)
    nobody, given = RegistryAccount(private.host), RegistryAccount(private.host, "me", Secret("mine"))
    with pytest.raises(RegistryError) as refused:
        verb(reference, nobody, strict)
    assert refused.value.code == "registry_unauthorized"
    assert verb(reference, given, strict)["reference"] == str(reference)
    assert verb(reference, nobody, PERMISSIVE)["reference"] == str(reference)


@pytest.mark.parametrize("verb", VERBS)
def test_an_address_that_the_policy_forbids_is_not_asked(
    verb: Callable[..., dict[str, Any]], private: RunningRegistry
) -> None:
    reference = Reference.parse(f"{private.host}/app:1")
    with pytest.raises(RegistryError) as refused:
        verb(reference, RegistryAccount(private.host), Policy(reach=lambda address: False))
    assert refused.value.code == "address_forbidden"
