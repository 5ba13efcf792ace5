# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Whose logins a request has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.access import Access
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.target import RegistryAccount
from ansible_collections.sodalite.image_builder.plugins.module_utils.policy import Policy
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.credentials import (
    Credentials,
    docker_config,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret

from tests.support.http import encoded_account


@pytest.mark.parametrize("allowed", [True, False])
def test_the_users_own_logins_count_where_the_policy_lets_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: bool
) -> None:
    auths = {"quay.test": {"auth": encoded_account("me", "mine")}}
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}), encoding="utf-8")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    account = RegistryAccount("registry.test", "builder", Secret("given"))
    access = Access.of(account, policy=Policy(own_settings=allowed))
    credentials = Credentials(access.logins, access.user_config)
    assert (credentials.login("quay.test") is not None) is allowed
    assert credentials.login("registry.test") is not None
    assert ("quay.test" in docker_config(access.logins, access.user_config)["auths"]) is allowed
