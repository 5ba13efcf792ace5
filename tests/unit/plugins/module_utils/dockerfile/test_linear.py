# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Dockerfiles whose reading must not take four times the work when they are twice as long."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.hazards import refuse_hazards
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.instructions import parse
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.overrides import bases
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.remote_adds import remote_adds
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.rewrite import inject
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.shell import (
    ExpansionError,
    expand,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.stages import resolve
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import DockerfileError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform

from tests.support.steps import steps

NATIVE = Platform("linux", "amd64")


def chain(size: int) -> str:
    return "FROM alpine AS s0\n" + "".join(f"FROM s{i} AS s{i + 1}\n" for i in range(size))


def scratch_before_images(size: int) -> str:
    """Of which the last stage needs all, and the first image stands far behind."""
    copies = "".join(f"COPY --from={i} /a /b\n" for i in range(2 * size))
    return "FROM scratch\n" * size + "FROM alpine\n" * size + "FROM alpine\n" + copies


TEXTS: dict[str, Callable[[int], str]] = {
    "heredocs without an end": lambda n: "FROM alpine\n" + "RUN : $((1 << 2))\n" * n,
    "heredocs of many names without an end": lambda n: (
        "FROM alpine\n" + "".join(f"RUN : << x{i}\n" for i in range(n))
    ),
    "chomped heredocs without an end": lambda n: "FROM alpine\n" + "RUN : <<- E\n" * n,
    "heredocs": lambda n: "FROM alpine\n" + "COPY <<E /x\na\nE\n" * n,
    "one long heredoc": lambda n: "FROM alpine\nCOPY <<E /x\n" + "a\n" * n + "E\n",
    "stages in a chain": chain,
    "stages in a chain that copy from the one before": lambda n: (
        "FROM alpine\n" + "".join(f"FROM alpine\nCOPY --from={i} /a /b\n" for i in range(n))
    ),
    "ENV lines": lambda n: "FROM alpine\n" + "ENV A=b\n" * n,
    "one long ENV": lambda n: "FROM alpine\nENV A=b" + " \\\n B=c" * n,
    "ARG lines": lambda n: "ARG A\n" * n + "FROM alpine\n",
    "one long ARG": lambda n: "ARG A" + " A" * n + "\nFROM alpine\n",
    "ONBUILD in many stages": lambda n: "".join(
        f"FROM alpine AS s{i}\nONBUILD RUN --mount=from=alpine,target=/m true\n" for i in range(n)
    ),
    "ONBUILD in a chain": lambda n: (
        "FROM alpine AS s0\n"
        + "".join(f"FROM s{i} AS s{i + 1}\nONBUILD COPY --from=0 / /\n" for i in range(n))
    ),
    "much ONBUILD in one stage": lambda n: (
        "FROM alpine AS a\n" + "ONBUILD COPY --from=alpine / /\n" * n + "FROM a\n"
    ),
    "ADD of addresses with variables": lambda n: (
        "FROM alpine\n" + "ARG A=b\nENV B=c\nADD http://example.org/$A/$B /\n" * n
    ),
    "ADD in a chain": lambda n: (
        "FROM alpine AS s0\n"
        + "".join(f"FROM s{i} AS s{i + 1}\nENV V{i}=a\nADD http://example.org/$V0 /\n" for i in range(n))
    ),
    "many stages from one of many variables": lambda n: (
        f"FROM alpine AS a\n{'ENV A=b' * n}\nFROM a\nADD $A /\n"
        + "".join(f"FROM a\nCOPY --from={i + 1} / /\n" for i in range(n))
    ),
    "comments within one line": lambda n: "FROM alpine\nRUN a \\\n" + "# b\n" * n + "c\n",
    "flags": lambda n: "FROM alpine\nRUN " + "--mount=target=/a " * n + "true\n",
    "a mount of many options": lambda n: "FROM alpine\nRUN --mount=" + "ro," * n + "ro true\n",
    "copies from images": lambda n: "FROM alpine\n" + "COPY --from=golang / /\n" * n,
    "the first image far behind": scratch_before_images,
    "names that are taken": lambda n: f"FROM alpine\nENV A=image-builder-base{'x' * n}\n",
    "open quotes": lambda n: "FROM alpine\n" + "RUN : 'a <<\n" * n,
    "nothing but blank lines": lambda n: "\n" * n + "FROM alpine\n",
    "quotes in flags": lambda n: 'FROM alpine\nRUN --mount="' + "a" * n + '" true\n',
}


def read(text: str) -> None:
    """All that a plan does with a Dockerfile."""
    dockerfile = parse(text)
    refuse_hazards(text, "26.1.5")
    try:
        resolution = resolve(dockerfile, build_args={}, platform=NATIVE, build_platform=NATIVE)
    except DockerfileError:
        return
    chosen = bases(dockerfile, [resolution], {"first": "one", "final": "one", "all": "two"})
    inject(dockerfile, [resolution], chosen)
    remote_adds(dockerfile, resolution, {}, {})


@pytest.mark.parametrize("name", TEXTS)
def test_twice_the_dockerfile_takes_twice_the_steps(name: str) -> None:
    once, twice = (steps(lambda size=size: read(TEXTS[name](size))) for size in (80, 160))  # type: ignore[misc]
    assert twice < 2.4 * once


def test_a_circle_of_many_stages_is_found_in_linear_steps() -> None:
    def circle(size: int) -> str:
        stages = "".join(f"FROM alpine AS s{i}\nCOPY --from=s{i + 1} / /\n" for i in range(size))
        return stages + f"FROM alpine AS s{size}\nCOPY --from=s0 / /\n"

    once, twice = (steps(lambda size=size: read(circle(size))) for size in (80, 160))  # type: ignore[misc]
    assert twice < 2.4 * once


@pytest.mark.parametrize(
    "text",
    [
        "ARG A=" + "x" * 60_000 + "\n" + "ARG B=$A\n" * 1000 + "FROM alpine\n",
        'ARG A="' + "a" * 1000 + '"\n' + ("ARG B=${A#" + "*?" * 400 + "b}\n") * 200 + "FROM alpine\n",
        'ARG A="' + "a" * 1000 + '"\n' + "ARG B=${A//" + "*?" * 400 + "b/}\n" + "FROM alpine\n",
    ],
    ids=["a long value again and again", "long patterns", "a pattern at each place"],
)
def test_expanding_a_dockerfile_has_a_budget(text: str) -> None:
    dockerfile = parse(text)

    def call() -> None:
        with pytest.raises(DockerfileError, match="too many steps"):
            resolve(dockerfile, build_args={}, platform=NATIVE, build_platform=NATIVE)

    call()


def test_a_word_alone_has_a_budget_as_well() -> None:
    with pytest.raises(ExpansionError, match="too many steps"):
        expand("${A//" + "*?" * 400 + "b/}", {"A": "a" * 1000})


def test_a_line_that_buildkit_does_not_read_is_refused_by_its_length() -> None:
    parse("FROM alpine\nRUN " + "x" * 65_531 + "\n")
    parse("FROM alpine\nRUN " + "x" * 65_531)
    for text in ("RUN " + "x" * 65_532 + "\n", "RUN " + "x" * 65_532, "RUN " + "ą" * 32_766 + "\n"):
        with pytest.raises(DockerfileError, match="longer than 65535 bytes") as caught:
            parse("FROM alpine\n" + text)
        assert caught.value.line == 2
