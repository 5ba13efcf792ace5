# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Every image that a build reads is the one that was planned, whatever the engine's own store has of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.result import Report
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import RegistryError

from tests.builds.site import BOTH, Site

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
        # Another run of the tests on this engine may have taken it away at its end.
        site.engine.docker("rmi", f"{name}:latest", check=False)


STEPS = ("COPY --from={} /mark /mark", "RUN --mount=from={},target=/m cp /m/mark /mark")


@pytest.mark.parametrize("step", STEPS)
def test_what_a_step_reads_from_an_image_is_the_registrys(site: Site, step: str) -> None:
    name = site.reference("tools")
    site.write(Dockerfile=f"FROM alpine\n{step.format(f'{name}:latest')}\n")
    with stale(site, "tools"):
        site.build_ok({"image": "app"})
        assert site.pushed("app").read("/mark") == "new"
        assert site.rebuilt({"image": "app"}) == set()


@pytest.mark.parametrize("step", STEPS)
def test_what_the_onbuild_of_a_base_reads_from_an_image_is_the_registrys(site: Site, step: str) -> None:
    site.write(Dockerfile=f"FROM alpine\nONBUILD {step.format(site.reference('tools'))}\n")
    site.build_ok({"image": "base"})
    site.write(Dockerfile=f"FROM {site.reference('base')}\n")
    with stale(site, "tools"):
        site.build_ok({"image": "app"})
        assert site.pushed("app").read("/mark") == "new"
        assert site.rebuilt({"image": "app"}) == set()
        site.base("tools", "newer")
        assert site.rebuilt({"image": "app"}) == {"app"}


def test_a_stage_that_only_the_onbuild_of_a_base_reads_counts(site: Site) -> None:
    tools = site.base("tools", "old")
    site.write(Dockerfile="FROM alpine\nONBUILD COPY --from=tools /mark /mark\n")
    site.build_ok({"image": "base"})
    site.write(Dockerfile=f"FROM {tools} AS tools\nFROM {site.reference('base')}\n")
    made = site.build_ok({"image": "app"})
    assert [base["reference"] for base in made[0]["bases"]] == [tools, site.reference("base")]
    assert site.rebuilt({"image": "app"}) == set()
    site.base("tools", "new")
    site.build_ok({"image": "app"})
    assert site.pushed("app").read("/mark") == "new"


def test_a_stage_that_starts_from_an_image_on_some_platforms_starts_from_the_registrys(site: Site) -> None:
    own = "FROM scratch AS arm64\nCOPY Dockerfile /mark\n"
    mixed = "FROM ${TARGETARCH/amd64/$TOOLS} AS mixed\n"
    last = "FROM alpine\nCOPY --from=mixed /mark /mark\n"
    site.write(Dockerfile=f"ARG TOOLS={site.reference('tools')}\n{own}{mixed}{last}")
    with stale(site, "tools"):
        site.build_ok({"image": "app", "platforms": BOTH})
    assert site.pushed("app").read("/mark") == "new"


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
