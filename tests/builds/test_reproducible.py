# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One commit on two engines that know nothing of each other: do they push the same digest?"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_source
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import find as engines
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import MachineError
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Lines
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.fetch_source import (
    fetch_source,
    remove_source,
)

from tests.builds.site import BOTH, Site
from tests.support.engine import PREFIX, Engine
from tests.support.own_engine import PLUGIN, fetch_engine, own_engine
from tests.support.repositories import repository

pytestmark = pytest.mark.engine

#: A release of Debian with a newer Docker Engine and buildx than the site's.
SUITE = "testing"
#: What is told of a builder that cannot.
TOLD = "this builder cannot give files the commit's time: another engine gives other digests"
# What steps make has the time of the build: files, folders and links, also in a stage that only lends them.
DOCKERFILE = """\
FROM alpine AS made
RUN mkdir -p /made/folder && echo 1 >/made/folder/file && ln -s file /made/folder/link
FROM alpine
COPY app /app
COPY --from=made /made /made
RUN echo 2 >/two && chmod 600 /two
"""


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of ``SUITE``, fetched as the role ``engine`` does."""
    folder = tmp_path_factory.mktemp("newer")
    try:
        fetch_engine(SUITE, folder)
    except MachineError as error:
        # A mirror that stands still serves a testing release that apt takes for outdated.
        if not re.search("Unable to locate package|is expired", str(error)):
            raise
        pytest.skip(f"Debian {SUITE} has no such engine here: {error}")
    for program in (folder / "usr/sbin/dockerd", folder / PLUGIN):
        tried = subprocess.run([program, "version"], capture_output=True, text=True)
        if "GLIBC" in tried.stderr:
            pytest.skip(f"the engine of Debian {SUITE} does not run on this release: {tried.stderr}")
    return folder


def build(site: Site, tag: str, *, reproducible: bool = True) -> None:
    """Build a commit that is the same each time, for two platforms, without a cache of the engine's."""
    made = site.folder / "repository"
    if not made.exists():
        repository(made, {"Dockerfile": DOCKERFILE, "app": "x\n"})
    source, _ = accept_source({"git_repo": {"url": made.as_uri()}})
    workspace = fetch_source(source, None, Lines(site.told.append)).workspace
    try:
        image = {"image": "app", "tag": tag, "platforms": BOTH}
        built = site.build(image, workspace=workspace, options={"reproducible": reproducible})
        assert built.error is None, built.error
    finally:
        remove_source(workspace)


@pytest.mark.parametrize("of_the_site", [False, True], ids=["newer engine", "site's engine, newer buildx"])
def test_two_engines_push_the_same_digest_of_a_commit(
    of_the_site: bool,
    newer: Path,
    tmp_path: Path,
    engine: Engine,
    machine: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if of_the_site and not (PREFIX / "usr/sbin/dockerd").exists():
        pytest.skip("the site's engine is not a private one")
    plugins = machine[0] / ".docker" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-buildx").symlink_to(newer / PLUGIN)
    site = Site(engine, tmp_path)
    for tag in ("first", "second"):
        programs = PREFIX if of_the_site else newer
        with own_engine(tmp_path / tag, engine.registry, programs=programs) as own:
            monkeypatch.setenv("DOCKER_HOST", own.engine.docker_host)
            monkeypatch.setenv("PATH", f"{programs}/usr/bin:{os.environ['PATH']}")
            assert engines.pushing(engines.find()).rewrites_timestamps
            build(site, tag)
            kept = own.engine.docker("image", "ls", "--format={{.Repository}}").decode()
            assert site.repository("app") not in kept
            build(site, f"{tag}-as-it-comes", reproducible=False)
            assert own.engine.docker("image", "ls", "--format={{.Repository}}").decode() == kept
    assert TOLD not in site.told
    first, second = site.pushed("app", "first"), site.pushed("app", "second")
    assert first.manifest() == second.manifest()
    assert set(first.platforms()) == set(BOTH)
    assert (
        first.run("/bin/busybox", "stat", "-c", "%Y", "/two", "/made/folder").split() == [b"1700000000"] * 2
    )


@pytest.mark.each_engine
def test_an_engine_keeps_no_image_that_it_pushes_and_gives_files_the_time_of_the_commit_if_asked_to(
    site: Site,
) -> None:
    build(site, "rewritten")
    build(site, "as-it-comes", reproducible=False)
    assert TOLD not in site.told
    kept = site.engine.docker("image", "ls", "--format={{.Repository}}").decode()
    assert site.repository("app") not in kept
    made_at = "/bin/busybox", "stat", "-c", "%Y", "/two"
    assert site.pushed("app", "rewritten").run(*made_at).split() == [b"1700000000"]
    assert site.pushed("app", "as-it-comes").run(*made_at).split() != [b"1700000000"]


def test_a_builder_that_cannot_do_so_pushes_all_the_same_and_says_so(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_REWRITING_ENGINE", (1000,))
    build(site, "not-asked", reproducible=False)
    assert TOLD not in site.told
    build(site, "told")
    assert site.told.count(TOLD) == 1
    assert site.pushed("app", "told").read("/two") == "2\n"
