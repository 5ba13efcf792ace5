# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Large sources: how much memory they take, and that they are not copied twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import Engine
from tests.support.files import file_server
from tests.support.large_sources import Taken, measured, write_large
from tests.support.registry import registry

pytestmark = [pytest.mark.engine, pytest.mark.slow]

GIGABYTES = 2
MOST_GROWTH = 50 << 20


@pytest.fixture
def content(tmp_path: Path) -> Iterator[Path]:
    """A folder with one large file, of which little can be compressed away, that the build ignores."""
    folder = tmp_path / "content"
    write_large(folder, GIGABYTES << 10)
    yield folder
    (folder / "large").unlink()


def building(engine: Engine, folder: Path, source: dict[str, Any], address: str = "") -> Taken:
    """What building ``source`` takes; the image goes to the site's registry or to the one at ``address``."""
    return measured(engine.docker_host, engine.buildx, folder, source, address or engine.registry)


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
def test_an_archive_takes_little_memory_and_its_own_size_on_disk(
    engine: Engine, content: Path, tmp_path: Path, compression: str
) -> None:
    (tmp_path / "served").mkdir()
    archive = tmp_path / "served" / f"context.tar{compression}"
    command = {"": [], ".gz": ["-I", "gzip -1"], ".zst": ["-I", "zstd -1"]}[compression]
    subprocess.run(["tar", *command, "-cf", str(archive), "-C", str(content), "."], check=True)
    with file_server(archive.parent) as server:
        found = building(engine, tmp_path, {"tar": {"url": f"{server.url}/{archive.name}"}})
    archive.unlink()
    assert found.growth < MOST_GROWTH
    assert found.written < (GIGABYTES << 30) + MOST_GROWTH


def test_a_local_folder_takes_little_memory_and_no_space(
    engine: Engine, content: Path, tmp_path: Path
) -> None:
    source = {
        "dockerfile": {"url": (content / "Dockerfile").as_uri()},
        "build_context": {"path": str(content)},
    }
    found = building(engine, tmp_path, source)
    assert found.growth < MOST_GROWTH
    assert found.written < 1 << 20


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
        found = building(engine, tmp_path, {"tar": {"path": str(archive)}}, own.address)
    shutil.rmtree(tmp_path / "registry")
    archive.unlink()
    assert found.growth < MOST_GROWTH
    assert found.written < (GIGABYTES << 30) + MOST_GROWTH
