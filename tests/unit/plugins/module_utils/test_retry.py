# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The pauses between tries, by a clock that the tests move."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.sodalite.image_builder.plugins.module_utils.retry import Patience


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def pauses(clock: Clock, patience: Patience, *, busy: float = 0.0, **arguments: float) -> list[float]:
    """All pauses until there is to be none, where each try takes ``busy`` seconds."""
    made = []
    clock.now += busy
    while (pause := patience.pause(**arguments)) is not None:
        made.append(pause)
        clock.now += pause + busy
    return made


def test_pauses_grow_and_fill_the_whole_time() -> None:
    clock = Clock()
    made = pauses(clock, Patience(60, first=2, longest=20, clock=clock))
    assert made == [2, 4, 8, 16, 20, 10]
    assert clock.now == 160


def test_tries_that_take_long_leave_less_to_wait_for() -> None:
    clock = Clock()
    assert pauses(clock, Patience(10, first=2, longest=20, clock=clock), busy=3) == [2, 4]


def test_the_time_counts_from_the_first_failure_however_long_the_work_took() -> None:
    clock = Clock()
    patience = Patience(60, first=2, longest=20, clock=clock)
    clock.now += 600
    assert pauses(clock, patience) == [2, 4, 8, 16, 20, 10]


def test_no_time_is_no_second_try() -> None:
    clock = Clock()
    assert pauses(clock, Patience(0, first=2, longest=20, clock=clock)) == []


def test_what_a_server_asks_for_is_the_least_pause_and_a_longer_wait_is_not_begun() -> None:
    clock = Clock()
    patience = Patience(60, first=1, longest=20, clock=clock)
    assert patience.pause(asked=50) == 50
    clock.now += 50
    assert patience.pause(asked=11) is None
    assert patience.pause(asked=10) == 10


def test_a_limit_counts_only_where_it_is_shorter() -> None:
    clock = Clock()
    assert pauses(clock, Patience(60, first=1, longest=20, clock=clock), limit=3) == [1, 2]
    assert pauses(clock, Patience(2, first=1, longest=20, clock=clock), limit=3) == [1, 1]
