# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import io

from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Event
from rich.console import Console

from image_builder.terminal.rows import Rows

APP, OTHER = "registry.example.org/team/app:1", "registry.example.org/team/app:2"


def drawn(*events: Event, width: int = 80, height: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    rows = Rows(console)
    for event in events:
        rows.take(event)
    with console.capture() as capture:
        console.print(rows)
    return [line.rstrip() for line in capture.get().splitlines()]


def pending(*images: str, platforms: tuple[str, ...] = ("linux/amd64", "linux/arm64")) -> list[Event]:
    return [Event(image, platform, "pending") for image in images for platform in platforms]


def test_each_image_and_platform_has_a_row_with_its_current_step() -> None:
    lines = drawn(
        *pending(APP, OTHER),
        Event(APP, "linux/amd64", "started", "1/2 FROM alpine"),
        Event(APP, "linux/amd64", "done", "1/2 FROM alpine"),
        Event(APP, "linux/amd64", "started", "2/2 RUN make"),
    )
    assert len(lines) == 4
    assert "team/app:1 linux/amd64 2/2 RUN make" in lines[0]
    assert "0.0 s" in lines[0]
    assert ["waiting" in line for line in lines] == [False, True, True, True]


def test_a_step_that_ended_gives_way_to_one_that_still_runs() -> None:
    lines = drawn(
        *pending(APP, platforms=("linux/amd64",)),
        Event(APP, "linux/amd64", "started", "build 1/1 RUN long"),
        Event(APP, "linux/amd64", "started", "test 1/1 RUN short"),
        Event(APP, "linux/amd64", "done", "test 1/1 RUN short"),
    )
    assert "RUN long" in lines[0]


def test_a_step_of_the_whole_image_shows_on_all_its_platforms_and_no_other_image() -> None:
    lines = drawn(*pending(APP, OTHER), Event(APP, "", "started", "exporting to image"))
    assert ["exporting" in line for line in lines] == [True, True, False, False]


def test_a_failed_step_stays_in_sight_and_what_it_stopped_waits_again() -> None:
    lines = drawn(
        *pending(APP, OTHER),
        Event(APP, "linux/arm64", "started", "2/2 RUN make"),
        Event(OTHER, "linux/amd64", "started", "2/2 RUN sleep"),
        Event(APP, "linux/arm64", "failed", "2/2 RUN make"),
        Event(APP, "", "failed"),
        Event(OTHER, "", "cancelled"),
    )
    assert "✗ team/app:1 linux/arm64 2/2 RUN make" in lines[1]
    assert lines[0].startswith("✗")
    assert "waiting" in lines[2]


def test_what_is_pushed_or_unchanged_says_so() -> None:
    lines = drawn(
        *pending(APP),
        Event(OTHER, "linux/amd64", "unchanged", "the registry holds it already"),
        Event(APP, "", "success"),
    )
    assert [line.split()[-1] for line in lines] == ["pushed", "pushed", "unchanged"]


def test_rows_keep_to_the_width_of_the_terminal_and_cut_the_step_only() -> None:
    for width in (80, 120):
        (line,) = drawn(
            *pending(APP, platforms=("linux/arm/v7",)),
            Event(APP, "linux/arm/v7", "started", "build 2/4 RUN " + "a-long-command " * 20),
            width=width,
        )
        assert len(line) == width
        assert "team/app:1 linux/arm/v7 build 2/4 RUN" in line
        assert "…" in line


def test_when_there_are_more_rows_than_lines_those_at_work_are_shown() -> None:
    images = [f"registry.example.org/app:{number}" for number in range(100)]
    lines = drawn(*pending(*images), Event(images[-1], "linux/amd64", "started", "1/1 RUN make"), height=24)
    assert len(lines) <= 24
    assert "app:99 linux/amd64 1/1 RUN make" in " ".join(lines[0].split())
    assert "more" in lines[-1]
