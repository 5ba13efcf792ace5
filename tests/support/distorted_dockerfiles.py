# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Dockerfiles like those that people write, distorted at random, to be read as BuildKit reads them.

The same number gives the same file. The images are the sample bases, so that many of the files still build,
and the steps do nothing, whatever becomes of them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

_FILES = (
    """\
# syntax check of a comment
ARG BASE=alpine
ARG VERSION=3.18
FROM ${BASE}:${VERSION} AS build
WORKDIR /src
ENV PATH=/usr/local/bin:$PATH LANG="C.UTF-8"
RUN true && \\
    # a comment in between
    true

LABEL org.example.title="a title" \\
      org.example.version=1
FROM alpine:latest
COPY --from=build /etc/base-mark /x
USER root
EXPOSE 80/tcp 443
CMD ["true", "--help"]
""",
    """\
# escape=`
FROM --platform=$BUILDPLATFORM golang:1.20 AS builder
ARG TARGETOS TARGETARCH
RUN : `
  && true
FROM scratch AS export
COPY --from=builder --chown=1:1 /etc/base-mark /bin/
FROM python:3.8-alpine
COPY --link --chmod=644 --from=export /bin/base-mark /y
ENTRYPOINT ["true"]
""",
    """\
FROM alpine AS base
ONBUILD COPY --from=alpine:3.18 /etc/base-mark /on
ONBUILD RUN --mount=type=bind,from=golang:1.20,target=/m true
FROM base AS one
RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t true
FROM one AS two
RUN --mount=type=bind,from=one,source=/etc,target=/e,ro true
COPY --from=0 /etc/base-mark /z
HEALTHCHECK --interval=5s --timeout=3s CMD true
""",
    """\
FROM alpine:3.18
COPY <<EOF /etc/one
FROM golang:1.20
$A
EOF
COPY <<-"END" <<two /etc/
\tFROM python:3.8-alpine
\tEND
FROM scratch
two
RUN <<EOF
true
EOF
RUN cat <<EOF >/dev/null && true <<'X'
FROM nothing
EOF
X
SHELL ["/bin/sh", "-c"]
VOLUME ["/data"]
STOPSIGNAL SIGTERM
""",
    """\
ARG A
ARG B=${A:-alpine} C="3.18" D='latest'
ARG E=${C%.*}.${C#*.}
FROM ${B}:${E} AS s0
FROM --platform=${TARGETPLATFORM:-linux/amd64} ${B:+alpine}:${D} as S1
ENV ONE two three
ENV X=1 Y='a b' \\
    Z="c d"
FROM alpine${A:+:3.18} AS scratch
ADD --chown=0:0 ["a", "/b"]
FROM s1
MAINTAINER someone <some@example.org>
RUN --mount=type=cache,target=/c true
RUN --network=none true
""",
    """\
\ufeff# comment
#! not a shebang
FROM\talpine:latest   AS   final
\tRUN ["true"]
  CMD true
onbuild label a=b
Onbuild Env C=d
ARG LAST
""",
)
_PIECES = (
    *(
        "\\",
        "`",
        '"',
        "'",
        "$",
        "${",
        "}",
        "<<",
        "<<EOF",
        "<<-EOF",
        "-",
        "--",
        "=",
        "#",
        ":",
        "/",
        "@",
        ",",
        " ",
    ),
    *(
        "\t",
        "\v",
        "\f",
        "\r",
        "\xa0",
        "\x85",
        "\u2003",
        "\ufeff",
        "ą",
        "Å",
        "ü",
        "…",
        "\x00",
        "\x1c",
        "0",
        "A",
    ),
    *(
        "\\\n",
        "`\n",
        "\n",
        "\n\n",
        " \\ \n",
        "\n#x\n",
        "\nEOF\n",
        "\nFROM alpine\n",
        "\nONBUILD ",
        "\nARG A=1\n",
    ),
    *("${A}", "$A", "${A:-b}", "${A-}", "${A:+c}", "${A:?no}", "${A#a}", "${A%%b*}", "${A/x/y}", "${A//x/y}"),
    *(
        "$TARGETARCH",
        "${BUILDPLATFORM}",
        "$TARGETSTAGE",
        "${A",
        "${}",
        "$$",
        "$1",
        "${@}",
        "${#A}",
        "${X:#a}",
    ),
    *("--platform=linux/amd64 ", "--platform=lin.ux/amd64 ", "--platform=windows(10.0.17763)/amd64 "),
    *(
        "--platform=linux ",
        "--platform=arm64 ",
        "--platform= ",
        '--platform="linux/amd64" ',
        "--plat\\form=linux ",
    ),
    *("--platform=freebsd ", "--platform=a/b/c/d ", "--platform=linux/arm/v7 ", "--platform=LINUX/AMD64 "),
    *(
        "--from=0 ",
        "--from=1 ",
        "--from=9 ",
        "--from=s0 ",
        "--from=golang:1.20 ",
        "--from=$A ",
        "--from=scratch ",
    ),
    *("--mount=type=cache,target=/c ", "--mount=from=alpine,target=/m ", "--mount=target=/m ", "--chown=ą "),
    *(
        "alpine",
        "scratch",
        "a_b.example/c",
        "localhost/a",
        "Alpine",
        "alpine:3.18",
        "[::1]:5000/a",
        " AS b",
        "s0",
    ),
    *(
        ' ["a"',
        "]",
        "[1]",
        '["a", 1]',
        "[1e999]",
        "{}",
        "RUN ",
        "FROM ",
        "COPY ",
        "RUM ",
        "ENV A",
        "LABEL",
        "EXPOSE",
    ),
)
_HEADS = (
    *("# escape=`\n", "# escape=\\\n", "#escape = ` \n", "# Escape=`\r\n", "# escape=x\n", "#\xa0escape=`\n"),
    *("# syntax=a/b\n", "#!/bin/sh\n", "#!/bin/sh\n# syntax=a/b\n", "// syntax=a/b\n", "# check=skip=all\n"),
    *(
        "\ufeff",
        "\n",
        "# escape=`\n# escape=`\n",
        " # escape=`\n",
        "# x\n",
        "\ufeff\ufeff",
        "#escape=`\xa0\n",
    ),
)


