# Copyright the image-builder authors. Apache-2.0 (see LICENSE).

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.instructions import (
    Argument,
    Dockerfile,
    FromFlag,
    Stage,
    parse,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import DockerfileError
from hypothesis import given
from hypothesis import strategies as st


def bases(text: str) -> list[str]:
    return [stage.base for stage in parse(text).stages]


def only_stage(text: str) -> Stage:
    (stage,) = parse(text).stages
    return stage


def test_a_stage_knows_its_words_and_its_place() -> None:
    text = "# base\nARG V=1\n\nFROM --platform=$BUILDPLATFORM golang:$V AS Build\nRUN true\nfrom scratch\n"
    build, final = parse(text).stages
    assert (build.index, build.name, build.base, build.platform, build.line) == (
        0,
        "build",
        "golang:$V",
        "$BUILDPLATFORM",
        4,
    )
    assert build.runs
    assert (final.index, final.name, final.base, final.platform, final.line) == (1, "", "scratch", "", 6)
    assert not final.runs


@pytest.mark.parametrize(
    "text",
    [
        "FROM alpine",
        "from alpine\n",
        "FrOm\t \valpine\r\n",
        "\ufeffFROM alpine\n",
        "\n  \n # comment\n   FROM alpine   \n# end",
        "FROM \\\nalpine",
        "FROM \\\n\n# comment\n   # another \\\n  alpine",
        "FROM al\\\npine",
        "FROM al\\  \t\r\npine\r\n",
        "FR\\\nOM alpine",
        "\\\nFROM alpine",
        "FROM alpine \\",
        "# escape=`\nFROM al`\npine",
        "#\tESCAPE =\t`\nFROM al`\npine",
        "# syntax=docker/dockerfile:1\n# check=skip=all\n# escape=`\nFROM al`\npine",
        "FROM -- alpine",
        "FROM --platform= alpine",
    ],
)
def test_one_base_is_found_in_every_layout(text: str) -> None:
    assert bases(text) == ["alpine"]


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\n# escape=`\nFROM al\\\npine",
        "\n# escape=`\nFROM al\\\npine",
        "# unknown=x\n# escape=`\nFROM al\\\npine",
        "ARG A=1\n# escape=`\nFROM al\\\npine",
        "# escape=\\\nFROM al\\\npine",
    ],
)
def test_only_the_very_top_can_change_the_escape_character(text: str) -> None:
    assert bases(text) == ["alpine"]


def test_an_escaped_escape_character_at_the_end_continues_nothing() -> None:
    assert bases("FROM alpine\nLABEL a=\\\\\nFROM golang") == ["alpine", "golang"]


def test_the_syntax_directive_names_the_frontend_without_its_options() -> None:
    assert parse("# syntax=docker/dockerfile:1 option\nFROM alpine").syntax == "docker/dockerfile:1 option"
    assert parse("FROM alpine\n# syntax=docker/dockerfile:1").syntax is None


HEREDOCS = [
    "RUN <<EOF\nFROM x\nEOF",
    "RUN <<-EOF\n\tFROM x\n\t\tEOF",
    "COPY <<EOF /x\n FROM x\n EOF\nEOF",
    "ADD <<'E F' /x\nFROM x\nE F",
    'COPY <<"EOF" /x\nFROM \\\nEOF',
    "RUN cat <<A && cat 3<<B\nFROM x\nB\nA\nFROM x\nB",
    "run cat <<EOF > /x\nFROM x\nEOF",
    "ONBUILD RUN <<EOF\nFROM x\nEOF",
    "RUN --mount=type=tmpfs,target=/t <<EOF\r\nFROM x\r\nEOF\r",
    "RUN cat \\\n <<EOF\nFROM x\nEOF",
    "RUN [ -f x ] && cat <<EOF\nFROM x\nEOF",
    "RUN cat << EOF\nFROM x\nEOF",
    "COPY <<E\\OF /x\nFROM x\nEOF",
]


@pytest.mark.parametrize("heredoc", HEREDOCS)
def test_from_inside_a_heredoc_is_no_instruction(heredoc: str) -> None:
    assert bases(f"FROM alpine\n{heredoc}\nFROM golang\n") == ["alpine", "golang"]


