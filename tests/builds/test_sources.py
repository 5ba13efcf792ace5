# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Every kind of source becomes what it should in a real registry, by a real engine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.result import Report
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import (
    accept_images,
    accept_source,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import BuilderError
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.build_images import (
    InWorkspace,
    build_images,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.fetch_source import (
    fetch_source,
    remove_source,
)

from tests.support import leaks
from tests.support.engine import Engine
from tests.support.files import FileServer, file_server
from tests.support.images import Image, save_oci
from tests.support.registry import Registry
from tests.support.repositories import repository

pytestmark = pytest.mark.engine

BASE = "python:3.6-alpine"
COMPRESSIONS = {"tar": [], "gz": ["--gzip"], "bz2": ["--bzip2"], "xz": ["--xz"], "zst": ["--zstd"]}


@dataclass
class Site:
    """A folder for files and a folder in the registry of its own; what was fetched is removed at the end."""

    engine: Engine
    files: FileServer
    name: str = field(default_factory=lambda: f"tests/{uuid.uuid4().hex[:12]}")

    @property
    def folder(self) -> Path:
        return self.files.folder

    def write(self, **files: str) -> Path:
        """Write files under the folder ``context``; ``__`` in a name stands for a slash, ``_`` for a dot."""
        for name, text in files.items():
            path = self.folder / "context" / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return self.folder / "context"

    def pack(self, name: str, *arguments: str) -> Path:
        """The archive ``name`` of the folder ``context``, made by tar."""
        path = self.folder / name
        command = [
            "tar",
            "--create",
            "--file",
            str(path),
            *arguments,
            "--directory",
            str(self.folder / "context"),
        ]
        subprocess.run([*command, "."], check=True)
        return path

    def build(
        self,
        source: dict[str, Any],
        *images: dict[str, Any],
        plan_only: bool = False,
        options: Optional[dict[str, Any]] = None,
    ) -> Report:
        """Build ``images`` (by default one) of ``source``, as the modules of a playbook do."""
        wanted = [{**image, "image": f"{self.name}/{image.get('image', 'app')}"} for image in images or ({},)]
        target = {"images": wanted, "registry": {"url": self.engine.registry}}
        fetched = fetch_source(accept_source(source)[0], None, SILENT)
        try:
            wanted_target, checked, _ = accept_images(target, options)
            place = InWorkspace(fetched.workspace)
            return build_images(wanted_target, checked, place, SILENT, plan_only=plan_only)
        finally:
            remove_source(fetched.workspace)

    def built(self, source: dict[str, Any], *images: dict[str, Any]) -> Image:
        """Build and assert that it worked; gives the first image."""
        report = self.build(source, *images)
        assert report.error is None, report.error
        assert [result.state for result in report.results] == ["success"] * max(len(images), 1)
        return self.pushed()

    def pushed(self, image: str = "app", tag: str = "latest") -> Image:
        return Image(self.engine, Registry(self.engine.registry), f"{self.name}/{image}", tag)


@pytest.fixture
def site(tmp_path: Path, engine: Engine, machine: tuple[Path, Path]) -> Iterator[Site]:
    _, tmp = machine
    files = tmp_path / "files"
    files.mkdir()
    with file_server(files) as server:
        yield Site(engine, server)
    leaks.assert_nothing_left(tmp)


def files_of(image: Image, folder: str = "/code") -> list[str]:
    listed = image.run("/bin/busybox", "find", folder, "-type", "f").decode().split()
    return sorted(path.removeprefix(f"{folder}/") for path in listed)


def dockerfile(site: Site, text: str) -> dict[str, Any]:
    (site.folder / "Dockerfile").write_text(text, encoding="utf-8")
    return {"dockerfile": {"url": f"{site.files.url}/Dockerfile"}}


def test_nothing_of_the_machine_reaches_the_build_of_a_dockerfile_alone(site: Site) -> None:
    source = dockerfile(site, f"FROM {BASE}\nCOPY . /code\nRUN uname -m > /arch\n")
    image = site.built(source)
    assert image.read("/arch") == "x86_64\n"
    assert files_of(image) == []


def test_a_dockerfile_alone_is_not_built_again_until_it_changes(site: Site) -> None:
    source = dockerfile(site, f"FROM {BASE}\nRUN echo 1 > /number\n")
    site.built(source)
    assert [result.state for result in site.build(source).results] == ["unchanged"]
    assert site.built(dockerfile(site, f"FROM {BASE}\nRUN echo 2 > /number\n")).read("/number") == "2\n"


def test_a_dockerfile_is_built_with_a_repository_whose_own_files_stay_as_they_are(
    site: Site, tmp_path: Path
) -> None:
    commit = repository(
        tmp_path / "repository",
        {
            "Dockerfile": "the repository's own\n",
            "app/main.py": "print(1)\n",
            "secret.txt": "hidden\n",
            ".dockerignore": "secret.txt\n",
        },
    )
    source = dockerfile(site, f"FROM {BASE}\nCOPY . /code\n")
    source["build_context"] = {"url": f"file://{tmp_path}/repository"}
    report = site.build(source)
    assert report.error is None, report.error
    assert report.revision == commit
    assert files_of(site.pushed()) == [".dockerignore", "Dockerfile", "app/main.py"]
    assert site.pushed().read("/code/Dockerfile") == "the repository's own\n"


def test_a_subdir_of_the_repository_is_the_build_context(site: Site, tmp_path: Path) -> None:
    files = {"no_context/a.txt": "a", "outside.txt": "b", "no_context/Dockerfile.dockerignore": "*.md\n"}
    repository(tmp_path / "repository", {**files, "no_context/README.md": "c"})
    source = dockerfile(site, f"FROM {BASE}\nCOPY . /code\n")
    source["build_context"] = {"url": f"file://{tmp_path}/repository", "subdir": "no_context"}
    assert files_of(site.built(source)) == ["Dockerfile.dockerignore", "a.txt"]


def test_a_local_folder_is_used_where_it_is_and_left_as_it_was(site: Site) -> None:
    context = site.write(a="a", folder__b_txt="b", _dockerignore="folder\n")
    before = sorted((path, path.stat().st_mtime_ns) for path in context.rglob("*"))
    source = {**dockerfile(site, f"FROM {BASE}\nCOPY . /code\n"), "build_context": {"path": str(context)}}
    assert files_of(site.built(source)) == [".dockerignore", "a"]
    assert sorted((path, path.stat().st_mtime_ns) for path in context.rglob("*")) == before


def test_an_image_of_a_folder_is_from_when_the_newest_of_its_files_is(site: Site) -> None:
    context = site.write(a="a", folder__b="b", c="c", ignored="x", _dockerignore="ignored\n")
    times = {"a": 1_600_000_000.5, "folder/b": 1_600_000_007.9, "ignored": 1_700_000_000, "c": -5}
    os.utime(context / ".dockerignore", (1, 1))
    for name, seconds in times.items():
        os.utime(context / name, (seconds, seconds))
    source = {**dockerfile(site, f"FROM {BASE}\nCOPY . /code\n"), "build_context": {"path": str(context)}}
    image = site.built(source)
    created = "2020-09-13T12:26:47Z"
    assert image.config()["created"] == created
    assert image.config()["config"]["Labels"]["org.opencontainers.image.created"] == created
    assert image.annotations["org.opencontainers.image.created"] == created
    os.utime(context / "a", (1_600_000_100, 1_600_000_100))
    assert [result.state for result in site.build(source).results] == ["unchanged"]
    assert site.build(source, options={"rebuild": "always"}).error is None
    assert site.pushed().config()["created"] == "2020-09-13T12:28:20Z"


def test_a_time_of_the_documents_own_is_told_as_the_images(site: Site) -> None:
    source = dockerfile(site, f"FROM {BASE}\nCOPY . /code\n")
    image = site.built(source, {"build_args": {"SOURCE_DATE_EPOCH": "1600000007"}})
    assert image.config()["created"] == "2020-09-13T12:26:47Z"
    assert image.annotations["org.opencontainers.image.created"] == "2020-09-13T12:26:47Z"


@pytest.mark.each_engine
def test_an_image_of_a_dockerfile_alone_is_from_when_it_was_built(site: Site) -> None:
    begun = time.time() - 1
    source = dockerfile(site, f"FROM {BASE}\nRUN : {uuid.uuid4()}\n")
    image = site.built(source)
    assert begun < datetime.fromisoformat(image.config()["created"][:19] + "+00:00").timestamp()
    digest = image.digest
    assert site.build(source, options={"rebuild": "always"}).error is None
    assert site.pushed().digest == digest


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_an_archive_with_a_dockerfile_is_a_build_context(site: Site, compression: str) -> None:
    site.write(
        Dockerfile=f"FROM {BASE}\nCOPY . /code\n", lib__part_py="PART = 1\n", _dockerignore="Dockerfile"
    )
    site.pack(f"context.{compression}", *COMPRESSIONS[compression])
    image = site.built({"tar": {"url": f"{site.files.url}/context.{compression}"}})
    assert files_of(image) == [".dockerignore", "lib/part.py"]
    assert image.read("/code/lib/part.py") == "PART = 1\n"


def test_an_archive_has_variants_a_workdir_and_a_dockerfile_elsewhere_as_a_repository_has(site: Site) -> None:
    site.write(docker__Dockerfile=f"FROM {BASE}\nCOPY . /code\n", code__main_py="1", outside="2")
    path = site.pack("context.tar.gz", "--gzip", "--transform=s,^[.],app-1.0,")
    source = {"tar": {"path": str(path), "dockerfile": "docker/Dockerfile", "workdir": "code"}}
    platforms = ["linux/amd64", "linux/arm64"]
    site.built(source, {"platforms": platforms}, {"tag": "other", "base": "python:3.8-alpine"})
    assert files_of(site.pushed()) == ["main.py"]
    assert list(site.pushed().platforms()) == platforms
    assert site.pushed(tag="other").base() == "python:3.8-alpine"


@pytest.fixture
def saved(site: Site) -> Iterator[Path]:
    """What ``docker save`` writes of an image."""
    reference = f"{site.engine.registry}/library/{BASE}"
    site.engine.docker("pull", "--quiet", "--platform=linux/amd64", reference)
    path = site.folder / "saved.tar"
    site.engine.docker("save", "--output", str(path), reference)
    yield path
    site.engine.docker("image", "rm", "--force", reference, check=False)


def test_what_docker_save_wrote_is_pushed_without_a_build(site: Site, saved: Path) -> None:
    source = {"tar": {"path": str(saved)}}
    assert site.build(source, plan_only=True).results[0].state == "pending"
    first = site.build(source, {"tags": ["1", "2"]}, {"image": "copy"})
    assert first.error is None, first.error
    entry = first.to_dict()["images"][0]
    assert site.pushed(tag="1").digest == site.pushed(tag="2").digest == entry["digest"]
    assert site.pushed("copy").digest == entry["digest"]
    assert entry["platforms"] == [
        {"platform": platform, "digest": digest}
        for platform, digest in site.pushed(tag="1").platforms().items()
    ]
    assert site.pushed(tag="1").base() == BASE
    again = site.build(source, {"tags": ["1", "2"]}, {"image": "copy"})
    assert [result.state for result in again.results] == ["unchanged", "unchanged"]


def unpack(archive: Path, folder: Path) -> None:
    # Python's own way differs from one 3.11 to the next.
    folder.mkdir()
    subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True)


def test_the_older_form_of_docker_save_is_pushed_too(site: Site, saved: Path) -> None:
    """Without its OCI files it is what engines before 25 wrote: a config, and layers by path."""
    folder = site.folder / "older"
    unpack(saved, folder)
    (described,) = json.loads((folder / "manifest.json").read_text())
    layers = []
    for number, name in enumerate(described["Layers"]):
        (folder / f"{number}").mkdir()
        content = (folder / name).read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = subprocess.run(["gzip", "-dc"], input=content, capture_output=True, check=True).stdout
        (folder / f"{number}" / "layer.tar").write_bytes(content)
        layers.append(f"{number}/layer.tar")
    (folder / "config.json").write_bytes((folder / described["Config"]).read_bytes())
    older = [{"Config": "config.json", "RepoTags": ["a:1"], "Layers": layers}]
    (folder / "manifest.json").write_text(json.dumps(older))
    path = site.folder / "older.tar.gz"
    names = ["manifest.json", "config.json", *map(os.path.dirname, layers)]
    subprocess.run(["tar", "-czf", str(path), "-C", str(folder), *names], check=True)
    assert site.built({"tar": {"path": str(path)}}).base() == BASE


@pytest.fixture
def layout(site: Site) -> Path:
    """An image for two platforms, with its provenance, as ``docker buildx build`` exports it."""
    context = site.write(Dockerfile=f"FROM {BASE}\nRUN uname -m > /arch\n")
    path = site.folder / "layout.tar"
    save_oci(site.engine, context, path)
    return path


def test_an_oci_archive_is_pushed_with_all_its_platforms(site: Site, layout: Path) -> None:
    with tarfile.open(layout) as archive:
        index = archive.extractfile("index.json")
        assert index is not None
        (described,) = json.loads(index.read())["manifests"]
    image = site.built({"tar": {"url": f"{site.files.url}/layout.tar"}})
    assert image.digest == described["digest"]
    assert list(image.platforms()) == ["linux/amd64", "linux/arm64"]
    assert [image.read("/arch", platform) for platform in image.platforms()] == ["x86_64\n", "aarch64\n"]
    assert [result.state for result in site.build({"tar": {"path": str(layout)}}).results] == ["unchanged"]


@pytest.mark.parametrize("layers", [[], None])
def test_an_oci_archive_of_an_image_without_layers_is_pushed(site: Site, layers: Optional[list[Any]]) -> None:
    def blob(content: Any) -> dict[str, Any]:
        text = json.dumps(content).encode()
        digest = hashlib.sha256(text).hexdigest()
        (folder / "blobs/sha256" / digest).write_bytes(text)
        return {"digest": f"sha256:{digest}", "size": len(text)}

    folder = site.folder / "bare"
    (folder / "blobs/sha256").mkdir(parents=True)
    rootfs = {"type": "layers", "diff_ids": layers}
    config = blob(
        {"architecture": "amd64", "os": "linux", "config": {"Labels": {"a": "b"}}, "rootfs": rootfs}
    )
    kind = "application/vnd.oci.image.manifest.v1+json"
    config["mediaType"] = "application/vnd.oci.image.config.v1+json"
    manifest = blob({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers})
    index = {"schemaVersion": 2, "manifests": [{**manifest, "mediaType": kind}]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    path = site.folder / "bare.tar"
    subprocess.run(["tar", "-cf", str(path), "-C", str(folder), "."], check=True)
    assert site.built({"tar": {"path": str(path)}}).digest == manifest["digest"]
    assert [result.state for result in site.build({"tar": {"path": str(path)}}).results] == ["unchanged"]


def test_some_platforms_of_an_oci_archive_can_be_pushed_alone(site: Site, layout: Path) -> None:
    image = site.built({"tar": {"path": str(layout)}}, {"platforms": ["linux/arm64"]})
    assert list(image.platforms()) == ["linux/arm64"]
    assert image.read("/arch", "linux/arm64") == "aarch64\n"


@pytest.mark.parametrize(
    ("image", "options", "code", "says"),
    [
        ({"base": "alpine"}, {}, "archive_holds_image", "base do not fit"),
        ({"build_args": {"A": "1"}, "target": "x"}, {}, "archive_holds_image", "build_args, target do not"),
        ({"labels": {"a": "b"}, "no_cache": True}, {}, "archive_holds_image", "labels, no_cache do not"),
        ({}, {"provenance": "max"}, "archive_holds_image", "options.provenance do not"),
        ({"platforms": ["s390x"]}, {}, "archive_lacks_platform", "has linux/amd64, linux/arm64"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else str(value),
)
def test_what_an_image_in_an_archive_cannot_become_is_a_clear_error(
    site: Site, layout: Path, image: dict[str, Any], options: dict[str, Any], code: str, says: str
) -> None:
    with pytest.raises(BuilderError) as caught:
        site.build({"tar": {"path": str(layout)}}, image, options=options)
    assert caught.value.code == code
    assert says.replace("has linux", "it has linux") in str(caught.value)
    assert caught.value.image == f"{site.engine.registry}/{site.name}/app:latest"


def test_an_image_that_an_archive_cannot_give_does_not_stop_the_others(site: Site, layout: Path) -> None:
    source = {"tar": {"path": str(layout)}}
    good, other = {"image": "good"}, {"image": "other", "platforms": ["linux/arm64"]}
    lacking, built = {"image": "lacking", "platforms": ["s390x"]}, {"image": "built", "base": "alpine"}
    wanted = good, lacking, built, other
    planned = site.build(source, *wanted, plan_only=True)
    assert [result.state for result in planned.results] == ["pending", "failed", "failed", "pending"]
    for on_failure in ("stop", "atomic"):
        report = site.build(source, *wanted, options={"on_failure": on_failure})
        assert [result.state for result in report.results] == ["cancelled", "failed", "failed", "cancelled"]
    report = site.build(source, *wanted)
    assert [result.state for result in report.results] == ["success", "failed", "failed", "success"]
    errors = [result.error for result in report.results if result.error]
    assert [error.code for error in errors] == ["archive_lacks_platform", "archive_holds_image"]
    assert list(site.pushed("other").platforms()) == ["linux/arm64"]
    with pytest.raises(BuilderError, match="2 images failed"):
        site.build(source, lacking, built)


def test_a_damaged_layer_of_an_image_is_refused_by_the_registry(site: Site, layout: Path) -> None:
    folder = site.folder / "damaged"
    unpack(layout, folder)
    largest = max((folder / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[::-1])
    path = site.folder / "damaged.tar"
    subprocess.run(["tar", "-cf", str(path), "-C", str(folder), "."], check=True)
    report = site.build({"tar": {"path": str(path)}}, {}, {"image": "other"})
    assert [result.state for result in report.results] == ["failed", "failed"]
    assert report.results[0].error is not None
    assert not report.results[0].error.retryable
    atomic = site.build(
        {"tar": {"path": str(path)}}, {}, {"image": "other"}, options={"on_failure": "atomic"}
    )
    assert [result.state for result in atomic.results] == ["failed", "cancelled"]


def test_an_archive_is_pushed_under_all_names_or_none(site: Site, layout: Path) -> None:
    images = {}, {"image": "other", "tag": "a", "tags": ["b"]}
    report = site.build({"tar": {"path": str(layout)}}, *images, options={"on_failure": "atomic"})
    assert [result.state for result in report.results] == ["success", "success"]
    again = site.build({"tar": {"path": str(layout)}}, *images)
    assert [result.state for result in again.results] == ["unchanged", "unchanged"]
