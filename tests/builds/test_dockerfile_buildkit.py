# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The reading of Dockerfiles, held against the BuildKit that will build them."""

from __future__ import annotations

from typing import Union

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.instructions import parse
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.stages import resolve
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import DockerfileError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform
from hypothesis import event, given, note

from tests.builds.buildkit import view
from tests.builds.dockerfiles import Case, cases
from tests.support import fuzz
from tests.support.engine import Engine

pytestmark = pytest.mark.engine

PLATFORMS = ("linux/amd64", "linux/arm64")
# BuildKit's words for the faults that this project must find itself; all others it leaves to BuildKit.
JUDGED = (
    "FROM requires",
    "invalid name for build stage",
    "invalid context name",
    "failed to parse stage name",
    "should not be blank",
    "failed to parse platform",
    "failed to process",
    "duplicate flag specified: platform",
    "missing a value on flag: platform",
    "parser directive can be used",
    "invalid escape token",
    "no build stage in current context",
    "no instructions",
    "unterminated heredoc",
    "target stage",
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


@fuzz.examples(60)
@given(case=cases())
def test_generated_dockerfiles_need_the_images_that_buildkit_asks_for(engine: Engine, case: Case) -> None:
    expected = images(case)
    if isinstance(expected, str) and "needs what is built from it" in expected:
        event("circle")
        return  # It would end the engine.
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
        assert not any(reason in seen.rejected for reason in JUDGED)
    else:
        event("image missing")
