# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Injected bases, proved by what the built images hold: each sample base names itself in /etc/base-mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.instructions import parse
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.overrides import bases
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.rewrite import inject
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.stages import resolve_all
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.target import Override
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform

from tests.builds.buildkit import bake
from tests.support.engine import Engine
from tests.support.images import Image
from tests.support.registry import Registry

pytestmark = [pytest.mark.engine, pytest.mark.each_engine]

ALPINE = "alpine:latest"
BOTH = ("linux/amd64", "linux/arm64")
NEW = "python:3.6-alpine"
OTHER = "python:3.8-alpine"
GO = "golang:1.20"
COPY_MARK = "COPY --from=build /etc/base-mark /build-mark"


@dataclass(frozen=True)
class Build:
    """A build and what its images must hold: file to content, for each platform or for all."""

    text: str
    override: Optional[Override]
    expected: Mapping[str, str]
    arm: Optional[Mapping[str, str]] = None
    build_args: Mapping[str, str] = field(default_factory=dict)
    target: Optional[str] = None
    platforms: Sequence[str] = BOTH


def two(base: str, build: str) -> dict[str, str]:
    return {"etc/base-mark": base, "build-mark": build}


TWO_STAGES = f"FROM {GO} AS build\nFROM alpine\n{COPY_MARK}\n"
SAME_TWICE = f"FROM alpine AS build\nFROM alpine\n{COPY_MARK}\n"
BUILDS = {
    "nothing": Build(TWO_STAGES, None, two(ALPINE, GO)),
    "one stage": Build("FROM alpine\n", NEW, {"etc/base-mark": NEW}),
    "a run step": Build("FROM alpine\nRUN cp /etc/base-mark /ran\n", NEW, {"ran": NEW}),
    "first of two": Build(TWO_STAGES, NEW, two(ALPINE, NEW)),
    "golang to scratch": Build(f"FROM {GO} AS build\nFROM scratch\n{COPY_MARK}\n", NEW, {"build-mark": NEW}),
    "one image twice": Build(SAME_TWICE, NEW, two(NEW, NEW)),
    "one of two equals": Build(SAME_TWICE, {"1": NEW}, two(NEW, ALPINE)),
    "alias": Build(
        "FROM alpine AS alpine\nRUN echo kept > /kept\n", NEW, {"etc/base-mark": NEW, "kept": "kept"}
    ),
    "alias used again": Build(
        "FROM alpine AS alpine\nRUN echo kept > /kept\nFROM alpine\n",
        {"alpine": NEW},
        {"etc/base-mark": NEW, "kept": "kept"},
    ),
    "argument": Build("ARG BASE=alpine V=latest\nFROM ${BASE}:${V:-x}\n", NEW, {"etc/base-mark": NEW}),
    "argument as written": Build(
        "ARG V=latest\nFROM alpine:$V\n", {"alpine:$V": NEW}, {"etc/base-mark": NEW}
    ),
    "argument as given": Build(
        "ARG V=latest\nFROM alpine:$V\n",
        {"alpine:3.18": NEW},
        {"etc/base-mark": NEW},
        build_args={"V": "3.18"},
    ),
    "digest pin": Build("FROM alpine:3.18@{digest}\n", NEW, {"etc/base-mark": NEW}),
    "digest pin kept": Build("FROM alpine:3.18@{digest}\n", None, {"etc/base-mark": "alpine:3.18"}),
    "lower case": Build(f"from {GO} as build\nfrom alpine\n{COPY_MARK}\n", {"final": NEW}, two(NEW, GO)),
    "build platform": Build(
        f"FROM --platform=$BUILDPLATFORM {GO} AS build\nRUN uname -m > /m\nFROM alpine\n{COPY_MARK}\n"
        "COPY --from=build /m /m\n",
        NEW,
        {**two(ALPINE, NEW), "m": "x86_64"},
    ),
    "heredoc": Build(
        f"FROM {GO} AS build\nRUN <<EOF\nFROM=x\nEOF\nCOPY <<FROM /x\nFROM {GO}\nFROM\n"
        f"FROM alpine\n{COPY_MARK}\nCOPY --from=build /x /x\n",
        NEW,
        {**two(ALPINE, NEW), "x": f"FROM {GO}"},
    ),
    "several lines": Build("FROM al\\\n# comment\npine \\\n AS x\nRUN true\n", NEW, {"etc/base-mark": NEW}),
    "windows line ends": Build(
        "# escape=`\r\nFROM al`\r\npine AS x\r\nLABEL a=`\r\nb\r\n", NEW, {"etc/base-mark": NEW}
    ),
    "final": Build(TWO_STAGES, {"final": NEW}, two(NEW, GO)),
    "all": Build(TWO_STAGES, {"all": NEW}, two(NEW, NEW)),
    "name": Build(TWO_STAGES, {"build": NEW}, two(ALPINE, NEW)),
    "index": Build(TWO_STAGES, {"1": NEW}, two(NEW, GO)),
    "reference": Build(TWO_STAGES, {"docker.io/library/alpine:latest": NEW}, two(NEW, GO)),
    "several keys": Build(TWO_STAGES, {"all": OTHER, "build": NEW}, two(OTHER, NEW)),
    "target": Build(
        TWO_STAGES + "FROM busybox:none\n", {"first": NEW}, {"etc/base-mark": NEW}, target="build"
    ),
    "by platform": Build(
        TWO_STAGES,
        {"final": {"linux/amd64": NEW, "linux/arm64": OTHER}},
        two(NEW, GO),
        two(OTHER, GO),
    ),
    "one platform only": Build(
        "FROM alpine\n", {"first": {"arm64": NEW}}, {"etc/base-mark": ALPINE}, {"etc/base-mark": NEW}
    ),
    "several bases for the build platform": Build(
        f"FROM --platform=$BUILDPLATFORM {GO} AS build\nFROM alpine\n{COPY_MARK}\n",
        {"build": {"linux/amd64": NEW, "linux/arm64": OTHER}},
        two(ALPINE, NEW),
        two(ALPINE, OTHER),
    ),
    "a base for the build platform that depends on what is built": Build(
        "FROM --platform=$BUILDPLATFORM alpine${TARGETVARIANT:+:3.18}\n",
        None,
        {"etc/base-mark": ALPINE},
        {"etc/base-mark": "alpine:3.18"},
        platforms=("linux/amd64", "linux/arm/v7"),
    ),
    "stages by platform": Build(
        f"FROM alpine AS base-amd64\nFROM {GO} AS base-arm64\nFROM base-$TARGETARCH\n",
        {"base-arm64": NEW},
        {"etc/base-mark": ALPINE},
        {"etc/base-mark": NEW},
    ),
    "seven platforms": Build(
        "FROM alpine\n",
        NEW,
        {"etc/base-mark": NEW},
        platforms=(*BOTH, "linux/386", "linux/ppc64le", "linux/s390x", "linux/arm/v7", "linux/arm/v6"),
    ),
}


