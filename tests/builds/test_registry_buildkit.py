# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The registry room held against BuildKit: the same images are seen, the same logins are used."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry import read
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.client import Registry
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.credentials import (
    Credentials,
    Login,
    docker_config,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.hosts import RegistryHosts
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret

from tests.support.engine import Engine
from tests.unit.registries import running_registry

pytestmark = pytest.mark.engine


def buildx(engine: Engine, folder: Path, *arguments: str) -> str:
    """Run buildx with the configuration in ``folder``; gives its standard error."""
    environment = {
        **os.environ,
        "DOCKER_HOST": engine.docker_host,
        "DOCKER_CONFIG": str(folder),
        "BUILDX_CONFIG": str(folder / "buildx"),
    }
    done = subprocess.run(
        [engine.buildx, *arguments], env=environment, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_base_has_the_digest_that_buildkit_resolves(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM alpine:latest\n", encoding="utf-8")
    said = buildx(engine, tmp_path, "build", "--pull", "--progress=plain", "--output=type=cacheonly", ".")
    resolved = set(re.findall(r"docker\.io/library/alpine:latest@(sha256:[0-9a-f]{64})", said))
    info = json.loads(engine.docker("info", "--format", "{{json .RegistryConfig}}"))
    with Registry(RegistryHosts.from_engine(info), Credentials()) as client:
        assert resolved == {read.digest(client, Reference.parse("alpine"))}


def test_buildkit_takes_the_documents_login_whatever_the_user_configured(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text('#!/bin/sh\nread -r server\necho "$server" >> "$0.log"\nexit 1\n', encoding="utf-8")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    password = "correct horse: battery/staple"
    with running_registry(tmp_path / "registry", username="builder", password=password) as registry:
        logins = {registry.host: Login("builder", Secret(password))}
        user = {"credsStore": "test", "credHelpers": {registry.host: "test"}, "auths": {registry.host: {}}}
        (tmp_path / "config.json").write_text(json.dumps(docker_config(logins, user)), encoding="utf-8")
        (tmp_path / "context").mkdir()
        (tmp_path / "context" / "Dockerfile").write_text("FROM scratch\nCOPY . /\n", encoding="utf-8")
        buildx(engine, tmp_path, "build", "--push", f"--tag={registry.host}/team/app:1", "context")
        with Registry(RegistryHosts(), Credentials(logins)) as client:
            assert read.manifest(client, Reference.parse(f"{registry.host}/team/app:1")).platforms
    assert not Path(f"{helper}.log").exists()
