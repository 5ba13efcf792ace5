# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import errno
from collections.abc import Callable
from typing import NoReturn

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import BuilderError, Cancelled
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Event
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.guarded_listener import (
    GuardedListener,
)


class Raising:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def line(self, text: str) -> NoReturn:
        raise self.error

    def event(self, event: Event) -> NoReturn:
        raise self.error


def raised_for(error: BaseException) -> BaseException:
    """What arrives of ``error``, which is the same for a line and an event."""
    listener = GuardedListener(Raising(error))
    calls: list[Callable[[], None]] = [
        lambda: listener.line("x"),
        lambda: listener.event(Event("", "", "started")),
    ]
    arrived = []
    for call in calls:
        try:
            call()
        except BaseException as raised:
            arrived.append(raised)
    first, second = arrived
    assert (type(first), str(first)) == (type(second), str(second))
    return first


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ZeroDivisionError("the database is gone"), "listener_failed", "the database is gone"),
        (KeyError(), "listener_failed", "KeyError"),
        (OSError(errno.ENOSPC, "No space left"), "disk_full", "disk is full"),
    ],
)
def test_what_a_listener_raises_is_an_error_that_is_explained(error: Exception, code: str, text: str) -> None:
    arrived = raised_for(error)
    assert isinstance(arrived, BuilderError)
    assert arrived.code == code
    assert text in str(arrived)


@pytest.mark.parametrize(
    "error", [BuilderError("stopped", "Enough."), Cancelled(), KeyboardInterrupt()], ids=repr
)
def test_errors_of_the_tree_and_interrupts_arrive_as_they_are(error: BaseException) -> None:
    assert raised_for(error) is error