@pytest.fixture(scope="session")
def digest(engine: Engine) -> str:
    """The digest of the sample base alpine:3.18, all platforms together."""
    return Image(engine, Registry(engine.registry), "library/alpine", "3.18").digest


def held(path: Path) -> str:
    """The text of a file, with the names of sample bases as Dockerfiles write them."""
    return path.read_text(encoding="utf-8").strip().replace("library/", "")


@pytest.mark.parametrize("name", BUILDS)
def test_what_is_built_stands_on_the_bases_chosen(
    engine: Engine, digest: str, tmp_path: Path, name: str
) -> None:
    build = BUILDS[name]
    dockerfile = parse(build.text.replace("{digest}", digest))
    platforms = [Platform.parse(platform) for platform in build.platforms]
    resolutions = resolve_all(
        dockerfile,
        platforms,
        build_args=build.build_args,
        build_platform=Platform.parse("linux/amd64"),
        target=build.target,
    )
    injection = inject(dockerfile, resolutions, bases(dockerfile, resolutions, build.override))
    bake(
        engine,
        injection.text,
        injection.contexts,
        tmp_path,
        platforms=build.platforms,
        build_args=build.build_args,
        target=build.target,
    )
    for platform in build.platforms:
        expected = build.expected if platform == BOTH[0] or build.arm is None else build.arm
        root = tmp_path / platform.replace("/", "_")
        assert {path: held(root / path) for path in expected} == expected


def test_a_pinned_base_is_pulled_by_its_digest(engine: Engine, digest: str, tmp_path: Path) -> None:
    dockerfile = parse("FROM alpine\n")
    platforms = [Platform.parse(platform) for platform in BOTH]
    resolutions = resolve_all(
        dockerfile, platforms, build_args={}, build_platform=Platform.parse("linux/amd64")
    )
    pinned = [
        replace(base, reference=base.reference.with_digest(digest))
        for base in bases(dockerfile, resolutions, None)
    ]
    injection = inject(dockerfile, resolutions, pinned)
    bake(engine, injection.text, injection.contexts, tmp_path, platforms=BOTH)
    assert held(tmp_path / "linux_arm64/etc/base-mark") == "alpine:3.18"
