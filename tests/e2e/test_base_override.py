# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Base images are replaced as the document says, through each door, without touching the Dockerfile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.engine import Engine
from tests.support.images import Image
from tests.support.payloads import document
from tests.support.registry import Registry
from tests.support.repositories import repository
from tests.support.run import DOORS, Machine

DOCKERFILE = """\
ARG VERSION=3.6
FROM golang:1.20 AS golang
RUN cp /etc/base-mark /mark

from python:${VERSION}-alpine as alpine
COPY --from=golang /mark /built-on
RUN uname -m > /arch
"""


@pytest.mark.parametrize("door", DOORS)
def test_each_variant_stands_on_the_bases_that_it_names(
    door: str, machine: Machine, local_registry: Registry, engine: Engine, tmp_path: Path
) -> None:
    machine.secrets.append(local_registry.password)
    repository(tmp_path / "repository", {"Dockerfile": DOCKERFILE})
    per_platform = {"linux/amd64": "python:3.8-alpine", "linux/arm64": "alpine:3.18"}
    source = {"url": f"file://{tmp_path}/repository"}
    machine.build_ok(
        door,
        document(
            local_registry,
            source,
            {"image": "override", "tag": "none"},
            {"image": "override", "tag": "scalar", "base": "alpine:3.18"},
            {"image": "override", "tag": "argument", "build_args": {"VERSION": "3.8"}},
            {
                "image": "override",
                "tag": "mapping",
                "base": {"golang": "alpine", "final": per_platform},
                "platforms": list(per_platform),
            },
        ),
    )

    def bases(tag: str, platform: str = "linux/amd64") -> tuple[str, str]:
        image = Image(engine, local_registry, "override", tag)
        return image.base(platform, "/built-on"), image.base(platform)

    assert bases("none") == ("golang:1.20", "python:3.6-alpine")
    assert bases("scalar") == ("alpine:3.18", "python:3.6-alpine")
    assert bases("argument") == ("golang:1.20", "python:3.8-alpine")
    assert bases("mapping") == ("alpine:latest", "python:3.8-alpine")
    assert bases("mapping", "linux/arm64") == ("alpine:latest", "alpine:3.18")
