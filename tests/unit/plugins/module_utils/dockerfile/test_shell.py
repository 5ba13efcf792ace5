# Copyright the image-builder authors. Apache-2.0 (see LICENSE).

from __future__ import annotations

import contextlib
import fnmatch

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.shell import (
    ExpansionError,
    expand,
    heredoc_words,
    unquoted_words,
)
from hypothesis import given
from hypothesis import strategies as st

VARIABLES = {"NAME": "alpine", "TAG": "v3.18.4-rc1", "EMPTY": "", "PATH_": "a/b/c", "QUOTED": "'x'"}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("$NAME:${TAG}", "alpine:v3.18.4-rc1"),
        ("$NAMEX", ""),
        ("${NAME}X$MISSING", "alpineX"),
        ("${MISSING:-x}${EMPTY:-y}${NAME:-z}", "xyalpine"),
        ("${MISSING-x}${EMPTY-y}${NAME-z}", "xalpine"),
        ("${MISSING:+x}${EMPTY:+y}${NAME:+z}", "z"),
        ("${MISSING+x}${EMPTY+y}${NAME+z}", "yz"),
        ("${EMPTY?no}${NAME:?no}", "alpine"),
        ("${MISSING:-${EMPTY:-${NAME}}}", "alpine"),
        ("${TAG#v}", "3.18.4-rc1"),
        ("${TAG#*.}", "18.4-rc1"),
        ("${TAG##*.}", "4-rc1"),
        ("${TAG%.*}", "v3.18"),
        ("${TAG%%.*}", "v3"),
        ("${TAG%-rc?}", "v3.18.4"),
        ("${TAG#nothing}", "v3.18.4-rc1"),
        ("${TAG#}", "v3.18.4-rc1"),
        ("${TAG/./-}", "v3-18.4-rc1"),
        ("${TAG//./-}", "v3-18-4-rc1"),
        ("${TAG/%*/x}", "v3.18.4-rc1"),
        ("${TAG/v*-/}", "rc1"),
        ("${PATH_//\\//.}", "a.b.c"),
        ("${MISSING/a/b}", ""),
        ("${TAG#$EMPTY*${NAME:+8}}", ".4-rc1"),
    ],
)
def test_every_form_of_substitution_gives_what_buildkit_gives(word: str, expected: str) -> None:
    assert expand(word, VARIABLES) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("'$NAME'", "$NAME"),
        ('"$NAME"', "alpine"),
        ("\\$NAME", "$NAME"),
        ('"\\$NAME \\n \\" \\\\"', '$NAME \\n " \\'),
        ("a\\b\\\\c\\", "ab\\c"),
        ("$QUOTED", "'x'"),
        ("${MISSING:-'a}b'}", "a}b"),
        ("$", "$"),
        ("$.x", "$.x"),
        ("${NAME}$", "alpine$"),
        ("$1a", "a"),
        ("a<b<<c", "a<b<<c"),
    ],
)
def test_quotes_and_escapes_protect_and_disappear(word: str, expected: str) -> None:
    assert expand(word, VARIABLES) == expected


def test_the_escape_character_can_be_a_backtick() -> None:
    assert expand("`$NAME\\x`a", VARIABLES, "`") == "$NAME\\xa"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("${NAME", "not a form"),
        ("${", "closing }"),
        ("${}", "variable's name"),
        ("${:-x}", "variable's name"),
        ("${NAME:2}", "not a form"),
        ("${NAME^^}", "not a form"),
        ("${.}", "not a form"),
        ("${NAME:-x", "closing }"),
        ("${NAME/x}", "closing /"),
        ("${NAME/x/y", "closing }"),
        ("'open", "closing '"),
        ('"open', 'closing "'),
        ("${MISSING?}", "MISSING: it is not allowed to be unset"),
        ("${EMPTY:?}", "EMPTY: it is not allowed to be empty"),
        ("${MISSING:?set $NAME}", "MISSING: set alpine"),
        ("${NAME#\\a}", "escapes"),
        ("${NAME#a\\", "closing }"),
        ("${NAME//a/\\$0}", "holds a \\$"),
    ],
)
def test_what_buildkit_refuses_is_refused_with_its_reason(word: str, reason: str) -> None:
    with pytest.raises(ExpansionError, match=reason):
        expand(word, VARIABLES)


def test_a_message_of_a_condition_that_holds_is_not_raised() -> None:
    assert expand("${NAME:?never}", VARIABLES) == "alpine"


@given(value=st.text("ab.\n", max_size=8), pattern=st.text("ab.*?", min_size=1, max_size=6))
def test_trimming_takes_the_shortest_or_longest_match_that_trying_every_end_finds(
    value: str, pattern: str
) -> None:
    def matches(text: str) -> bool:
        # fnmatch lets * and ? match line ends, BuildKit does not.
        return fnmatch.fnmatchcase(text, pattern) and ("\n" not in text)

    ends = [end for end in range(len(value) + 1) if matches(value[:end])]
    starts = [start for start in range(len(value) + 1) if matches(value[start:])]
    variables = {"V": value}
    assert expand(f"${{V#{pattern}}}", variables) == (value[ends[0] :] if ends else value)
    assert expand(f"${{V##{pattern}}}", variables) == (value[ends[-1] :] if ends else value)
    assert expand(f"${{V%{pattern}}}", variables) == (value[: starts[-1]] if starts else value)
    assert expand(f"${{V%%{pattern}}}", variables) == (value[: starts[0]] if starts else value)


@given(word=st.text("aN${}:-+?#%/*'\"\\ <", max_size=14))
def test_any_word_either_expands_or_is_refused(word: str) -> None:
    with contextlib.suppress(ExpansionError):
        assert isinstance(expand(word, {"N": "a*/b", "a": ""}), str)


@given(word=st.text(st.characters(exclude_characters="$'\"\\\ufeff", exclude_categories=["Cs"])))
def test_a_word_without_special_characters_stays_as_it_is(word: str) -> None:
    assert expand(word, VARIABLES) == word


def test_a_hostile_word_neither_nests_nor_grows_nor_takes_time_without_end() -> None:
    with pytest.raises(ExpansionError, match="too deeply"):
        expand("${a:-" * 5000 + "}" * 5000, {})
    with pytest.raises(ExpansionError, match="longer than"):
        expand("$A" * 5000, {"A": "x" * 5000})
    with pytest.raises(ExpansionError, match="more than"):
        expand("${A//a/b}", {"A": "a" * 5000})
    assert expand("${A#" + "*a" * 200 + "b}", {"A": "a" * 1000}) == "a" * 1000


def test_heredoc_words_keep_quotes_escapes_and_unset_variables() -> None:
    line = "RUN cat <<'A B' <<\"$C\" <<-\\D 3<< E a\\ b ${x:-y}"
    assert heredoc_words(line) == ["RUN", "cat", "<<'A B'", '<<"$C"', "<<-\\D", "3<< E", "a\\ b", "${x:-y}"]


@pytest.mark.parametrize("line", ["RUN echo it's <<EOF", "RUN : ${x@Q} <<EOF", 'RUN echo " <<EOF'])
def test_a_line_that_does_not_lex_has_no_heredoc_words(line: str) -> None:
    assert heredoc_words(line) == []


def test_unquoted_words_drop_quotes_and_keep_variables() -> None:
    assert unquoted_words("'E'O\"F\"\\x$y") == ["EOFx$y"]
