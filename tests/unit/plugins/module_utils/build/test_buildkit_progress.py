# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any, Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.buildkit_progress import Reader
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Event, Lines

NAMES = {"image-0": "team/app:1", "image-1": "team/app:2"}


def vertex(name: str, number: int = 1, **fields: Any) -> dict[str, Any]:
    return {"digest": f"sha256:{number:064x}", "name": name, **fields}


def log(text: str, number: int = 1) -> dict[str, Any]:
    return {"vertex": f"sha256:{number:064x}", "stream": 1, "data": base64.b64encode(text.encode()).decode()}


def at(second: float) -> str:
    """A time as Go prints it: with nanoseconds, without zeros at the end."""
    return f"2026-01-01T00:00:{second:012.9f}".rstrip("0").rstrip(".") + "Z"


RUN = "[image-0 linux/arm64 2/2] RUN make"
STEPS = [
    {
        "vertexes": [
            vertex(
                "[image-0 internal] load build definition from Dockerfile",
                9,
                started=at(0.5),
                completed=at(1),
            )
        ]
    },
    {"vertexes": [vertex(RUN, started=at(1))]},
    {"vertexes": [vertex("[image-1 2/2] COPY a /", 2, started=at(1.25), completed=at(2), cached=True)]},
    {"logs": [log("first\n\nsecond\n")], "statuses": [{"id": "x"}]},
]
FAILED = [{"vertexes": [vertex(RUN, started=at(1), completed=at(4.5), error="process did not complete")]}]
TEXT = """Dockerfile:2
--------------------
   1 |     FROM alpine
   2 | >>> RUN make
--------------------
ERROR: target image-0: failed to solve: process "/bin/sh -c make" did not complete successfully: exit code: 2
"""


def stream(events: list[dict[str, Any]], style: Optional[int]) -> list[str]:
    """The events as buildx prints them: indented by ``style`` 2 by older ones, else one a line."""
    return [line for event in events for line in json.dumps(event, indent=style).splitlines()]


def read(lines: list[str], status: int = 0, names: Optional[dict[str, str]] = None) -> tuple[Any, list[str]]:
    told: list[str] = []
    reader = Reader(NAMES if names is None else names, Lines(told.append))
    for line in lines:
        reader.feed(line)
    return reader.outcome(status), told


@pytest.mark.parametrize("style", [None, 2])
def test_steps_are_told_once_with_the_images_name_and_their_time(style: Optional[int]) -> None:
    done = {"vertexes": [vertex(RUN, started=at(1), completed=at(4.5))]}
    outcome, told = read(stream([*STEPS, STEPS[1], done], style))
    assert told == [
        "[team/app:1 linux/arm64 2/2] RUN make",
        "[team/app:2 2/2] COPY a /",
        "[team/app:1 linux/arm64 2/2] RUN make, done in 3.5 s",
    ]
    assert (outcome.error, outcome.failed, outcome.line, outcome.message) == ("", None, None, "")
    assert outcome.seconds("image-0") == 4.0
    assert outcome.seconds("image-1") == 1.5
    assert outcome.seconds("image-2") == 0.0


@pytest.mark.parametrize("style", [None, 2])
def test_a_failure_has_its_step_its_line_and_its_last_words(style: Optional[int]) -> None:
    outcome, _ = read([*stream(STEPS + FAILED, style), *TEXT.splitlines()], status=1)
    assert outcome.failed.target == "image-0"
    assert outcome.failed.name == "[team/app:1 linux/arm64 2/2] RUN make"
    assert list(outcome.failed.log) == ["first", "second"]
    assert outcome.line == 2
    assert outcome.message == 'process "/bin/sh -c make" did not complete successfully: exit code: 2'


def test_a_step_that_another_ones_failure_ended_is_not_to_blame() -> None:
    ended = {"vertexes": [vertex("[image-1 2/2] COPY a /", 2, error="context canceled: context canceled")]}
    outcome, _ = read(stream([*STEPS, ended, *FAILED], None), status=1)
    assert outcome.failed.target == "image-0"


