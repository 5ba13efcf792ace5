# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.instructions import parse
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.labels import stale
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.stages import resolve_all
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform

AMD64 = Platform.parse("linux/amd64")
VERSION, CREATED = "org.opencontainers.image.version", "org.opencontainers.image.created"
OTHERS = ("org.opencontainers.image.vendor", "maintainer", "org.opencontainers.image")


def found(text: str, *triggers: str, target: str = "") -> set[str]:
    dockerfile = parse(text)
    resolutions = resolve_all(dockerfile, [AMD64], build_args={}, build_platform=AMD64, target=target)
    return set(stale({VERSION, CREATED, *OTHERS}, dockerfile, resolutions, triggers))


def test_what_a_base_says_of_itself_does_not_hold_for_what_is_built_on_it() -> None:
    assert found("FROM a\nRUN true\n") == {VERSION, CREATED}


@pytest.mark.parametrize(
    "text",
    [
        f"LABEL {VERSION}=2",
        f"LABEL a=b {VERSION}=$V",
        f'label "{VERSION}"="2"',
        f"LABEL {VERSION} 2 3",
        f"LABEL a=b \\\n  {VERSION}='2'",
    ],
)
def test_a_label_that_the_build_sets_is_left_to_it(text: str) -> None:
    assert found(f"FROM a\n{text}\n") == {CREATED}
    assert found(f"FROM a AS b\n{text}\nFROM b\n") == {CREATED}
    assert found("FROM a\n", text) == {CREATED}
    assert found(f"FROM a AS b\nONBUILD {text}\nFROM b\n") == {CREATED}
    # Stages that only lend files hand no labels on.
    assert found(f"FROM x AS b\n{text}\nFROM a\nCOPY --from=b /c /c\n") == {VERSION, CREATED}
    assert found(f"FROM a AS b\nFROM b\n{text}\n", target="b") == {VERSION, CREATED}


def test_a_value_is_no_name() -> None:
    assert found(f"FROM a\nLABEL {CREATED} {VERSION}=2\n") == {VERSION}


@pytest.mark.parametrize("name", ["$A", "org.opencontainers.image.${A}", 'org."x"', "a\\b"])
def test_nothing_is_emptied_where_a_name_of_the_builds_own_is_not_known(name: str) -> None:
    assert found(f"FROM a\nLABEL {name}=1\n") == set()


def test_a_trigger_that_cannot_be_read_sets_nothing() -> None:
    assert found("FROM a\n", "# escape=x\nLABEL") == {VERSION, CREATED}
