# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Things done side by side: in order, bounded, and not waited for by whoever gives up."""

from __future__ import annotations

import threading
import time

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.parallel import in_parallel

from tests.support.interrupts import interrupting


def test_the_results_are_in_the_order_of_the_items_and_so_many_are_under_way_at_a_time() -> None:
    together = threading.Barrier(4)

    def wait(item: int) -> int:
        together.wait(20)
        return item

    assert in_parallel(wait, range(8), at_once=4) == list(range(8))
    open_now, most, lock = 0, 0, threading.Lock()

    def count(item: int) -> None:
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)
        time.sleep(0.005)
        with lock:
            open_now -= 1

    in_parallel(count, range(40), at_once=3)
    assert most == 3


def test_the_error_is_that_of_the_first_item_that_fails_whichever_fails_sooner() -> None:
    second_failed, begun = threading.Event(), []

    def fail(item: int) -> None:
        begun.append(item)
        if item == 1:
            second_failed.set()
            raise ValueError("second")
        if item == 0:
            assert second_failed.wait(20)
            raise ValueError("first")
        threading.Event().wait(0.01)

    with pytest.raises(ValueError, match="first"):
        in_parallel(fail, range(1000), at_once=2)
    assert len(begun) < 1000


def test_an_interrupt_does_not_wait_for_what_is_under_way() -> None:
    class Interrupt(Exception):
        pass

    def wait(item: int) -> None:
        under_way.wait(20)
        released.wait(60)

    under_way = threading.Barrier(3)
    with interrupting(Interrupt, under_way) as released:
        with pytest.raises(Interrupt):
            in_parallel(wait, range(8), at_once=2)
        assert not released.is_set()