@pytest.mark.parametrize(
    "line",
    [
        'RUN ["cat", "<<EOF"]',
        "RUN echo '<<EOF'",
        "RUN cat <<<EOF",
        "RUN echo it's <<EOF",
        "LABEL a=<<EOF",
        "CMD cat <<EOF",
        "RUN echo $((1 << 2))",
        "RUN echo $((1<<2))",
        "RUN echo a<<EOF",
    ],
)
def test_what_only_looks_like_a_heredoc_hides_nothing(line: str) -> None:
    assert bases(f"FROM alpine\n{line}\nFROM golang\n") == ["alpine", "golang"]


def test_several_global_arguments_stand_on_one_line_and_keep_their_quotes() -> None:
    text = "ARG A B=1 C=\"x y\" D='$A \\' E=${B:-z} F=a\\ b G=\narg H=h=h\nFROM alpine\nARG I=2\n"
    assert parse(text).arguments == (
        Argument("A", None, 1),
        Argument("B", "1", 1),
        Argument("C", '"x y"', 1),
        Argument("D", "'$A \\'", 1),
        Argument("E", "${B:-z}", 1),
        Argument("F", "a\\ b", 1),
        Argument("G", "", 1),
        Argument("H", "h=h", 2),
    )


def test_flags_that_name_stages_and_images_are_found_with_their_lines() -> None:
    text = (
        "FROM alpine\n"
        "COPY --chown=1 --from=Build \\\n /a /b\n"
        'COPY --from="golang:1.20" --link /a /b\n'
        "COPY --from= /a /b\n"
        "COPY a --from=b\n"
        "RUN --mount=type=bind,from=one,target=/m --mount=type=cache,target=/c --mount=FROM=two true\n"
        'RUN --mount=type=bind,\\"from=a,b\\" --network=none true --mount=from=no\n'
        "ONBUILD COPY --from=0 /a /b\n"
        "onbuild run --mount=from=three true\n"
        "ADD --from=no /a /b\n"
    )
    stage = only_stage(text)
    assert tuple(replace(flag, value="", spans=()) for flag in stage.from_flags) == (
        FromFlag("COPY", "Build", 2),
        FromFlag("COPY", "golang:1.20", 4),
        FromFlag("RUN", "one", 7),
        FromFlag("RUN", "scratch", 7),
        FromFlag("RUN", "two", 7),
        FromFlag("RUN", "a,b", 8),
        FromFlag("COPY", "0", 9, onbuild=True),
        FromFlag("RUN", "three", 10, onbuild=True),
    )


def test_a_stage_runs_something_only_by_run_and_hands_on_what_onbuild_runs() -> None:
    plain = only_stage("FROM alpine\nWORKDIR /RUN\nENV RUN=1\nHEALTHCHECK CMD true\n")
    assert (plain.runs, plain.onbuild_runs) == (False, False)
    trigger = only_stage("FROM alpine\nONBUILD RUN true\n")
    assert (trigger.runs, trigger.onbuild_runs) == (False, True)


SYNTAX_ERRORS = [
    ("FROM\n", 1, "not of its form"),
    ("ARG A\nFROM --platform=linux/amd64\n", 2, "not of its form"),
    ("FROM alpine x\n", 1, "not of its form"),
    ("FROM alpine AS\n", 1, "not of its form"),
    ("FROM alpine IS x\n", 1, "not of its form"),
    ("FROM alpine AS x y\n", 1, "not of its form"),
    ("FROM alpine # comment\n", 1, "not of its form"),
    ("FROM alpine\nFROM alpine AS 1x\n", 2, "'1x' cannot be a stage's name"),
    ("FROM alpine AS $X\n", 1, "cannot be a stage's name"),
    ("FROM alpine AS a-\n", 1, "cannot be a stage's name"),
    ("FROM alpine AS a..b\n", 1, "cannot be a stage's name"),
    ("FROM --platfrom=x alpine\n", 1, "unknown flag --platfrom"),
    ("FROM --platform alpine\n", 1, "--platform one value"),
    ("FROM --platform=a --platform=b alpine\n", 1, "--platform one value"),
    ("\n\nRUN true\nFROM alpine\n", 3, "RUN stands before the first FROM"),
    ("{}\n", 1, "The instruction {} is unknown"),
    ("ARG\nFROM alpine\n", 1, "does not name a variable"),
    ("ARG A =b\nFROM alpine\n", 1, "does not name a variable"),
    ("# escape=x\nFROM alpine\n", 1, "escape directive names 'x'"),
    ("# escape=`\n# escape=`\nFROM alpine\n", 2, "escape is given twice"),
    ("FROM alpine\nRUN <<EOF\ntrue\n", 2, "heredoc <<EOF has no end"),
    ("FROM alpine\n\nCOPY <<A \\\n <<B /x\nA\nB \n", 3, "heredoc <<B has no end"),
]


