# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from image_builder.terminal import tables

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
        "error": None,
    } | changes


def printed(*images: dict[str, Any], width: int = 80) -> str:
    file = io.StringIO()
    tables.show_images(Console(file=file, width=width), images)
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
    tables.Steps(Console(file=file, width=40))("[red]a step that is longer than the terminal is wide[/red]")
    assert "[red]a step that is longer than the terminal is wide[/red]\n" in file.getvalue()


def test_the_table_of_the_first_command_fits_a_common_terminal_without_a_word_cut() -> None:
    base = [{"reference": "debian:bookworm"}]
    lines = printed(image(image="samples/hello", tag="alpine", bases=base, state="unchanged")).splitlines()
    assert "samples/hello alpine linux/amd64 0123456789ab debian:bookworm 12.3 s unchanged" in lines


def test_where_the_table_does_not_fit_the_images_stand_below_one_another() -> None:
    name = "a/repository/with/a/very/long/name/that/fills/the/line"
    lines = printed(image(image=name), image(image=name, tag="2"), width=60).splitlines()
    assert f"{name}:1.2" in lines
    assert f"{name}:2" in lines
    assert lines.count("  Platforms  linux/amd64, linux/arm64") == 2


def test_an_image_that_another_one_s_failure_stopped_is_not_built() -> None:
    assert "not built" in printed(image(digest="", state="cancelled"))


def test_a_plan_says_what_is_built_why_and_on_which_bases() -> None:
    base = {
        "stage": 0,
        "stage_name": "build",
        "line": 3,
        "original": "alpine:3.18",
        "reference": "debian:bookworm",
        "digest": DIGEST,
        "overridden": True,
    }
    bases = [{**base, "platform": platform} for platform in ("linux/amd64", "linux/arm64")]
    later = {"stage": 1, "stage_name": "", "line": 9, "reference": "alpine:3.18", "overridden": False}
    bases.append({**base, **later, "platform": "linux/amd64"})
    planned = image(
        reference="registry.example.org/team/app:1.2", bases=bases, state="pending", reason="it is new"
    )
    file = io.StringIO()
    tables.show_plan(Console(file=file, width=80), [planned])
    assert [" ".join(line.split()) for line in file.getvalue().splitlines()] == [
        "registry.example.org/team/app:1.2: to build, it is new",
        "for linux/amd64, linux/arm64",
        "line 3 stage build debian:bookworm (for alpine:3.18) 0123456789ab",
        "line 9 stage 1 alpine:3.18 0123456789ab linux/amd64",
    ]


def test_a_plan_without_base_images_is_no_more_than_its_state() -> None:
    file = io.StringIO()
    planned = image(reference="registry.example.org/app:1", bases=[], state="unchanged", reason="it is there")
    tables.show_plan(Console(file=file, width=80), [planned])
    assert file.getvalue().splitlines() == [
        "registry.example.org/app:1: unchanged, it is there",
        "  for linux/amd64, linux/arm64",
    ]


def test_why_an_image_failed_is_one_short_line_below_the_table() -> None:
    command = "echo a command that is a good deal longer than a line of the terminal && false"
    error = {
        "message": f'process "/bin/sh -c {command}" did not complete successfully: exit code: 7.',
        "platform": "linux/arm64",
        "file": "docker/Dockerfile",
        "line": 12,
    }
    failed = image(digest="", state="failed", error=error)
    vanished = {**error, "message": "something\nelse " * 20, "file": None, "line": None}
    lines = printed(image(), failed, image(tag="3", state="failed", error=vanished), width=80).splitlines()
    assert "team/app:1.2 failed: linux/arm64, docker/Dockerfile line 12: exit code: 7" in lines
    (cut,) = (line for line in lines if line.startswith("team/app:3 failed: "))
    assert cut.startswith("team/app:3 failed: linux/arm64: something else something")
