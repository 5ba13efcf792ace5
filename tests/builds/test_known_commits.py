# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A commit that was planned before is not fetched again until something must be built of it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.result import Report
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import (
    accept_images,
    accept_source,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import BuilderError, Cancelled
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Lines
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.build_images import (
    InWorkspace,
    build_images,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.fetch_source import (
    fetch_source,
    remove_source,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.process import cancellable
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources import memory

from tests.support import leaks
from tests.support.engine import Engine
from tests.support.git_servers import http_git_server
from tests.support.images import Image
from tests.support.registry import Registry
from tests.support.repositories import repository

pytestmark = pytest.mark.engine

# The repositories of ``repository`` are of 2023.
_LATER = ("-c", "user.name=a", "-c", "user.email=a@example.org")


@dataclass
class Site:
    """A repository, and the registry's folder that its images go to."""

    engine: Engine
    home: Path
    folder: Path
    name: str = field(default_factory=lambda: f"tests/{uuid.uuid4().hex[:12]}")
    told: list[str] = field(default_factory=list)

    @property
    def bare(self) -> Path:
        return self.folder / "app.git"

    def commit(self, **files: str) -> str:
        """Make the repository anew with a commit of a Dockerfile and ``files``; gives the commit."""
        shutil.rmtree(self.bare, ignore_errors=True)
        repository(self.bare, {"Dockerfile": "FROM alpine\nCOPY . /app\n", **files}, bare=True)
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.bare, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def lose_objects(self) -> None:
        """From here on the repository can tell its commits, but give none of them."""
        self.git("pack-refs", "--all")
        shutil.rmtree(self.bare / "objects")
        (self.bare / "objects").mkdir()

    def source(self, **fields: str) -> dict[str, Any]:
        return {"git_repo": {"url": self.bare.as_uri(), **fields}}

    def run(self, source: dict[str, Any], *, with_source: bool = True, **options: Any) -> Report:
        """One request, as the command line makes it."""
        self.told.clear()
        fetched = fetch_source(accept_source(source)[0], None, Lines(self.told.append), lazy=True)
        try:
            return self.built(fetched.workspace, source if with_source else None, **options)
        finally:
            remove_source(fetched.workspace)

    def built(self, workspace: str, source: dict[str, Any] | None = None, **options: Any) -> Report:
        """What becomes of one image of a ``workspace``."""
        raw = {"images": [{"image": f"{self.name}/app"}], "registry": {"url": self.engine.registry}}
        target, checked, accepted = accept_images(raw, options, source)
        return build_images(target, checked, InWorkspace(workspace, accepted), Lines(self.told.append))

    def states(self, source: dict[str, Any], **options: Any) -> list[str]:
        made = self.run(source, **options)
        assert made.error is None, made.error
        return [result.state for result in made.results]

    @property
    def fetched(self) -> bool:
        """Whether the last request fetched the repository."""
        return any(line.startswith("fetching") and "app.git" in line for line in self.told)


@pytest.fixture
def site(tmp_path: Path, engine: Engine, machine: tuple[Path, Path]) -> Iterator[Site]:
    home, tmp = machine
    yield Site(engine, home, tmp_path)
    leaks.assert_nothing_left(tmp)


def test_an_unchanged_commit_is_not_fetched_again(site: Site) -> None:
    site.commit(file="1")
    first = site.run(site.source()).to_dict()["images"][0]
    assert first["state"] == "success"
    assert site.fetched
    site.lose_objects()
    second = site.run(site.source()).to_dict()["images"][0]
    assert not site.fetched
    assert {**second, "seconds": 0} == {
        **first,
        "seconds": 0,
        "state": "unchanged",
        "changed": False,
        "reason": "the registry holds it already",
    }


def test_what_must_be_built_of_a_known_commit_is_fetched(site: Site) -> None:
    site.commit(file="1")
    assert site.states(site.source()) == ["success"]
    registry = Registry(site.engine.registry)
    assert site.states(site.source(), rebuild="always") == ["success"]
    assert site.fetched
    assert site.states(site.source()) == ["unchanged"]
    assert not site.fetched
    assert f"{site.name}/app" in registry.repositories()


def test_another_commit_is_fetched(site: Site) -> None:
    site.commit(file="1")
    assert site.states(site.source()) == ["success"]
    site.commit(file="2")
    assert site.states(site.source()) == ["success"]
    assert site.fetched
    site.commit(file="1")
    assert site.states(site.source()) == ["success"]


def test_a_new_commit_of_equal_files_is_another_image_where_a_step_may_see_its_time(site: Site) -> None:
    def commits(dockerfile: str) -> list[str]:
        found = []
        site.commit(Dockerfile=dockerfile)
        for _ in range(2):
            found += site.states(site.source())
            site.git("update-ref", "HEAD", site.git(*_LATER, "commit-tree", "HEAD^{tree}", "-m", "next"))
        return found

    assert commits("FROM alpine\nRUN echo > /time\n") == ["success", "unchanged"]
    sees = "FROM alpine\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH > /time\n"
    assert commits(sees) == ["success", "success"]
    pushed = Image(site.engine, Registry(site.engine.registry), f"{site.name}/app", "latest")
    assert int(pushed.read("/time")) > 1_700_000_000


def test_another_workdir_or_dockerfile_of_a_known_commit_is_another_source(site: Site) -> None:
    site.commit(**{"sub/Dockerfile": "FROM alpine\nRUN true\n"})
    assert site.states(site.source()) == ["success"]
    for place in ({"workdir": "sub"}, {"dockerfile": "sub/Dockerfile"}):
        assert site.states(site.source(**place)) == ["success"]
        assert site.fetched


def test_nobody_learns_of_a_known_commit_who_may_not_read_the_repository(site: Site) -> None:
    commit = site.commit(file="1")
    with http_git_server(site.folder, username="reader", password="right") as server:
        url = f"{server.url}/app.git"
        for version in ("HEAD", commit):
            account = {"url": url, "version": version, "username": "reader"}
            site.states({"git_repo": {**account, "password": "right"}})
            assert site.states({"git_repo": {**account, "password": "right"}}) == ["unchanged"]
            assert not site.fetched
            with pytest.raises(BuilderError) as caught:
                site.run({"git_repo": {**account, "password": "wrong"}})
            assert caught.value.code == "git_unauthorized"


def test_a_dockerfile_with_a_known_commit_as_its_build_context_fetches_only_the_dockerfile(
    site: Site,
) -> None:
    site.commit(file="1")
    dockerfile = site.folder / "Dockerfile"
    dockerfile.write_text("FROM alpine\nCOPY file /\n", encoding="utf-8")
    source = {"dockerfile": {"url": dockerfile.as_uri()}, "build_context": {"url": site.bare.as_uri()}}
    assert site.states(source) == ["success"]
    assert site.states(source) == ["unchanged"]
    assert not site.fetched
    dockerfile.write_text("FROM alpine\nCOPY file /other\n", encoding="utf-8")
    assert site.states(source) == ["success"]
    assert site.fetched


@pytest.mark.parametrize("damage", [b"", b"[1]", b"\xff\x00", b"wrong types"])
def test_a_damaged_memory_counts_as_none(site: Site, damage: bytes) -> None:
    site.commit(file="1")
    assert site.states(site.source()) == ["success"]
    (kept,) = (site.home / ".cache" / "image-builder" / "sources").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    if damage == b"wrong types":
        damage = json.dumps(dict.fromkeys(json.loads(kept.read_bytes()), 1)).encode()
    kept.write_bytes(damage)
    assert site.states(site.source()) == ["unchanged"]
    assert site.fetched


def test_nothing_is_kept_where_the_cache_folder_cannot_be_written(site: Site) -> None:
    site.commit(file="1")
    (site.home / ".cache").write_text("not a folder", encoding="utf-8")
    assert site.states(site.source()) == ["success"]
    assert site.states(site.source()) == ["unchanged"]
    assert site.fetched


def test_what_a_playbook_changes_after_an_ordinary_fetch_is_not_remembered(site: Site) -> None:
    site.commit(file="1")
    fetched = fetch_source(accept_source(site.source())[0], None, Lines(site.told.append))
    Path(fetched.tree.context, "file").write_text("patched", encoding="utf-8")
    site.built(fetched.workspace)
    remove_source(fetched.workspace)
    assert site.states(site.source()) == ["success"]
    assert site.fetched


def test_the_commit_that_was_planned_is_built_though_the_branch_moved(site: Site) -> None:
    planned = site.commit(file="1")
    assert site.states(site.source()) == ["success"]
    fetched = fetch_source(accept_source(site.source())[0], None, Lines(site.told.append), lazy=True)
    tree = site.git("rev-parse", "HEAD^{tree}")
    moved = site.git(
        "-c", "user.name=a", "-c", "user.email=a@example.org", "commit-tree", tree, "-p", "HEAD", "-m", "next"
    )
    site.git("update-ref", "HEAD", moved)
    report = site.built(fetched.workspace, site.source(), rebuild="always")
    remove_source(fetched.workspace)
    assert report.revision == planned
    assert [result.state for result in report.results] == ["success"]


def test_a_workspace_that_was_not_filled_needs_the_source(site: Site) -> None:
    site.commit(file="1")
    assert site.states(site.source()) == ["success"]
    made = site.run(site.source(), with_source=False, rebuild="always")
    assert made.error is not None
    assert made.error.code == "source_not_fetched"
    assert [result.state for result in made.results] == ["cancelled"]


def test_the_memory_forgets_what_is_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(memory, "_MOST_FILES", 3)
    known = memory.Known("FROM alpine\n\udc80", "Dockerfile", "sha256:x", 7)
    for name in "abcd":
        memory.remember(name, known)
        path = tmp_path / "image-builder" / "sources" / f"{name}.json"
        os.utime(path, (ord(name), ord(name)))
    assert [memory.recall(name) for name in "abcd"] == [None, known, known, known]


@pytest.mark.parametrize(
    "source",
    [{"git_repo": {"url": "http://{0}/app.git"}}, {"dockerfile": {"url": "http://{0}/Dockerfile"}}],
    ids=["git_repo", "dockerfile"],
)
def test_a_source_that_never_answers_is_given_up_in_time(site: Site, source: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = "127.0.0.1:{1}".format(*silent.getsockname())
        asked = {kind: {"url": parts["url"].format(address)} for kind, parts in source.items()}
        with pytest.raises(Cancelled) as caught, cancellable():
            fetch_source(accept_source(asked)[0], None, Lines(site.told.append), timeout=1)
    assert caught.value.code == "timeout"


def test_what_fetching_took_counts_against_the_time_limit(site: Site) -> None:
    site.commit(file="1")
    fetched = fetch_source(accept_source(site.source())[0], None, Lines(site.told.append))
    description = Path(fetched.workspace, "source.json")
    tree = json.loads(description.read_text(encoding="utf-8"))
    assert tree["seconds"] > 0
    description.write_text(json.dumps({**tree, "seconds": 3600}), encoding="utf-8")
    with pytest.raises(Cancelled) as caught, cancellable():
        site.built(fetched.workspace, timeout=3600)
    assert caught.value.code == "timeout"
