# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Trying again, and the pauses between tries, by a clock that the tests move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import Cancelled
from ansible_collections.sodalite.image_builder.plugins.module_utils.retry import Patience, patiently


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


def test_a_number_of_tries_ends_them_before_their_time_does() -> None:
    clock = Clock()
    assert pauses(clock, Patience(600, first=1, longest=4, tries=5, clock=clock)) == [1, 2, 4, 4]
    assert pauses(clock, Patience(600, first=1, longest=4, tries=1, clock=clock)) == []
    assert pauses(clock, Patience(3, first=1, longest=4, tries=5, clock=clock)) == [1, 2]


class Busy(Exception):
    """What may pass after ``seconds``; what does not has none."""

    def __init__(self, seconds: Optional[float]) -> None:
        self.seconds = seconds


def failing(*errors: Exception) -> Callable[[], str]:
    """Raises each error in turn, and then gives a result."""
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return call


def test_what_may_pass_is_tried_again_and_told_before_each_pause() -> None:
    happened: list[object] = []
    first, second = Busy(1), Busy(2)
    done = patiently(
        failing(first, second),
        Busy,
        lambda error: error.seconds,
        tell=lambda error, seconds: happened.append((error, seconds)),
        wait=happened.append,
    )
    assert (done, happened) == ("done", [(first, 1), 1, (second, 2), 2])


def test_what_does_not_pass_is_raised_without_a_pause() -> None:
    waited: list[float] = []
    with pytest.raises(Busy):
        patiently(failing(Busy(None)), Busy, lambda error: error.seconds, wait=waited.append)
    with pytest.raises(KeyError):
        patiently(failing(KeyError()), Busy, lambda error: 1.0, wait=waited.append)
    assert waited == []


def test_who_cancels_a_pause_ends_the_tries() -> None:
    def wait(seconds: float) -> None:
        raise Cancelled()

    tried = failing(Busy(1), KeyError())
    with pytest.raises(Cancelled):
        patiently(tried, Busy, lambda error: error.seconds, wait=wait)
    with pytest.raises(KeyError):
        tried()
