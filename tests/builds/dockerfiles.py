# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Generated Dockerfiles: every way of writing what the engine room reads, and ways of getting it wrong.

Their images are the sample bases, so that most of them build. Left out is what releases of BuildKit
read differently (an ARG without a default and a value, ``<< EOF``, ``# check=`` above ``# escape=``,
TARGETSTAGE, defaults that do not expand), so that the tests hold with any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

_VALUES = ["3.18", "latest", "3.18", "latest", "v3.18-rc", "3.18.golang.1.20", ""]
_DEFAULTS = [
    *("3.18", '"3.18"', "'3.18'", "latest", '"lat"est', "3.\\18", '""', "$A", "${A}", '"$A"', "${B:-3.18}"),
    *("${A-latest}", "${A:+3.18}", "${B+latest}", "${A#v}", "${A%-*}", "${A##*.}", "${A%%.g*}"),
    *(
        "${B/3.18/latest}",
        "${C//a/a}",
        "${A:-${B:-${C:-3.18}}}",
        "${A%\\*}",
        "${C:-'3.18'}",
        "${A#*.golang.}",
    ),
]
_BASES = [
    *("alpine", "alpine:3.18", "alpine:latest", "docker.io/library/alpine:3.18", "docker.io/alpine"),
    *("golang:1.20", "python:3.8-alpine", "library/python:3.6-alpine", "index.docker.io/library/alpine"),
    *("scratch", "alpine:${A:-3.18}", "${X:-alpine}:${A:-3.18}", "alpine:${B:-3.18}", "alpine:${B-latest}"),
    *(
        "alpine:${X:-${A:-latest}}",
        "alpine${C:+:3.18}",
        "${X:-scratch}",
        "alpine:${A:-'3.18'}",
        "${X:+no}alpine",
    ),
    *(
        '"alpine"',
        "'alpine':3.18",
        "al\\pine",
        "alpine\\:3.18",
        '"alpine:${A:-3.18}"',
        "alp${X}ine",
        "s0",
        "s1",
    ),
    *("alpine${TARGETVARIANT:+:3.18}", "${TARGETARCH:+alpine}", "${BUILDOS/linux/alpine}", "s0", "s2"),
    *("${TARGETARCH/arm64/s0}", "${TARGETARCH/amd64/golang:1.20}", "${TARGETPLATFORM//[a-z]*/x}alpine"),
]
_PLATFORMS = [
    *(
        "",
        "",
        "",
        "--platform=linux/amd64",
        "--platform=$BUILDPLATFORM",
        "--platform=${TARGETPLATFORM}",
        "--",
    ),
    *('--platform="linux/arm64"', "--platform=arm64", "--platform=linux/$TARGETARCH", "--platform=linux"),
]
_NAMES = ["", "", "s0", "s0", "s1", "S1", "s2", "alpine", "golang", "scratch", "context", "a-b.c_d"]
_COMMANDS = [
    *(
        "LABEL a=b",
        "ENV FROM=alpine",
        "label a='b c'",
        "USER root",
        'CMD ["FROM", "golang"]',
        "ARG A",
        "ARG Z=$A",
    ),
    *(
        "COPY --from=s0 /etc/base-mark /x",
        "COPY --from=0 /etc/base-mark /x",
        "copy --from=S0 /etc/base-mark /x",
    ),
    *("COPY --from=alpine:3.18 /etc/base-mark /x", 'COPY --from="golang:1.20" /etc/base-mark /x'),
    *("COPY --link --from=python:3.8-alpine /etc/base-mark /x", "COPY --from=s1 --link /etc/base-mark /x"),
    *("RUN --mount=type=bind,from=golang:1.20,target=/m true", "RUN --mount=from=s0,target=/m true"),
    *("RUN --mount=type=bind,FROM=s1,target=/m true", "RUN --mount=type=tmpfs,target=/m true"),
    *('RUN --mount=type=bind,"from=s0",target=/m true', "RUN --mount=type=cache,from=alpine,target=/c true"),
    *("ONBUILD LABEL a=b", "onbuild env a=FROM"),
]
_HEREDOCS = [
    "COPY <<EOF /x\nFROM golang:1.20\nEOF",
    "COPY <<-EOF /x\n\tFROM golang:1.20\n\tEOF",
    "COPY <<'EOF' /x\nFROM $A \\\nEOF",
    'COPY <<"EOF" /x\nFROM golang:1.20\n EOF\nEOF',
    "COPY <<one <<two /x/\nFROM golang:1.20\none\nFROM python:3.8-alpine\ntwo",
    "copy --chmod=644 3<<EOF /x\n# comment\nFROM golang:1.20\n\nEOF",
    "ADD <<E\\OF /x\nFROM golang:1.20\nEOF",
    "RUN <<EOF\ntrue\nEOF",
    "RUN <<EOF cat > /dev/null && true <<-END\nFROM golang:1.20\nEOF\n\tFROM alpine\n\tEND",
    'RUN ["true", "<<EOF"]',
    "RUN true '<<EOF'",
    'RUN : "a<<EOF"',
    "RUN true <<<EOF",
    "RUN : it\\'s",
    "COPY <<$EOF /x\nFROM golang:1.20\n$EOF",
    "LABEL a=<<EOF",
    "ONBUILD COPY <<EOF /x\nFROM golang:1.20\nEOF",
]
_DIRECTIVES = ["# escape=\\", "# escape=`", "#Escape = `", "# a comment"]
# One of these makes a whole file wrong, or means something odd.
_WRONG = [
    *("FROM Alpine", "FROM alpine:", "FROM :3.18", "FROM alpine:3.18:x", "FROM S0", "FROM ${A", "FROM ${}"),
    *(
        "FROM ${A^^}",
        "FROM 'alpine",
        'FROM "alpine',
        "FROM ${X:?}",
        "FROM ${X?no value}",
        "FROM alpine@sha256:01",
    ),
    *(
        "FROM $X",
        "FROM a b",
        "FROM",
        "FROM alpine AS",
        "FROM alpine IS s0",
        "FROM alpine AS s0 s1",
        "FROM ''",
    ),
    *(
        "FROM alpine AS 1a",
        "FROM alpine AS a-",
        "FROM alpine AS a..b",
        "FROM alpine AS $A",
        "FROM alpine AS 'a'",
    ),
    *("FROM --platform alpine", "FROM --platform=$X alpine", "FROM --platform= alpine", "FROM --x=y alpine"),
    *("FROM --platform=linux/amd64 --platform=linux/amd64 alpine", "FROM --PLATFORM=linux alpine"),
    *("FROM --platform=a/b/c/d alpine", "FROM -platform=linux alpine", "FROM --platform=nosuch alpine"),
    *(
        "FROM alpine\nCOPY <<EOF /x\nFROM golang:1.20",
        "FROM alpine\nRUN true <<'EOF'\nEOF\nFROM alpine <<EOF",
    ),
    *(
        "FROM alpine\nCOPY --from=$A /x /x",
        "FROM alpine\nCOPY --from=Alpine /x /x",
        "FROM s9\nRUN : ${A^} <<EOF",
    ),
    *(
        "FROM alpine\nRUN --mount=from=$A,target=/m true",
        "FROM alpine\nCOPY --from=9 /x /x",
        "FROM alpine\n\\",
    ),
    *("FROMalpine", "FROM\u00a0alpine", "FROM alpine\u00a0AS s0", "FROM alpine # comment", "\\", "FROM \\"),
    *("# escape=`\nFROM alp`\nine", "FROM alpine\nRUN it's <<EOF", "FROM alpine\nONBUILD COPY <<EOF /x"),
]


