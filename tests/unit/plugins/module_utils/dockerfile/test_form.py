# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.file import (
    LONGEST_DOCKERFILE,
    read_dockerfile,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.instructions import parse
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.stages import resolve
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import DockerfileError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform

NATIVE = Platform("linux", "amd64")


def read(text: str, build_args: Optional[Mapping[str, str]] = None) -> None:
    resolve(parse(text), build_args=build_args or {}, platform=NATIVE, build_platform=NATIVE)


REFUSED = [
    ("RUM true", "The instruction RUM is unknown", "Did you mean RUN?"),
    ("COPPY a b", "The instruction COPPY is unknown", "Did you mean COPY?"),
    ("&& true", "The instruction && is unknown", "Known are ADD"),
    ("root:x:0:0:root:/root:/bin/sh", "The line begins with no instruction", "Known are ADD"),
    ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "The line begins with no instruction", "Known are ADD"),
    ('{"AccessKeyId": "x"}', "The line begins with no instruction", "Known are ADD"),
    ("COPY --form=a b c", "The flag of COPY --form is unknown", "Did you mean --from?"),
    ("COPY --chown a b", "--chown has no value", "Write --chown=value"),
    ("COPY --chown=a --chown=b c d", "--chown is given twice", "Keep one"),
    ("COPY --link=x a b", "--link is x", "true or false"),
    ("COPY a", "does not say what to copy where", "COPY source destination"),
    ('ADD ["a"]', "does not say what to copy where", "ADD source destination"),
    ('ADD ["a", 1]', "holds what is no text", "double quotes"),
    ("COPY a <<EOF\nEOF", "a heredoc as its destination", "behind it"),
    ("ENV A", "ENV gives A no value", "NAME=value"),
    ("ENV", "ENV names nothing", "NAME=value"),
    ("LABEL a=b c", "c in LABEL is not of the form", "quotes"),
    ("ENV =a", "does not name what =a is for", "NAME=value"),
    ("ARG", "ARG does not name a variable", "ARG NAME"),
    ("EXPOSE", "EXPOSE names nothing", "leave it out"),
    ("VOLUME []", "VOLUME names nothing", "leave it out"),
    ("WORKDIR", "WORKDIR names nothing", "leave it out"),
    ("USER --x a", "The flag of USER --x is unknown", "Leave it out"),
    ("SHELL /bin/sh", "SHELL is no JSON array", '["/bin/sh", "-c"]'),
    ("CMD [1]", "holds what is no text", "double quotes"),
    ("RUN --network=all true", "--network is all", "default or none or host"),
    ('RUN --mount=type=bind,\\"from=a true', "do not fit", "Quote a whole option"),
    ("HEALTHCHECK", "HEALTHCHECK has no command", "HEALTHCHECK CMD command"),
    ("HEALTHCHECK NONE x", "takes no arguments", "HEALTHCHECK NONE"),
    ("HEALTHCHECK --interval=5 CMD true", "--interval is 5", "a duration"),
    ("HEALTHCHECK --retries=-1 CMD true", "--retries is -1", "a whole number"),
    ("ONBUILD", "ONBUILD holds no instruction", "behind it"),
    ("ONBUILD FROM a", "ONBUILD cannot hold FROM", "another instruction"),
    ("onbuild onbuild run true", "ONBUILD cannot hold ONBUILD", "another instruction"),
    ("ONBUILD ENV A", "ENV gives A no value", "NAME=value"),
]


@pytest.mark.parametrize(("line", "says", "hint"), REFUSED)
def test_an_instruction_that_buildkit_does_not_take_is_refused_with_its_line(
    line: str, says: str, hint: str
) -> None:
    text = f"FROM alpine\n\n{line}\n"
    with pytest.raises(DockerfileError) as caught:
        read(text)
    assert caught.value.code == "dockerfile_syntax"
    assert caught.value.line == 3
    assert says in caught.value.message
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(("line", "says", "hint"), REFUSED)
def test_another_frontend_may_take_what_buildkits_own_does_not(line: str, says: str, hint: str) -> None:
    if "heredoc" not in says:
        read(f"# syntax=docker/dockerfile:1-labs\nFROM alpine\n{line}\n")
        read(f"FROM alpine\n{line}\n", {"BUILDKIT_SYNTAX": "docker/dockerfile:1-labs"})


TAKEN = [
    *(
        "ARG --x A",
        "STOPSIGNAL --x 9",
        "HEALTHCHECK --x NONE",
        "CMD",
        "ENTRYPOINT []",
        "RUN true",
        "ENV A b c=d",
    ),
    *("COPY --link --parents --exclude=a --exclude=b --chmod=644 --from= a b", "COPY --link=FALSE a b"),
    *("ADD --keep-git-dir=true --checksum=sha256:0 --unpack a b", "RUN --device=a --security=insecure true"),
    *("ENV A=\"b c\" D='e'", "label a=", "VOLUME /a /b", 'SHELL ["a"]', "EXPOSE $PORT", "MAINTAINER a b"),
    *(
        "HEALTHCHECK --interval=1h2.5m --retries=+3 --timeout=0 CMD true",
        "healthcheck none",
        "ONBUILD RUM true",
        "ONBUILD LABEL =b",
        "ONBUILD ENV --x =b",
        "ENV A =b",
    ),
    *("RUN --mount=type=secret,id=a --mount=type=ssh --network=host true", "CMD [1e999]", "ONBUILD ARG"),
]


@pytest.mark.parametrize("line", TAKEN)
def test_what_buildkit_takes_is_not_refused(line: str) -> None:
    read(f"FROM alpine\n{line}\n")


def test_what_an_onbuild_holds_is_judged_where_it_acts() -> None:
    text = "FROM alpine AS base\nONBUILD RUM true\n"
    read(text)
    with pytest.raises(DockerfileError, match="RUM is unknown") as caught:
        read(text + "FROM base\n")
    assert caught.value.line == 2
    read(text + "FROM base\nFROM alpine\n")


@pytest.mark.parametrize(
    ("mount", "says"),
    [
        ("type=bnd,target=/a", "bnd is unknown. Did you mean bind"),
        ("tagret=/a", "tagret is unknown. Did you mean target"),
        ("type=cache,target", "The option target of --mount has no value"),
    ],
)
def test_a_mount_is_judged_in_stages_that_are_needed(mount: str, says: str) -> None:
    text = f"FROM alpine AS a\nRUN --mount={mount} true\n"
    for needed in (text, text.replace("RUN", "ONBUILD RUN") + "FROM a\n"):
        with pytest.raises(DockerfileError, match=says) as caught:
            read(needed)
        assert caught.value.line == 2
    read(text + "FROM alpine\n")


def test_a_dockerfile_is_read_up_to_a_limit(tmp_path: object) -> None:
    path = f"{tmp_path}/Dockerfile"
    with open(path, "wb") as file:
        file.write(b"FROM \xff\n")
        file.truncate(LONGEST_DOCKERFILE)
    assert read_dockerfile(path, "app/Dockerfile").startswith("FROM \udcff\n")
    with open(path, "r+b") as file:
        file.truncate(200 << 20)
    with pytest.raises(DockerfileError, match="app/Dockerfile is larger than 4 MiB") as caught:
        read_dockerfile(path, "app/Dockerfile")
    assert caught.value.code == "dockerfile_too_large"
