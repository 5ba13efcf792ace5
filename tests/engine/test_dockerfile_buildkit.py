# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The reading of Dockerfiles, held against the BuildKit that will build them."""

from __future__ import annotations

from typing import Union

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile import parse
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import DockerfileError
from ansible_collections.sodalite.image_builder.plugins.module_utils.platform import Platform
from ansible_collections.sodalite.image_builder.plugins.module_utils.stages import resolve
from hypothesis import HealthCheck, event, given, note, settings

from tests.engine.buildkit import view
from tests.engine.dockerfiles import Case, cases
from tests.site.engine import Engine

pytestmark = pytest.mark.engine

PLATFORMS = ("linux/amd64", "linux/arm64")
# What this project leaves to BuildKit: instructions that do not decide what is built upon.
LEFT_TO_BUILDKIT = (
    "buildx crashed",
    "unknown instruction",
    "invalid stage index",
    "circular dependency",
    "needs to be defined before current",
    "failed to compute cache key",
    "failed to calculate checksum",
    "cannot copy from stage",
    "cannot mount from stage",
    "did not complete successfully",
)


def images(case: Case) -> Union[frozenset[tuple[str, str]], str]:
    """What this project expects BuildKit to ask for, or its error."""
    try:
        dockerfile = parse(case.text)
        found: set[tuple[str, str]] = set()
        for platform in PLATFORMS:
            resolution = resolve(
                dockerfile,
                build_args=case.build_args,
                platform=Platform.parse(platform),
                build_platform=Platform.parse(PLATFORMS[0]),
                target=case.target,
            )
            found |= {(str(used.platform), str(used.image)) for used in resolution.stages if used.image}
            found |= {(str(image.platform), str(image.reference)) for image in resolution.images}
    except DockerfileError as error:
        return str(error)
    return frozenset(found)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(case=cases())
def test_generated_dockerfiles_need_the_images_that_buildkit_asks_for(engine: Engine, case: Case) -> None:
    expected = images(case)
    seen = view(engine, case.text, platforms=PLATFORMS, build_args=case.build_args, target=case.target)
    note(f"{case.text}\nexpected: {expected}\nBuildKit: {seen}")
    if isinstance(expected, str):
        event("refused")
        assert seen.rejected
        return
    assert seen.images <= expected
    if seen.complete:
        event("built")
        assert seen.images == expected
    elif seen.rejected:
        event("left to BuildKit")
        assert any(reason in seen.rejected for reason in LEFT_TO_BUILDKIT)
    else:
        event("image missing")
