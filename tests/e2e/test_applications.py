# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A blueprint on types named as SODALITE's, whose applications run what two builders build."""

from __future__ import annotations

import io
import json
import os
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.blueprint import OPERAS, Blueprint
from tests.support.engine import Engine, program
from tests.support.payloads import document
from tests.support.registry import Registry, registry
from tests.support.repositories import repository
from tests.support.run import Machine

#: Both applications, by the last part of their repositories' names; ``says`` is what they were built of.
APPLICATION = """\
FROM python:3.6-alpine
COPY says /says
CMD ["/bin/busybox", "sleep", "infinity"]
"""


@dataclass
class Site:
    """Where the applications come from, where they go, and the containers that run them."""

    folder: Path
    registry: Registry
    engine: Engine
    mark: str

    def write(self, name: str, says: str) -> None:
        """Have the repository of the application ``name`` say something else."""
        made = self.folder / uuid.uuid4().hex
        repository(made, {"Dockerfile": APPLICATION, "says": says})
        if (self.folder / name).exists():
            (self.folder / name).rename(self.folder / uuid.uuid4().hex)
        made.rename(self.folder / name)

    def inputs(self, **more: str) -> str:
        """The path of a file with the inputs of the blueprint, and ``more`` of them."""
        wanted: dict[str, object] = {"registry": self.registry.address, **more}
        for name, tag in (("backend", "1"), ("frontend", "2")):
            source = {"url": f"file://{self.folder}/{name}"}
            made = document(self.registry, source, {"image": f"applications/{name}", "tag": tag})
            wanted |= {f"{name}_source": made["source"], f"{name}_target": made["target"]}
            wanted[f"{name}_name"] = self.container(name)
        path = self.folder / f"inputs-{len(more)}.json"
        path.write_text(json.dumps(wanted), encoding="utf-8")
        return str(path)

    def container(self, name: str) -> str:
        """The name of the container that runs the application ``name``."""
        return f"{name}-{self.mark}"

    def running(self, name: str) -> str:
        """The id of the running container of the application ``name``, or nothing."""
        arguments = ("--quiet", "--no-trunc", f"--filter=name={self.container(name)}")
        return self.engine.docker("ps", *arguments).decode().strip()

    def says(self, name: str) -> str:
        """What the running application ``name`` was built of."""
        packed = self.engine.docker("cp", f"{self.container(name)}:/says", "-")
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            file = archive.extractfile("says")
            assert file is not None
            return file.read().decode()


@pytest.fixture
def site(tmp_path: Path, engine: Engine) -> Iterator[Site]:
    with registry(tmp_path / "registry") as made:
        site = Site(tmp_path, made, engine, uuid.uuid4().hex)
        yield site
        for name in ("backend", "frontend"):
            engine.docker("rm", "--force", site.container(name), check=False)


@pytest.fixture(params=OPERAS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def blueprint(version: str, machine: Machine, engine: Engine, tmp_path: Path) -> Blueprint:
    """The blueprint on a machine whose users have the command docker."""
    machine.environment["DOCKER_HOST"] = engine.docker_host
    machine.environment["PATH"] += f"{os.pathsep}{Path(program('docker')).parent}"
    return Blueprint("applications", machine, tmp_path / "blueprint", version=version)


def test_applications_run_what_was_built_until_an_update_knows_no_image_for_them(
    version: str, blueprint: Blueprint, site: Site
) -> None:
    template = "service.yaml" if version == "0.6.6" else "service-0.7.yaml"
    deployed = ("-w", "4", "-i", site.inputs(), template)

    # A failure, here as the frontend has no repository yet, leaves what is done; resuming does the rest.
    site.write("backend", "backend, first")
    blueprint.opera("validate", "-i", site.inputs(), template)
    assert blueprint.run("deploy", *deployed).status != 0
    assert not site.running("frontend")
    site.write("frontend", "frontend, first")
    blueprint.opera("deploy", "--resume", "--force", *deployed)
    assert (site.says("backend"), site.says("frontend")) == ("backend, first", "frontend, first")
    assert blueprint.outputs()["frontend"] == "applications/frontend:2"

    # opera forgets what it does not deploy anew. The blueprint says which image the backend has, and not so
    # of the frontend, whose builder therefore counts as changed.
    backend, frontend = site.running("backend"), site.running("frontend")
    site.write("frontend", "frontend, second")
    changed = json.loads(blueprint.opera("diff", "--format", "json", *deployed[2:]).stdout)["nodes"]
    assert set(changed) == {"frontend", "frontend-builder"}
    blueprint.opera("update", *deployed)
    assert site.running("backend") == backend
    assert site.running("frontend") not in (frontend, "")
    assert site.says("frontend") == "frontend, second"
    assert blueprint.outputs()["frontend"] == "applications/frontend:2"

    # Where it says so, the frontend's digest is not known any more: nothing starts in place of what ran.
    kept = blueprint.run(
        "update", "-w", "4", "-i", site.inputs(frontend_image="applications/frontend:2"), template
    )
    assert kept.status != 0
    assert "Executing create on frontend_0" in kept.stdout
    assert "builder_0" not in kept.stdout
    assert site.running("backend") == backend
    assert not site.running("frontend")

    blueprint.opera("update", *deployed)
    assert (site.running("backend"), site.says("frontend")) == (backend, "frontend, second")
    blueprint.opera("undeploy", "-w", "4")
    assert not site.running("backend") + site.running("frontend")
    assert site.registry.repositories() == ["applications/backend", "applications/frontend"]


def test_a_packaged_blueprint_is_deployed_from_its_archive(
    blueprint: Blueprint, site: Site, tmp_path: Path
) -> None:
    for name in ("backend", "frontend"):
        site.write(name, name)
    archive = tmp_path / "applications.zip"
    blueprint.opera("package", "--service-template", "builders.yaml", "--output", str(archive), ".")
    # The older one looks for an archive in the present folder, and there alone.
    archive.rename(blueprint.folder / archive.name)
    blueprint.opera("validate", "-i", site.inputs(), archive.name)
    blueprint.opera("deploy", "-w", "4", "-i", site.inputs(), archive.name)
    assert blueprint.outputs()["frontend"] == "applications/frontend:2"
