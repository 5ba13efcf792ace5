# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Named contexts of a document, as the image shows them."""

from __future__ import annotations

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import DockerfileError

from tests.builds.site import BOTH, Site

pytestmark = [pytest.mark.engine, pytest.mark.each_engine]


def test_a_name_in_the_dockerfile_is_the_image_that_the_document_gives_it(site: Site) -> None:
    one, two = site.base("one", "1"), site.base("two", "2")
    shell = f"{site.engine.registry}/library/alpine:3.18"
    site.write(
        Dockerfile="FROM shell AS made\nCOPY --from=lib /mark /copied\n"
        "RUN --mount=from=lib,target=/lib-image cat /lib-image/mark > /mounted\n"
        "FROM shell\nCOPY --from=made /copied /mounted /\n"
    )

    def image(name: str, lib: str) -> dict[str, object]:
        contexts = {"shell": f"docker-image://{shell}", "lib": f"docker-image://{lib}"}
        return {"image": name, "platforms": BOTH, "contexts": contexts}

    first, second = image("first", one), image("second", two)
    entries = site.build_ok(first, second)
    for name, mark in (("first", "1"), ("second", "2")):
        for platform in BOTH:
            assert site.pushed(name).read("/copied", platform) == mark
            assert site.pushed(name).read("/mounted", platform) == mark
    assert {(base["original"], base["reference"]) for base in entries[0]["bases"]} == {(shell, shell)}

    # Its image is an input like those that a Dockerfile names, by its digest.
    assert site.rebuilt(first, second) == set()
    site.base("two", "2, later")
    assert site.rebuilt(first, second) == {"second"}
    assert site.rebuilt({**image("first", one), "contexts": image("", two)["contexts"]}) == {"first"}


@pytest.mark.parametrize(
    ("name", "code"), [("other", "unknown_context"), ("Made", "context_hides_stage")], ids=str
)
def test_a_context_that_nothing_names_or_that_would_hide_a_stage_is_refused(
    site: Site, name: str, code: str
) -> None:
    base = f"{site.engine.registry}/library/alpine:3.18"
    site.write(Dockerfile=f"FROM {base} AS made\nFROM made\n")
    with pytest.raises(DockerfileError) as caught:
        site.build({"image": "app", "contexts": {name: f"docker-image://{base}"}}, plan_only=True)
    assert (caught.value.code, name in caught.value.message) == (code, True)
