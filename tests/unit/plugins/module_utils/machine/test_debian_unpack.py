# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import MachineError
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine import debian_unpack
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine.debian_archive import (
    debian_architecture,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine.debian_unpack import Packages

pytestmark = pytest.mark.skipif(not Path("/usr/bin/dpkg-deb").exists(), reason="needs dpkg-deb")


class LocalArchive:
    """Stands for the archive of Debian: real packages, made here. ``asked`` holds what was asked of it."""

    asked: list[tuple[str, str | None, tuple[str, ...]]]
    outdated: set[bool]
    folder: Path

    def __init__(
        self, architecture: str, suite: str | None, pockets: Sequence[str], *, accept_outdated: bool
    ) -> None:
        self.outdated.add(accept_outdated)
        self.asked.append((architecture, suite, tuple(pockets)))
        self.warning = "no updates" if architecture == "armhf" else ""
        self._architecture = architecture

    def __enter__(self) -> LocalArchive:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def download(self, packages: Sequence[str]) -> list[Path]:
        if "no-such" in packages:
            raise MachineError("apt_failed", "Unable to locate package no-such.")
        return [self._make(name) for name in packages]

    def _make(self, name: str) -> Path:
        self.folder.mkdir(exist_ok=True)
        tree = Path(tempfile.mkdtemp(dir=self.folder))
        tree.chmod(0o755)
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: 1:2.3-4\nArchitecture: {self._architecture}\n"
            "Maintainer: nobody <nobody@mirror.test>\nDescription: a test\n"
        )
        (tree / "usr").mkdir()
        (tree / "usr" / name).write_text(self._architecture)
        package = self.folder / f"{name}_1%3a2.3-4_{self._architecture}.deb"
        subprocess.run(["dpkg-deb", "--build", tree, package], check=True, capture_output=True)
        return package


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[LocalArchive]:
    LocalArchive.asked, LocalArchive.outdated = [], set()
    LocalArchive.folder = tmp_path / "archive"
    monkeypatch.setattr(debian_unpack, "Archive", LocalArchive)
    return LocalArchive


def test_each_platform_has_its_folder_and_each_architecture_is_fetched_once(
    archive: type[LocalArchive], tmp_path: Path
) -> None:
    packages = Packages(["tool"], "trixie", ["linux/amd64", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7"])
    done = packages.unpack_into(tmp_path / "dest")
    assert done.changed
    assert done.versions == dict.fromkeys(["tool:amd64", "tool:armel", "tool:armhf"], "1:2.3-4")
    assert done.warnings == ["no updates"]
    assert sorted(archive.asked) == [(name, "trixie", ("",)) for name in ("amd64", "armel", "armhf")]
    held = {path.parents[1].name: path.read_text() for path in (tmp_path / "dest").rglob("tool")}
    assert held == {"amd64": "amd64", "armv5": "armel", "armv6": "armel", "armv7": "armhf"}


def test_what_is_on_record_is_not_fetched_again_and_what_is_missing_joins_it(
    archive: type[LocalArchive], tmp_path: Path
) -> None:
    one = Packages(["one"], platforms=["linux/amd64"])
    assert one.unpack_into(tmp_path).changed
    assert not one.unpack_into(tmp_path).changed
    both = Packages(["one", "two"], platforms=["linux/amd64"])
    assert sorted(both.unpack_into(tmp_path).versions) == ["one:amd64", "two:amd64"]
    assert len(archive.asked) == 2
    assert sorted(json.loads((tmp_path / "packages.json").read_text())) == ["one:amd64", "two:amd64"]


def test_without_platforms_the_folder_itself_takes_the_machines_own_packages_with_their_updates(
    archive: type[LocalArchive], tmp_path: Path
) -> None:
    Packages(["tool"]).unpack_into(tmp_path / "dest")
    assert (tmp_path / "dest" / "usr" / "tool").exists()
    ((_, suite, pockets),) = archive.asked
    assert (suite, pockets) == (None, ("", "-updates", "-security"))
    assert archive.outdated == {False}


def test_a_dry_run_fetches_and_makes_nothing(archive: type[LocalArchive], tmp_path: Path) -> None:
    done = Packages(["tool"]).unpack_into(tmp_path / "dest", dry_run=True)
    assert (done.changed, done.versions) == (True, {})
    assert archive.asked == []
    assert not (tmp_path / "dest").exists()


def test_a_failed_run_leaves_no_record_and_is_done_again(archive: type[LocalArchive], tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="Unable to locate"):
        Packages(["tool", "no-such"]).unpack_into(tmp_path)
    assert not (tmp_path / "packages.json").exists()
    assert Packages(["tool"]).unpack_into(tmp_path).changed


def test_a_record_that_cannot_be_read_is_an_error_that_says_what_to_remove(tmp_path: Path) -> None:
    (tmp_path / "packages.json").write_text("{")
    with pytest.raises(MachineError) as raised:
        Packages(["tool"]).unpack_into(tmp_path)
    assert raised.value.code == "invalid_record"
    assert str(tmp_path) in raised.value.hint


def test_a_platform_that_debian_does_not_know_is_named() -> None:
    assert debian_architecture("linux/arm/v7") == "armhf"
    with pytest.raises(MachineError, match="no packages for the platform linux/sparc64") as raised:
        debian_architecture("linux/sparc64")
    assert raised.value.code == "no_debian_architecture"
