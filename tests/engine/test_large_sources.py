# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Large sources: how much memory they take, and that they are not copied twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.site.engine import Engine
from tests.site.files import file_server
from tests.site.registry import registry

pytestmark = [pytest.mark.engine, pytest.mark.slow]

GIGABYTES = 2
MOST_GROWTH = 50 << 20
# Builds nothing large: what is measured is this program, not the engine.
_PROGRAM = """
import json, os, resource, sys
from ansible_collections.sodalite.image_builder.plugins.module_utils.fetch import fetch_source, remove_source
from ansible_collections.sodalite.image_builder.plugins.module_utils.images import build_images

source, target, folder = json.loads(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fetched = fetch_source(source, folder, lambda line: None)
size = 0
for place, _, names in os.walk(fetched.workspace):
    size += sum(os.lstat(os.path.join(place, name)).st_blocks * 512 for name in names)
try:
    built = build_images(
        target, None, workspace=fetched.workspace, source=None, plan_only=False, report=lambda line: None
    )
finally:
    remove_source(fetched.workspace)
if built.error:
    raise built.error
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"growth": (after - before) * 1024, "written": size}))
"""


@pytest.fixture
def content(tmp_path: Path) -> Iterator[Path]:
    """A folder with one large file, of which little can be compressed away, that the build ignores."""
    folder = tmp_path / "content"
    folder.mkdir()
    block = os.urandom(1 << 20)
    with (folder / "large").open("wb") as file:
        for number in range(GIGABYTES << 10):
            file.write(number.to_bytes(8, "big") + block[8:])
    (folder / "Dockerfile").write_text("FROM python:3.6-alpine\nCOPY Dockerfile /\n")
    yield folder
    (folder / "large").unlink()


def measured(engine: Engine, folder: Path, source: dict[str, Any], address: str = "") -> dict[str, int]:
    """What building ``source`` took, in bytes: growth of the process, and what it wrote before the build."""
    target = {
        "images": [{"image": f"tests/{uuid.uuid4().hex[:12]}/app"}],
        "registry": {"url": address or engine.registry},
    }
    environment = {
        **os.environ,
        "DOCKER_HOST": engine.docker_host,
        "PATH": f"{Path(engine.buildx).parent}:{os.environ['PATH']}",
    }
    argv = [sys.executable, "-c", _PROGRAM, json.dumps([source, target, str(folder)])]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
def test_an_archive_takes_little_memory_and_its_own_size_on_disk(
    engine: Engine, content: Path, tmp_path: Path, compression: str
) -> None:
    (tmp_path / "served").mkdir()
    archive = tmp_path / "served" / f"context.tar{compression}"
    command = {"": [], ".gz": ["-I", "gzip -1"], ".zst": ["-I", "zstd -1"]}[compression]
    subprocess.run(["tar", *command, "-cf", str(archive), "-C", str(content), "."], check=True)
    with file_server(archive.parent) as server:
        found = measured(engine, tmp_path, {"tar": {"url": f"{server.url}/{archive.name}"}})
    archive.unlink()
    assert found["growth"] < MOST_GROWTH
    assert found["written"] < (GIGABYTES << 30) + MOST_GROWTH


def test_a_local_folder_takes_little_memory_and_no_space(
    engine: Engine, content: Path, tmp_path: Path
) -> None:
    source = {
        "dockerfile": {"url": (content / "Dockerfile").as_uri()},
        "build_context": {"path": str(content)},
    }
    found = measured(engine, tmp_path, source)
    assert found["growth"] < MOST_GROWTH
    assert found["written"] < 1 << 20


def test_a_large_layer_is_pushed_with_little_memory(engine: Engine, content: Path, tmp_path: Path) -> None:
    """An image with the large file as its layer, written as ``docker save`` did before version 25."""
    layer = tmp_path / "layer.tar"
    subprocess.run(["tar", "-cf", str(layer), "-C", str(content), "large"], check=True)
    digest = subprocess.run(["sha256sum", str(layer)], check=True, capture_output=True, text=True).stdout[:64]
    config = {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    described = [{"Config": "config.json", "RepoTags": None, "Layers": ["layer.tar"]}]
    (tmp_path / "manifest.json").write_text(json.dumps(described))
    archive = tmp_path / "image.tar"
    with tarfile.open(archive, "w") as made:
        for name in ("manifest.json", "config.json", "layer.tar"):
            made.add(tmp_path / name, name)
    layer.unlink()
    with registry(tmp_path / "registry") as own:
        found = measured(engine, tmp_path, {"tar": {"path": str(archive)}}, own.address)
    shutil.rmtree(tmp_path / "registry")
    archive.unlink()
    assert found["growth"] < MOST_GROWTH
    assert found["written"] < (GIGABYTES << 30) + MOST_GROWTH
