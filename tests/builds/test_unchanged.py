# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What is called unchanged, and what is told of it."""

from __future__ import annotations

import os
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_source
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Lines
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.fetch_source import (
    fetch_source,
    remove_source,
)

from tests.builds.site import BOTH, Site
from tests.support.repositories import git, repository

pytestmark = pytest.mark.engine


def by_platform(site: Site, name: str, *tags: str, **marks: str) -> str:
    """Push an image with a mark of each architecture's own in /mark, so that one of them can move alone."""
    folder = site.folder / name
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text("FROM scratch\nARG TARGETARCH\nCOPY mark-$TARGETARCH /mark\n")
    for architecture, mark in marks.items():
        (folder / f"mark-{architecture}").write_text(mark)
    for path in (folder, *folder.iterdir()):
        os.utime(path, (1, 1))
    wanted = {"image": name, "platforms": BOTH, "tags": list(tags or ["latest"])}
    assert site.build(wanted, context=folder).error is None
    return site.reference(name)


def test_what_is_asked_for_in_other_words_is_not_built_again(site: Site) -> None:
    name = by_platform(site, "tools", amd64="1", arm64="1")
    site.write(
        Dockerfile=f"FROM alpine AS first\nCOPY --from={name} /mark /copied\n"
        f"FROM first AS Last\nRUN --mount=from={name},target=/tools cp /tools/mark /mounted\n"
    )
    both: dict[str, Any] = {"image": "both", "platforms": BOTH}
    one: dict[str, Any] = {"image": "one", "platforms": BOTH[:1]}
    first: dict[str, Any] = {"image": "first", "target": "first"}
    site.build_ok(both, one, first)
    assert site.rebuilt({**both, "platforms": BOTH[::-1]}) == set()
    for target in ("last", "Last", "1"):
        assert site.rebuilt({**both, "target": target}, {**one, "target": target}) == set(), target
    for target in ("FIRST", "0"):
        assert site.rebuilt({**first, "target": target}) == set(), target
    by_platform(site, "tools", arm64="2")
    assert site.rebuilt(both, one, first) == {"both"}
    site.build_ok(both)
    assert site.pushed("both").read("/mounted", "linux/arm64") == "2"
    by_platform(site, "tools", amd64="2")
    assert site.rebuilt(both, one, first) == {"both", "one", "first"}


def test_an_unchanged_image_is_told_of_as_it_stands_in_the_registry(site: Site) -> None:
    name = by_platform(site, "base", "old", "other", amd64="1", arm64="1")
    folder = site.folder / "repository"
    repository(
        folder, {"Dockerfile": f"FROM {name}:old AS one\nFROM {name}:old\nCOPY --from=one /mark /app\n"}
    )
    source, _ = accept_source({"git_repo": {"url": folder.as_uri()}})

    def built(image: dict[str, Any]) -> dict[str, Any]:
        """The result of ``image`` from a new commit with the same files."""
        git(folder, "commit", "--quiet", "--allow-empty", "--message=another")
        path = fetch_source(source, None, Lines(site.told.append)).workspace
        report = site.build(image, workspace=path)
        remove_source(path)
        assert report.error is None, report.error
        assert report.revision == git(folder, "rev-parse", "HEAD")
        return dict(report.to_dict()["images"][0])

    app: dict[str, Any] = {"image": "app", "platforms": BOTH[:1]}
    first = built(app)
    assert (first["state"], first["revision"]) == ("success", git(folder, "rev-parse", "HEAD"))
    by_platform(site, "base", "old", "other", amd64="1", arm64="2")
    for wanted in (app, {**app, "base": f"{name}:other"}):
        entry = built(wanted)
        assert entry["state"] == "unchanged"
        for key in ("bases", "revision", "digest", "platforms"):
            assert entry[key] == first[key], key
    held = site.pushed("app").annotations
    assert held["org.opencontainers.image.revision"] == entry["revision"]
    assert held["org.opencontainers.image.base.digest"] == entry["bases"][1]["digest"]
    assert held["org.opencontainers.image.base.name"] == entry["bases"][1]["reference"]


@pytest.mark.each_engine
@pytest.mark.parametrize(
    "step", ["COPY --from={} /mark /mark", "RUN --mount=from={},target=/m cp /m/mark /mark"]
)
def test_what_a_stage_of_the_builders_platform_reads_is_of_the_platform_that_is_built(
    site: Site, step: str
) -> None:
    """Else an image could be unchanged though what it reads has moved."""
    name = by_platform(site, "tools", amd64="amd64", arm64="arm64")
    site.write(
        Dockerfile=f"FROM --platform=$BUILDPLATFORM {site.engine.registry}/library/alpine:3.18 AS made\n"
        f"{step.format(name)}\nFROM scratch\nCOPY --from=made / /\n"
    )
    app = {"image": "app", "platforms": BOTH[1:]}
    site.build_ok(app)
    assert site.pushed("app").read("/mark", BOTH[1]) == "arm64"