def test_a_build_that_succeeded_has_no_error_whatever_was_printed() -> None:
    outcome, _ = read(["WARNING: something is deprecated"])
    assert outcome.error == ""


@pytest.mark.parametrize("line", ["{", "{broken}", '{"vertexes": [', "{ no JSON at all"])
def test_what_only_looks_like_an_event_belongs_to_the_error(line: str) -> None:
    outcome, _ = read([line, "ERROR: it broke"], status=1)
    assert line in outcome.error
    assert outcome.message == "it broke"


def test_the_errors_of_a_registrys_answer_are_in_the_message() -> None:
    said = ["ERROR: target a: failed to solve: failed to push x: errors:"]
    unknown = "unknown: blob unknown to registry"
    outcome, _ = read([*said, unknown, unknown, "denied: no", ""], status=1)
    assert outcome.message == f"failed to push x: errors: {unknown}; denied: no"


def test_an_error_without_its_usual_start_is_the_last_line() -> None:
    outcome, _ = read(["unknown flag: --progress", "See 'docker buildx bake --help'.", ""], status=1)
    assert outcome.message == "See 'docker buildx bake --help'."
    assert read([], status=1)[0].message == ""


def test_only_the_end_of_a_long_output_is_kept() -> None:
    outcome, _ = read(stream([STEPS[1], {"logs": [log("".join(f"{n}\n" for n in range(100)))]}], None))
    (step,) = outcome.steps.values()
    assert list(step.log) == [str(number) for number in range(85, 100)]


def test_a_log_of_a_step_that_was_never_named_is_passed_over() -> None:
    read(stream([{"logs": [log("x", 77)]}, {"vertexes": None, "logs": None}, {}], None))


def test_with_one_image_steps_need_not_name_it() -> None:
    events = [
        {"vertexes": [vertex("[2/2] RUN make", started=at(1), completed=at(1)), vertex("exporting", 2)]}
    ]
    outcome, told = read(stream(events, None), names={"image-0": "team/app:1"})
    assert told == ["[team/app:1 2/2] RUN make"]
    assert {step.target for step in outcome.steps.values()} == {"image-0"}


@pytest.mark.parametrize(
    "name",
    [
        "[image-0 internal] load .dockerignore",
        "[internal] load local bake definitions",
        "[image-0 context base-0] load metadata",
        "[image-0 auth] team/app:pull,push token for registry.example.com",
    ],
)
def test_the_builders_own_steps_are_not_told(name: str) -> None:
    assert read(stream([{"vertexes": [vertex(name, started=at(1))]}], None))[1] == []


def test_a_long_step_is_told_in_one_short_line() -> None:
    name = "[image-0 2/2] RUN <<EOF\n" + "line\n" * 100
    _, told = read(stream([{"vertexes": [vertex(name, started=at(1))]}], None))
    assert len(told) == 1
    assert "\n" not in told[0]
    assert len(told[0]) == 160


class Watcher:
    """A listener with rows: it has no use for events of no image."""

    def __init__(self) -> None:
        self.seen: list[Event] = []
        self.told: list[str] = []

    def line(self, text: str) -> None:
        self.told.append(text)

    def event(self, event: Event) -> None:
        if event.image:
            self.seen.append(event)


def watched(*events: dict[str, Any], names: Optional[dict[str, str]] = None) -> tuple[list[Event], list[str]]:
    watcher = Watcher()
    reader = Reader(names or NAMES, watcher)
    for line in stream(list(events), None):
        reader.feed(line)
    return watcher.seen, watcher.told


def test_a_watcher_gets_steps_as_events_with_image_and_platform_and_no_lines() -> None:
    seen, told = watched(*STEPS, *FAILED)
    assert told == []
    assert seen == [
        Event("team/app:1", "linux/arm64", "started", "2/2 RUN make"),
        Event("team/app:2", "", "done", "2/2 COPY a /", 0.75),
        Event("team/app:1", "linux/arm64", "failed", "2/2 RUN make", 3.5),
    ]


