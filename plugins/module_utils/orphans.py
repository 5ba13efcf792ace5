# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""No program outlives the one that started it, not even where that is killed without a word (SIGKILL).

``PR_SET_PDEATHSIG`` would not do: it fires at the end of the thread that started the program, reaches only
the program itself, and must be set between fork and exec, which is not safe beside other threads.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import Optional

# Waits for a word or for the end of its input, which comes with the end of whoever could say one. Then it
# ends the process group: first a request, then, after five seconds, force.
_WATCHMAN = """
read -r word && exit
kill -s TERM -- "-$1" || exit
for _ in 1 2 3 4 5; do
    sleep 1
    kill -s 0 -- "-$1" || exit
done
kill -s KILL -- "-$1"
"""


class Watchman:
    """Ends the process group ``group`` should this process come to its end before ``dismiss`` is called.

    Where the machine has no shell there is none, and nobody is watched.
    """

    def __init__(self, group: int) -> None:
        self._ours: Optional[int] = None
        theirs, ours = os.pipe()
        try:
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHMAN, "watchman", str(group)],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": os.defpath},
                start_new_session=True,
            )
            self._ours = ours
        except OSError:
            os.close(ours)
        finally:
            os.close(theirs)

    def dismiss(self) -> None:
        """Watch no longer. To be called when the group has ended; more than once does nothing."""
        ours, self._ours = self._ours, None
        if ours is None:
            return
        with suppress(OSError):
            os.write(ours, b"dismissed\n")
        os.close(ours)
        self._shell.wait()
