# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Layers are compressed as the document says, whatever the build cache and base images have."""

from __future__ import annotations

import pytest

from tests.builds.site import Site, states

pytestmark = [pytest.mark.engine, pytest.mark.each_engine]


def layers(site: Site, image: str) -> set[str]:
    """How the image's layers are compressed."""
    pushed = site.pushed(image)
    media_types = {
        layer["mediaType"]
        for digest in pushed.platforms().values()
        for layer in pushed.manifest(digest)[1]["layers"]
    }
    return {media_type.rpartition("+")[2].rpartition(".")[2] for media_type in media_types}


@pytest.mark.parametrize("more", [{}, {"reproducible": True}, {"on_failure": "atomic"}], ids=str)
def test_all_layers_are_compressed_as_asked_for_also_those_of_the_cache_and_of_bases(
    site: Site, more: dict[str, object]
) -> None:
    base = f"{site.engine.registry}/library/alpine:3.18"
    site.write(Dockerfile=f"FROM {base}\nCOPY app /app\nRUN date > /date\n", app="x" * 5000)
    images = ({"image": "one"}, {"image": "two", "platforms": ["linux/arm64"]})
    for compression, expected in (
        (None, "gzip"),
        ({"type": "zstd", "level": 19}, "zstd"),
        ("gzip", "gzip"),
    ):
        options = {**more, "compression": compression}
        assert states(site.build(*images, options=options)) == ["success", "success"]
        assert [layers(site, image["image"]) for image in images] == [{expected}, {expected}]
        assert "x" * 5000 in site.pushed("one").read("/app")
        assert states(site.build(*images, options=options)) == ["unchanged", "unchanged"]