@dataclass(frozen=True)
class Case:
    """A Dockerfile and what it is built with."""

    text: str
    build_args: dict[str, str]
    target: str


def cases() -> st.SearchStrategy[Case]:
    """Dockerfiles of up to four stages, in a hostile layout."""
    return st.composite(_case)()


def _case(draw: Callable[..., str]) -> Case:
    choose: Callable[[list[str]], str] = lambda items: draw(st.sampled_from(items))  # noqa: E731
    build_args = draw(st.dictionaries(st.sampled_from(["A", "B", "C"]), st.sampled_from(_VALUES), max_size=2))
    blocks: list[str] = []
    for name in draw(st.lists(st.sampled_from("ABC"), max_size=4)):
        more = f" Z={choose(_DEFAULTS)}" if draw(st.booleans()) else ""
        blocks.append(f"{choose(['ARG', 'arg'])} {name}={choose(_DEFAULTS)}{more}")
    names = ["", "", "nosuch"]
    for _ in range(draw(st.integers(1, 4))):
        name = choose(_NAMES)
        names.append(name)
        suffix = f" {choose(['AS', 'as', 'As'])} {name}" if name else ""
        keyword = choose(["FROM", "from", "From"])
        blocks.append(f"{keyword} {choose(_PLATFORMS)} {choose(_BASES)}{suffix}")
        blocks += draw(st.lists(st.sampled_from(_COMMANDS + _HEREDOCS), max_size=3))
    if draw(st.integers(0, 9)) == 7:
        blocks.insert(draw(st.integers(0, len(blocks))), choose(_WRONG))
    escape = "\\"
    head = ""
    if draw(st.integers(0, 3)) == 2:
        head = choose(_DIRECTIVES) + "\n"
        escape = "`" if head in ("# escape=`\n", "#Escape = `\n") else "\\"
    laid_out = [_lay_out(draw, block, escape) for block in blocks]
    text = choose(["", "", "\ufeff"]) + head + "".join(laid_out)
    if draw(st.booleans()):
        text = text.rstrip("\n")
    if draw(st.integers(0, 4)) == 3:
        text = text.replace("\n", "\r\n")
    return Case(text, build_args, choose(names))


def _lay_out(draw: Callable[..., str], block: str, escape: str) -> str:
    """The block, its first line perhaps spread over several, with comments and blanks around."""
    first, newline, rest = block.partition("\n")
    for _ in range(draw(st.integers(0, 2))):
        # A line that begins with what comes after a # is a comment, and leaves half of a word.
        places = [place for place in range(1, len(first) + 1) if first[place : place + 1] != "#"]
        position = draw(st.sampled_from(places))
        # A blank in a gap would split a word in two, which is rarely a Dockerfile any more.
        blank = " " in first[position - 1 : position + 1]
        gaps = ["\n", "\t\n# FROM golang:1.20\n", "\n \t# c \\\n", "\n\n"] + blank * [" \n", "\n  "]
        first = first[:position] + escape + draw(st.sampled_from(gaps)) + first[position:]
    before = draw(st.sampled_from(["", "", "", "\n", "# FROM golang:1.20 \\\n", "  \t\n", "  ", " # x\n\t"]))
    after = draw(st.sampled_from(["", "", "", " ", "\t"])) if not newline else ""
    return before + first + after + newline + rest + "\n"