@pytest.mark.parametrize(("text", "line", "message"), SYNTAX_ERRORS)
def test_a_syntax_error_is_explained_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text)
    assert caught.value.code == "dockerfile_syntax"
    assert caught.value.line == line
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "\n\n", "# FROM alpine\n", "ARG A=1\n", "\ufeff"])
def test_a_file_without_from_is_an_error(text: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text)
    assert caught.value.code == "dockerfile_without_stage"


def test_instructions_that_buildkit_will_judge_are_left_to_it() -> None:
    assert bases("FROM alpine\nNOSUCH thing\nENV\nCOPY a\n\\") == ["alpine"]


def spanned(dockerfile: Dockerfile) -> list[str]:
    return [
        "".join(dockerfile.text[start:end] for start, end in stage.base_spans) for stage in dockerfile.stages
    ]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("FROM alpine AS alpine", ["alpine"]),
        ("\ufeff  FROM --platform=alpine alpine AS alpine\n", ["alpine"]),
        ("FROM alpine\\\n", ["alpine"]),
        ("FROM \\\r\n  # alpine\r\n alp\\\r\n\r\nine\\\r\n:3.18 AS x\r\n", ["alp", "ine", ":3.18"]),
    ],
)
def test_the_span_of_a_base_covers_exactly_its_characters(text: str, pieces: list[str]) -> None:
    stage = only_stage(text)
    assert [text[start:end] for start, end in stage.base_spans] == pieces
    assert [start for start, _ in stage.base_spans] == sorted({start for start, _ in stage.base_spans})


LINES = st.sampled_from(
    [
        *(
            "FROM alpine",
            " from --platform=x go\\",
            "lang AS b",
            "FROM \\",
            "\\",
            "\\\\",
            "  # FROM x \\",
            "",
        ),
        *("RUN <<EOF", "EOF", "COPY <<-E /x", "\tE", "ARG A=1 B", "RUN true \\", "\ufeff", "# escape=`", "`"),
        *(
            "FROM go`",
            "ONBUILD RUN <<EOF",
            'RUN ["<<EOF"]',
            "FROM $A AS a\\",
            "FROM a\u00a0b",
            "\x0b",
            "FROM 'a b'",
        ),
    ]
)


@given(lines=st.lists(st.tuples(LINES, st.sampled_from(["\n", "\n", "\r\n"])), max_size=9))
def test_whatever_is_read_the_spans_spell_the_bases(lines: list[tuple[str, str]]) -> None:
    try:
        dockerfile = parse("".join(line + end for line, end in lines))
    except DockerfileError:
        return
    assert spanned(dockerfile) == [stage.base for stage in dockerfile.stages]


@given(text=st.text(st.sampled_from("FROMfrom RUNalpine#\\`\n\r\t<EOF-=\"'$")))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(DockerfileError):
        assert parse(text).stages


@pytest.mark.parametrize(
    "text",
    ["\x1b[31mRUN\nFROM x", "FROM --\x1b[31m x", "FROM x AS \x1b[31m", "FROM x\nRUN <<\x1b[31m", "\udc80\n"],
)
def test_errors_print_no_control_characters_of_a_hostile_file(text: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600
