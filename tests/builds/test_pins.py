# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Every image that a build reads is the one that was planned, whatever the engine's own store has of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.result import Report
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import RegistryError

from tests.builds.site import Site

pytestmark = pytest.mark.engine


def hashes(report: Report) -> list[str]:
    return [result.head.input_hash for result in report.results]


@contextmanager
def stale(site: Site, image: str) -> Iterator[None]:
    """In the block the engine's own store has an image of this name that the registry no longer has there.

    Its file /mark holds ``old``, that of the registry's ``new``.
    """
    name = site.base(image, "old")
    old = f"{name}@{site.pushed(image).digest}"
    site.base(image, "new")
    site.engine.docker("pull", "--quiet", old)
    site.engine.docker("tag", old, f"{name}:latest")
    try:
        yield
    finally:
        site.engine.docker("rmi", f"{name}:latest")


@pytest.mark.parametrize(
    "step", ["COPY --from={} /mark /mark", "RUN --mount=from={},target=/m cp /m/mark /mark"]
)
def test_what_a_step_reads_from_an_image_is_the_registrys(site: Site, step: str) -> None:
    name = site.reference("tools")
    site.write(Dockerfile=f"FROM alpine\n{step.format(f'{name}:latest')}\n")
    with stale(site, "tools"):
        site.build_ok({"image": "app"})
        assert site.pushed("app").read("/mark") == "new"
        assert site.rebuilt({"image": "app"}) == set()


@pytest.mark.parametrize("named", ["dockerfile", "build argument"])
def test_the_image_that_reads_the_dockerfile_is_the_one_that_was_planned(site: Site, named: str) -> None:
    name = site.base("frontend", "no program")
    text = "FROM alpine\n"
    wanted: dict[str, Any] = {"image": "app"}
    if named == "dockerfile":
        text = f"#!/usr/bin/env build\n// syntax = {name} some words\n{text}"
    else:
        wanted["build_args"] = {"BUILDKIT_SYNTAX": f" {name} some words"}
    site.write(Dockerfile=text)
    # It cannot read a Dockerfile; how BuildKit was asked for it stands in the step.
    assert site.build(wanted).error is not None
    digest = site.pushed("frontend").digest
    asked = f"resolve image config for docker-image://{name}:latest@{digest[:40]}"
    assert [line for line in site.told if asked in line]


def test_another_image_that_reads_the_dockerfile_makes_another_image(site: Site) -> None:
    wanted = {"image": "app"}
    site.write(Dockerfile=f"# syntax={site.base('frontend', '1')}\nFROM alpine\n")
    before = hashes(site.build(wanted, plan_only=True))
    assert hashes(site.build(wanted, plan_only=True)) == before
    site.base("frontend", "2")
    site.write(Dockerfile=f"# syntax={site.reference('frontend')}\nFROM alpine\n")
    assert hashes(site.build(wanted, plan_only=True)) != before


def test_an_image_that_reads_the_dockerfile_and_is_nowhere_is_told_with_its_line(site: Site) -> None:
    site.write(Dockerfile=f"# escape=`\n# syntax={site.reference('nowhere')}\nFROM alpine\n")
    with pytest.raises(RegistryError) as caught:
        site.build({"image": "app"}, plan_only=True)
    assert (caught.value.code, caught.value.line) == ("manifest_unknown", 2)
    assert "# syntax=" in caught.value.hint
