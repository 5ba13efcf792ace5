# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The reading of Dockerfiles, held against the BuildKit that will build them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Union

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.instructions import parse
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.overrides import bases
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.parser import external_syntax
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.stages import resolve
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import DockerfileError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform
from hypothesis import event, given, note

from tests.builds.buildkit import view
from tests.builds.dockerfiles import Case, cases
from tests.support import fuzz
from tests.support.distorted_dockerfiles import Distorted, distorted
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
    "unknown instruction",
    "unknown flag",
    "requires at least",
    "requires exactly",
    "requires the arguments to be in JSON form",
    "arrays must be comprised of strings only",
    "must have two arguments",
    "Must be of the form: name=value",
    "invalid network mode",
    "isn't allowed",
    "unsupported mount type",
)
_DISTORTED = 200


def images(case: Union[Case, Distorted]) -> Union[frozenset[tuple[str, str]], str]:
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
            bases(dockerfile, [resolution], None)
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


def misread(engine: Engine, number: int) -> str:
    """How the reading of a distorted Dockerfile differs from BuildKit's; empty where it does not."""
    case = distorted(number)
    expected = images(case)
    circle = isinstance(expected, str) and "needs what is built from it" in expected
    if circle or external_syntax(case.text):
        return ""  # It would end an older engine, or another frontend reads it.
    seen = view(engine, case.text, platforms=PLATFORMS, build_args=case.build_args, target=case.target)
    told = f"{number}: expected {expected}, seen {seen}"
    if isinstance(expected, str):
        return "" if seen.rejected else told
    # Words of other instructions than ARG and FROM are left to BuildKit, and since older releases take << EOF
    # for no heredoc, so is one that has no end.
    left = {"failed to process", "unterminated heredoc" if re.search(r"<<-?[ \t\r]", case.text) else ""}
    judged = [reason for reason in JUDGED if reason in seen.rejected and reason not in left]
    if judged or not seen.images <= expected or (seen.complete and seen.images != expected):
        return told
    return ""


@pytest.mark.parametrize("engine", ["newest engine"], indirect=True)
def test_distorted_dockerfiles_are_read_as_the_newest_buildkit_reads_them(engine: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        told = pool.map(lambda number: misread(engine, number), range(_DISTORTED * fuzz.FACTOR))
        assert not list(filter(None, told))
