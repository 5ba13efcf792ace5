# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A workspace on a disk that is full: a clear error, nothing left, and the next run completes."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_source
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import BuilderError, from_os_error
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Lines
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.fetch_source import (
    fetch_source,
    remove_source,
)

from tests.builds.site import Site, states
from tests.support.disk import SmallDisk, small_disk
from tests.support.repositories import repository

pytestmark = pytest.mark.engine


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small", 2) as made:
        yield made


def git(folder: Path) -> dict[str, Any]:
    big = {f"big-{n}": os.urandom(1 << 20).hex() for n in range(3)}
    repository(folder / "repository", {"Dockerfile": "FROM scratch\nCOPY big-0 /\n", **big})
    return {"git_repo": {"url": f"file://{folder}/repository"}}


def tar(folder: Path) -> dict[str, Any]:
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY big /\n", encoding="utf-8")
    (folder / "big").write_bytes(os.urandom(3 << 20))
    with tarfile.open(folder / "context.tar.gz", "w:gz", compresslevel=1) as archive:
        for name in ("Dockerfile", "big"):
            archive.add(folder / name, name)
    return {"tar": {"path": str(folder / "context.tar.gz")}}


@pytest.mark.parametrize(("source", "code"), [(git, "disk_full"), (tar, "archive_too_large")])
def test_a_source_that_finds_no_room_is_built_when_there_is_some(
    site: Site, disk: SmallDisk, source: Callable[[Path], dict[str, Any]], code: str
) -> None:
    wanted = source(site.folder)
    with pytest.raises(BuilderError) as raised:
        fetch_source(accept_source(wanted)[0], str(disk.folder), Lines(site.told.append))
    assert raised.value.code == code
    assert "space" in str(raised.value)
    assert disk.content == []

    disk.grow(32)
    fetched = fetch_source(accept_source(wanted)[0], str(disk.folder), Lines(site.told.append))
    made = site.build({"image": "app"}, workspace=fetched.workspace)
    assert states(made) == ["success"], made.error
    assert site.pushed("app").digest == made.to_dict()["images"][0]["digest"]
    assert remove_source(fetched.workspace)
    assert disk.content == []


def test_a_build_that_finds_no_room_for_its_own_files_is_done_when_there_is_some(
    site: Site, disk: SmallDisk
) -> None:
    repository(site.folder / "repository", {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    wanted = {"git_repo": {"url": f"file://{site.folder}/repository"}}
    workspace = fetch_source(accept_source(wanted)[0], str(disk.folder), Lines(site.told.append)).workspace
    disk.fill()
    with pytest.raises(OSError) as raised:  # noqa: PT011 - what it is, is asserted of its explanation
        site.build({"image": "app"}, workspace=workspace)
    error = from_os_error(raised.value)
    assert (error.code, error.retryable) == ("disk_full", True)
    remove_source(workspace)
    assert disk.content == []
    assert site.repository("app") not in site.pushed("app").registry.repositories()

    disk.grow(32)
    workspace = fetch_source(accept_source(wanted)[0], str(disk.folder), Lines(site.told.append)).workspace
    assert states(site.build({"image": "app"}, workspace=workspace)) == ["success"]
    assert remove_source(workspace)