@dataclass(frozen=True)
class Distorted:
    """A Dockerfile, and what it is built with."""

    text: str
    build_args: dict[str, str]
    target: str


def distorted(number: int) -> Distorted:
    """The distorted Dockerfile of this ``number``."""
    chance = random.Random(number)
    text = chance.choice(_FILES)
    if chance.random() < 0.08:
        text = _mixed(chance)
    for _ in range(chance.choice((1, 1, 1, 1, 2, 2, 3))):
        text = chance.choice(_WAYS)(chance, text)
    build_args = {name: chance.choice(("alpine", "3.18", "", "x")) for name in "AB" if chance.random() < 0.15}
    target = chance.choice(("build", "s0", "scratch", "one")) if chance.random() < 0.05 else ""
    return Distorted(text, build_args, target)


def _mixed(chance: random.Random) -> str:
    """The lines of several files, in their order or in none."""
    lines = [line for file in chance.sample(_FILES, 2) for line in file.splitlines(keepends=True)]
    picked = [line for line in lines if chance.random() < 0.6]
    if chance.random() < 0.3:
        chance.shuffle(picked)
    return "".join(picked)


def _insert(chance: random.Random, text: str) -> str:
    place = _place(chance, text)
    return text[:place] + chance.choice(_PIECES) + text[place:]


def _delete(chance: random.Random, text: str) -> str:
    place = chance.randrange(len(text) + 1)
    return text[:place] + text[place + chance.choice((1, 1, 1, 2, 5, 20)) :]


def _double(chance: random.Random, text: str) -> str:
    place = chance.randrange(len(text) + 1)
    return text[:place] + text[place : place + chance.choice((1, 4, 30))] + text[place:]


def _replace(chance: random.Random, text: str) -> str:
    place = _place(chance, text)
    return text[:place] + chance.choice(_PIECES) + text[place + 1 :]


def _word(chance: random.Random, text: str) -> str:
    """Another word in place of one."""
    words = text.split(" ")
    words[chance.randrange(len(words))] = chance.choice((*_PIECES, *words))
    return " ".join(words)


def _lines(chance: random.Random, text: str) -> str:
    """A line moved, doubled, left out, or indented."""
    lines = text.splitlines(keepends=True) or [""]
    line = lines.pop(chance.randrange(len(lines)))
    for _ in range(chance.choice((0, 1, 1, 2))):
        lines.insert(chance.randrange(len(lines) + 1), chance.choice(("", "", " ", "\t")) + line)
    return "".join(lines)


def _head(chance: random.Random, text: str) -> str:
    return chance.choice(_HEADS) + text


def _ends(chance: random.Random, text: str) -> str:
    return chance.choice(
        (text.replace("\n", "\r\n"), text.rstrip("\n"), text.replace("\n", "\n\n"), text + "\\")
    )


def _case(chance: random.Random, text: str) -> str:
    place = chance.randrange(len(text) + 1)
    return text[:place] + text[place : place + 12].swapcase() + text[place + 12 :]


def _place(chance: random.Random, text: str) -> int:
    """Anywhere, and more often where a word begins or ends on a line of FROM, of flags, or of a heredoc."""
    if chance.random() < 0.5:
        return chance.randrange(len(text) + 1)
    marks = [
        at + len(mark)
        for mark in ("FROM ", "FROM", "--", "ARG ", "=", "<<", " AS ", "${", "\nRUN ", "\nCOPY ")
        for at in range(len(text))
        if text.startswith(mark, at)
    ]
    return chance.choice(marks or [0])


_WAYS = (_insert, _insert, _insert, _replace, _replace, _delete, _double, _word, _lines, _head, _ends, _case)
