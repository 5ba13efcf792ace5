# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Which engine a machine is set up with, where a real one is there or none."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import buildx, endpoint
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import EngineError
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine import engine_choice

from tests.support.engine import Engine

pytestmark = pytest.mark.engine

# Of which nothing is on any machine.
NAME = "ibt-choice"


@pytest.fixture(autouse=True)
def machine_without_docker(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has no engine at the usual place, no Docker CLI, and the site's buildx."""
    for name in endpoint.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "docker-buildx").symlink_to(engine.buildx)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(buildx, "_PLUGIN_FOLDERS", ())
    monkeypatch.setattr(endpoint, "DEFAULT_SOCKET", "/nonexistent/docker.sock")
    monkeypatch.setattr(engine_choice, "DEFAULT_SOCKET", "/nonexistent/docker.sock")


def test_an_engine_that_answers_and_suffices_is_taken_without_a_docker_command(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.docker_host)
    found = engine_choice.result(NAME, "host", ["linux/amd64", "linux/nonesuch"])
    assert (found["origin"], found["docker_host"]) == ("host", engine.docker_host)
    assert found["running"]
    assert found["containerd_store"]
    assert not found["builder_exists"]
    assert found["buildx"] == str(tmp_path / "docker-buildx")
    assert found["docker_cli"] == ""
    assert found["platforms"] == ["linux/amd64"]
    assert found["version"] == engine.docker("version", "--format={{.Server.Version}}").decode().strip()
    assert buildx.version_numbers(found["buildx_version"]) >= engine_choice.LEAST_BUILDX


@pytest.mark.parametrize("newer", ["LEAST_ENGINE", "LEAST_BUILDX"])
def test_an_engine_that_is_too_old_is_not_taken(
    engine: Engine, newer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.docker_host)
    monkeypatch.setattr(engine_choice, newer, (99, 0))
    with pytest.raises(EngineError, match="is older than") as caught:
        engine_choice.choose(NAME, "host")
    assert caught.value.code == "no_engine"
    assert "engine_mode" in caught.value.hint


def test_why_the_machines_engine_is_not_taken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match="This machine has no Docker daemon of its own"):
        engine_choice.choose(NAME, "host")
    monkeypatch.setenv("DOCKER_CONTEXT", "nowhere")
    with pytest.raises(EngineError, match="context nowhere cannot be used"):
        engine_choice.choose(NAME, "host")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(EngineError, match=r"tcp://127\.0\.0\.1:1: connection refused"):
        engine_choice.choose(NAME, "host")


def test_a_private_engine_is_still_to_be_made_where_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = engine_choice.choose(NAME, "private")
    assert (choice.origin, choice.running) == ("private", False)
    assert choice.endpoint.url == f"unix:///run/{NAME}/docker.sock"
    # The variable names the private engine itself where ``image-builder engine env`` was used.
    monkeypatch.setenv("DOCKER_HOST", choice.endpoint.url)
    with pytest.raises(EngineError, match=r"/nonexistent/docker\.sock: no such file"):
        engine_choice.choose(NAME, "host")
