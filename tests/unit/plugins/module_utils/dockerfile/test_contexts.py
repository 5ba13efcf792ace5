# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.contexts import with_contexts
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.instructions import parse
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import DockerfileError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference

IMAGE = Reference.parse("registry.example.com/tools:1")
TEXT = (
    "FROM lib AS first\nCOPY --from=lib /a /\nFROM lib2\nCOPY --from=first /a /\n"
    "RUN --mount=type=bind,from=lib,target=/m true\n"
)


def test_each_place_that_has_the_name_means_the_image_and_no_other() -> None:
    plain = parse(TEXT)
    made = with_contexts(plain, {"lib": IMAGE})
    assert [stage.base for stage in made.stages] == [str(IMAGE), "lib2"]
    assert [[flag.name for flag in stage.from_flags] for stage in made.stages] == [
        [str(IMAGE)],
        ["first", str(IMAGE)],
    ]
    assert made.text == TEXT
    assert [stage.base_spans for stage in made.stages] == [stage.base_spans for stage in plain.stages]
    assert with_contexts(plain, {}) == plain


@pytest.mark.parametrize(("name", "code"), [("First", "context_hides_stage"), ("li", "unknown_context")])
def test_a_name_that_is_a_stage_or_nowhere_is_refused(name: str, code: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        with_contexts(parse(TEXT), {name: IMAGE})
    assert caught.value.code == code
