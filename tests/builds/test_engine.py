# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Finding an engine, among real ones and ones that do not answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import ask, buildx, endpoint
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import find as engines
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine.endpoint import Endpoint
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import EngineError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform

from tests.support.engine import Engine, program

pytestmark = pytest.mark.engine


@pytest.fixture(autouse=True)
def home(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a Docker configuration, with docker and buildx on PATH."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.setenv("DOCKER_HOST", engine.docker_host)
    folders = (Path(engine.buildx).parent, Path(program("docker")).parent)
    monkeypatch.setenv("PATH", ":".join(map(str, folders)))
    return tmp_path


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[str]:
    """The address of an engine that takes connections and never answers."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "silent.sock"))
        listening.listen()
        yield f"unix://{tmp_path}/silent.sock"


def test_the_engine_that_docker_host_names_is_found(engine: Engine) -> None:
    found = engines.find()
    assert (found.docker_host, found.builder) == (engine.docker_host, "")
    assert int(found.version.partition(".")[0]) >= 26
    assert found.native == Platform("linux", "amd64")


def test_the_builder_is_asked_what_it_can_run() -> None:
    found = engines.find()
    here, emulated, unknown = (Platform.parse(f"linux/{name}") for name in ("amd64", "arm64", "nonesuch"))
    assert list(engines.not_runnable(found, [here, emulated])) == []
    missing = engines.not_runnable(found, [here, emulated, unknown])
    assert list(missing) == [unknown]
    assert here in missing[unknown]


def test_docker_host_wins_over_what_else_could_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(EngineError, match="/nonexistent/docker") as caught:
        engines.find()
    assert caught.value.code == "no_engine"
    assert "/run/" not in str(caught.value)
    assert "image-builder engine up" in caught.value.hint
    assert "ansible-playbook sodalite.image_builder.setup" in caught.value.hint


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("DOCKER_CONTEXT", "nowhere", "The Docker context nowhere cannot be used: there is no such context"),
        ("DOCKER_HOST", "engine.test:2376", "engine.test:2376: it is not an address such as unix://"),
    ],
)
def test_what_a_variable_names_and_is_none_is_an_error_though_there_is_another_engine(
    variable: str, value: str, why: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setattr(endpoint, "PRIVATE_SOCKET", engine.docker_host)
    monkeypatch.setenv(variable, value)
    with pytest.raises(EngineError, match=why) as caught:
        engines.find()
    assert variable in caught.value.hint


def test_the_private_engine_is_found_where_the_machine_has_none(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setattr(endpoint, "DEFAULT_SOCKET", "/nonexistent/docker.sock")
    monkeypatch.setattr(endpoint, "PRIVATE_SOCKET", engine.docker_host)
    assert engines.find().docker_host == engine.docker_host


def test_the_private_engine_is_found_where_the_machines_own_does_not_answer(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, home: Path, silent: str
) -> None:
    monkeypatch.delenv("DOCKER_HOST")
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text('{"currentContext": "no-such"}', encoding="utf-8")
    monkeypatch.setattr(endpoint, "PRIVATE_SOCKET", engine.docker_host)
    assert engines.find().docker_host == engine.docker_host


def test_an_engine_that_never_answers_is_given_up(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", silent)
    monkeypatch.setattr(ask, "ANSWER_SECONDS", 1.0)
    with pytest.raises(EngineError, match=rf"{silent}: no answer within 1 seconds?") as caught:
        engines.find()
    assert caught.value.code == "no_engine"


def test_a_builder_that_is_not_there_is_named() -> None:
    with pytest.raises(EngineError, match="no-such-builder cannot be used") as caught:
        engines.find("no-such-builder")
    assert caught.value.code == "builder_unusable"
    assert caught.value.hint


def test_a_builder_whose_engine_is_not_there_is_told_with_how_to_set_one_up(tmp_path: Path) -> None:
    said = "Error: Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?"
    plugin = tmp_path / ".docker" / "cli-plugins" / "docker-buildx"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(f"#!/bin/sh\necho '{said}'\n", encoding="utf-8")
    plugin.chmod(0o755)
    with pytest.raises(EngineError, match="Is the docker daemon running") as caught:
        engines.find("own")
    assert "image-builder engine up" in caught.value.hint


@pytest.mark.parametrize(
    ("builder", "server", "inspected", "rewrites"),
    [
        ("", "26.1.5+dfsg1", "", True),
        ("", "25.0.1", "", False),
        ("default", "28.5.2", "Driver: docker\nBuildKit version: v0.0.0+unknown", True),
        ("own", "20.10.24", "Driver: docker-container\nBuildKit version: v0.13.0", True),
        ("own", "28.5.2", "Driver: docker-container\nBuildKit version: v0.12.5", False),
        ("two", "28.5.2", "Driver: remote\nBuildKit version: v0.12.5\nBuildKit version: v0.25.2", False),
        ("gone", "28.5.2", "", False),
    ],
)
def test_a_builder_rewrites_timestamps_by_the_versions_that_it_tells(
    builder: str, server: str, inspected: str, rewrites: bool, tmp_path: Path
) -> None:
    program = tmp_path / "docker-buildx"
    case = f"'inspect {builder}') echo '{inspected}' ;;"
    program.write_text(f'#!/bin/sh\ncase "$*" in\n{case}\n*) exit 1 ;;\nesac\n', encoding="utf-8")
    program.chmod(0o755)
    found = engines.Engine(
        Endpoint("unix:///nonexistent"),
        str(program),
        builder,
        {"ServerVersion": server, "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]},
        Platform("linux", "amd64"),
    )
    assert engines.pushing(found).rewrites_timestamps is rewrites


def test_without_buildx_there_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(buildx, "PRIVATE_PREFIX", "/nonexistent")
    monkeypatch.setattr(buildx, "_PLUGIN_FOLDERS", ())
    with pytest.raises(EngineError, match="is missing") as caught:
        engines.find()
    assert caught.value.code == "no_engine"
    assert "the buildx plugin" in str(caught.value)


def test_the_docker_command_is_not_needed(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker-buildx").symlink_to(engine.buildx)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(buildx, "PRIVATE_PREFIX", "/nonexistent")
    monkeypatch.setattr(buildx, "_PLUGIN_FOLDERS", ())
    found = engines.find()
    assert found.docker_host == engine.docker_host
    assert Platform("linux", "amd64") in engines.runnable(found)


def test_a_plugin_in_the_users_folder_is_found(engine: Engine, home: Path) -> None:
    plugins = home / ".docker" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-buildx").symlink_to(engine.buildx)
    assert engines.find().buildx == str(plugins / "docker-buildx")
