# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The same done for several things side by side, where each waits for somebody else."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, TypeVar

_T = TypeVar("_T")
_Item = TypeVar("_Item")

#: How many are done at a time.
AT_ONCE = 8


def in_parallel(call: Callable[[_Item], _T], items: Iterable[_Item], at_once: int = AT_ONCE) -> list[_T]:
    """``call`` of each of ``items``, at most ``at_once`` at a time; the results are in the same order.

    The error of the first of them that fails is raised, and what was not begun is left undone. What is under
    way then, or when this thread is interrupted, is not waited for: who owns what the calls wait for, such
    as a ``Registry``, ends them by closing it.
    """
    given = list(items)
    if len(given) < 2:
        return [call(item) for item in given]
    pool = ThreadPoolExecutor(min(at_once, len(given)))
    try:
        return [future.result() for future in [pool.submit(call, item) for item in given]]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
