# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from image_builder import report

DIGEST = "sha256:" + "0123456789abcdef" * 4


def image(**changes: Any) -> dict[str, Any]:
    return {
        "registry": "registry.example.org",
        "image": "team/app",
        "tag": "1.2",
        "digest": DIGEST,
        "platforms": [{"platform": "linux/amd64"}, {"platform": "linux/arm64"}],
        "bases": [{"reference": "alpine:3.18"}, {"reference": "docker.io/library/alpine:3.18"}],
        "state": "success",
        "seconds": 12.34,
    } | changes


def printed(*images: dict[str, Any], width: int = 80) -> str:
    file = io.StringIO()
    report.show_images(Console(file=file, width=width), images)
    return file.getvalue()


def test_the_whole_digest_stands_on_one_line_however_narrow_the_terminal_is() -> None:
    assert f"registry.example.org/team/app@{DIGEST}\n" in printed(image(), width=60)


def test_a_base_of_several_platforms_is_named_once() -> None:
    assert printed(image(), width=120).count("alpine:3.18") == 1


def test_an_image_that_was_not_pushed_has_no_reference_by_digest() -> None:
    output = printed(image(digest="", state="failed"))
    assert "failed" in output
    assert "@" not in output


def test_text_that_looks_like_markup_is_printed_as_it_is() -> None:
    assert "[bold]x[/bold]" in printed(image(bases=[], image="[bold]x[/bold]"), width=120)

    file = io.StringIO()
    report.Steps(Console(file=file, width=40))("[red]a step that is longer than the terminal is wide[/red]")
    assert "[red]a step that is longer than the terminal is wide[/red]\n" in file.getvalue()
