# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""How long, and after which pauses, what fails for a while is tried again."""

from __future__ import annotations

import time
from typing import Callable, Optional


class Patience:
    """Pauses that double from ``first`` to ``longest`` seconds, until ``seconds`` have passed.

    They are counted from the first failure, however long the work before it took. The last pause ends
    with them, so that the whole time is used.
    """

    def __init__(
        self, seconds: float, *, first: float, longest: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._next = first
        self._longest = longest
        self._clock = clock
        self._start: Optional[float] = None

    def pause(self, asked: float = 0.0, limit: Optional[float] = None) -> Optional[float]:
        """Seconds to wait before the next try, ``None`` when there is to be none.

        ``asked`` is the least that a server asks for; ``limit`` takes the place of a longer ``seconds``.
        """
        if self._start is None:
            self._start = self._clock()
        seconds = self._seconds if limit is None else min(self._seconds, limit)
        left = self._start + seconds - self._clock()
        if left <= 0 or asked > left:
            return None
        wait = max(asked, min(self._next, left))
        self._next = min(2 * self._next, self._longest)
        return wait
