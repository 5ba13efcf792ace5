# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import io
import json
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import (
    BuilderError,
    ParameterError,
    Place,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Event, Lines
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.guarded_listener import (
    GuardedListener,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.text import (
    printable,
    printable_data,
    printable_lines,
    without_colours,
)
from rich.console import Console

from image_builder.terminal import tables

#: One of each kind that steers a terminal or misleads the eye.
STEERING = (
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\ufeff\ud800\udfff",
    "\U000e0041",
)
HOSTILE = "a\x1b[2Jb\x1b]0;title\x07c\x9b31md\u202ee\u2066f\x85g\rh\ud800i"


def steers(text: str) -> bool:
    return any(sign in text for sign in STEERING if sign not in "\n\t")


@pytest.mark.parametrize("sign", STEERING, ids=ascii)
def test_what_steers_a_terminal_is_escaped_visibly(sign: str) -> None:
    shown = printable(f"a{sign}b")
    assert shown == "a" + ascii(sign)[1:-1] + "b"
    assert shown.isprintable()


@pytest.mark.parametrize("text", ["plain", "zażółć", "日本語", "é\u0301", "👩", "C:\\x1b", ""])
def test_text_that_steers_nothing_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_nothing_is_escaped_twice() -> None:
    once = printable_lines(HOSTILE)
    assert printable_lines(once) == once
    assert printable(once) == once


def test_lines_stay_lines() -> None:
    assert printable_lines("one\r\n\ttwo\nthree\r!") == "one\n\ttwo\nthree\\r!"


def test_all_texts_of_a_result_are_escaped_its_keys_too() -> None:
    shown = printable_data({"a\x1b": [HOSTILE, 1, None, True, 2.5], "b": {"c": ("\x9b",)}})
    assert shown == {"a\\x1b": [printable_lines(HOSTILE), 1, None, True, 2.5], "b": {"c": ["\\x9b"]}}
    assert not steers(json.dumps(shown, ensure_ascii=False))


def test_colours_of_a_program_are_left_out_and_of_a_line_drawn_again_the_last_is_kept() -> None:
    assert (
        without_colours("\x1b[1;31merror\x1b[0m: x\r\n10 %\r55 %\r100 %\nend\x1b[K") == "error: x\n100 %\nend"
    )


def test_an_error_steers_no_terminal_as_text_or_for_programs() -> None:
    error = BuilderError("c", HOSTILE, hint=HOSTILE, place=Place(HOSTILE, HOSTILE, HOSTILE, 3))
    assert not steers(str(error))
    assert not steers(json.dumps(error.to_dict(), ensure_ascii=False))
    assert not steers(json.dumps(ParameterError([HOSTILE]).to_dict(), ensure_ascii=False))


class Hears:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def line(self, text: str) -> None:
        self.told.append(text)

    def event(self, event: Event) -> None:
        self.told += [event.image, event.platform, event.text, event.line]


def test_a_listener_hears_nothing_that_steers_a_terminal() -> None:
    hears = Hears()
    for listener in (GuardedListener(hears), Lines(hears.told.append)):
        listener.line(HOSTILE)
        listener.event(Event(HOSTILE, HOSTILE, "started", HOSTILE, line=HOSTILE))
    assert len(hears.told) == 7
    assert not any(map(steers, hears.told))


def test_nothing_shown_on_a_terminal_steers_it() -> None:
    image: dict[str, Any] = {
        "reference": HOSTILE,
        "registry": HOSTILE,
        "image": HOSTILE,
        "tag": HOSTILE,
        "digest": "sha256:12",
        "platforms": [{"platform": HOSTILE}],
        "bases": [],
        "state": "failed",
        "reason": HOSTILE,
        "seconds": 1.0,
        "error": BuilderError("c", HOSTILE).to_dict(),
    }
    found = {
        "reference": HOSTILE,
        "digest": "sha256:12",
        "media_type": HOSTILE,
        "platforms": [{"platform": HOSTILE, "digest": "sha256:12"}],
        "attestations": {"sha256:12": HOSTILE},
        "annotations": {HOSTILE: HOSTILE},
    }
    for width in (40, 400):
        file = io.StringIO()
        console = Console(file=file, width=width)
        tables.Steps(console)(HOSTILE)
        tables.show_images(console, [image])
        tables.show_plan(console, [image])
        tables.show_manifest(console, found)
        assert not steers(file.getvalue())
