# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What fails for a while is tried again: the one loop for it, and after which pauses, for how long."""

from __future__ import annotations

import time
from typing import Callable, Optional, TypeVar

_T = TypeVar("_T")
_Error = TypeVar("_Error", bound=Exception)


def patiently(
    call: Callable[[], _T],
    kind: type[_Error],
    pause: Callable[[_Error], Optional[float]],
    *,
    tell: Callable[[_Error, float], object] = lambda error, seconds: None,
    wait: Callable[[float], object] = time.sleep,
) -> _T:
    """The result of ``call()``, which is called again while it raises an error of ``kind`` that may pass.

    ``pause`` gives the seconds to wait after an error, or ``None`` where it is to be raised: it judges
    whether the error may pass, and knows what a server asked for (see ``Patience.pause``). ``tell`` hears
    of each error that is not raised, and of the seconds. ``wait`` waits; what it raises, because
    somebody cancelled the work, ends the tries.
    """
    while True:
        try:
            return call()
        except kind as error:
            seconds = pause(error)
            if seconds is None:
                raise
            tell(error, seconds)
        wait(seconds)


class Patience:
    """Pauses that double from ``first`` to ``longest`` seconds, until ``seconds`` have passed.

    They are counted from the first failure, however long the work before it took. The last pause ends
    with them, so that the whole time is used. With ``tries`` there are not more of these, the first included.
    """

    def __init__(
        self,
        seconds: float,
        *,
        first: float,
        longest: float,
        tries: Optional[int] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._next = first
        self._longest = longest
        self._tries = tries
        self._clock = clock
        self._start: Optional[float] = None

    def pause(self, asked: float = 0.0, limit: Optional[float] = None) -> Optional[float]:
        """Seconds to wait before the next try, ``None`` when there is to be none.

        ``asked`` is the least that a server asks for; ``limit`` takes the place of a longer ``seconds``.
        """
        if self._start is None:
            self._start = self._clock()
        if self._tries is not None:
            self._tries -= 1
            if self._tries <= 0:
                return None
        seconds = self._seconds if limit is None else min(self._seconds, limit)
        left = self._start + seconds - self._clock()
        if left <= 0 or asked > left:
            return None
        wait = max(asked, min(self._next, left))
        self._next = min(2 * self._next, self._longest)
        return wait