def test_a_step_that_two_images_share_is_told_for_each_and_once_only() -> None:
    shared = [vertex(f"[image-{number} build 1/3] RUN make", started=at(1)) for number in (0, 1)]
    seen, _ = watched({"vertexes": shared}, {"vertexes": shared})
    assert seen == [Event(f"team/app:{n}", "", "started", "build 1/3 RUN make") for n in (1, 2)]


def test_a_step_on_the_builder_s_own_platform_belongs_to_the_platform_it_builds_for() -> None:
    seen, _ = watched({"vertexes": [vertex("[image-0 linux/amd64->arm/v7 tools 1/2] RUN cc", started=at(1))]})
    assert seen == [Event("team/app:1", "linux/arm/v7", "started", "tools 1/2 RUN cc")]


def test_a_step_that_another_one_s_failure_cancelled_is_not_told_as_failed() -> None:
    cancelled = vertex(RUN, started=at(1), completed=at(2), error="Canceled: context canceled")
    assert watched({"vertexes": [cancelled]})[0] == []


def test_with_one_image_steps_without_a_target_are_that_image_s() -> None:
    one = {"image-0": "team/app:1"}
    seen, _ = watched({"vertexes": [vertex("exporting to image", started=at(1))]}, names=one)
    assert seen == [Event("team/app:1", "", "started", "exporting to image")]


EXPORT = "[image-0] exporting to image"
DIGEST = f"sha256:{'a' * 64}"
PUSHES = [
    {"vertexes": [vertex(EXPORT, 7, started=at(1))]},
    {
        "statuses": [
            {"id": f"pushing manifest for registry.example/a:{tag}@{DIGEST}", "vertex": f"sha256:{7:064x}"}
            for tag in (1, 2)
        ]
    },
]


@pytest.mark.parametrize("style", [None, 2])
@pytest.mark.parametrize(
    ("end", "pushed"),
    [
        ({"completed": at(2)}, {f"registry.example/a:{tag}": DIGEST for tag in (1, 2)}),
        # BuildKit tells of a manifest as completed when it could not be pushed, too.
        ({"completed": at(2), "error": "failed to push"}, {}),
        ({}, {}),
    ],
)
def test_what_was_pushed_is_known_once_its_step_has_ended_well(
    style: Optional[int], end: dict[str, Any], pushed: dict[str, str]
) -> None:
    reader = Reader(NAMES, Lines(print))
    ended = {"vertexes": [vertex(EXPORT, 7, started=at(1), **end)]}
    for line in stream([*PUSHES, ended], style):
        reader.feed(line)
    assert reader.pushed("image-0") == pushed
    assert reader.pushed("image-1") == {}


@pytest.mark.parametrize(
    "before",
    [
        "",
        "target image-0: failed to solve: ",
        "failed to run Build function: ",
        "target image-0: failed to run Build function: failed to solve: ",
        "failed to solve: target image-0: ",
        "failed to build: failed to solve: rpc error: code = Unknown desc = ",
    ],
)
def test_what_every_error_starts_with_is_not_in_its_message(before: str) -> None:
    outcome, _ = read([f"ERROR: {before}failed to push: no"], status=1)
    assert outcome.message == "failed to push: no"


@pytest.mark.parametrize("begin", ["", "{"], ids=["text", "an object"])
def test_of_what_has_no_end_the_beginning_and_the_end_are_kept(begin: str) -> None:
    reader = Reader(NAMES, Lines(print))
    tracemalloc.start()
    try:
        reader.feed(f"{begin}the beginning")
        for number in range(5_000):
            reader.feed(" " * 10_000 + str(number))
        reader.feed("ERROR: the end")
        outcome = reader.outcome(1)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 25_000_000
    assert len(outcome.error) < 1_000_000
    assert outcome.error.startswith(f"{begin}the beginning")
    assert outcome.message == "the end"
