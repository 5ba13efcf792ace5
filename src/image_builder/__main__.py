# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The program ``image-builder``, also as ``python -m image_builder``."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Run the command that the program's arguments name; ends with ``SystemExit``.

    While no work is done (see ``cancellable``) an interrupt ends the program at once, and without a word:
    also while it imports what the command needs.
    """
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))
    from image_builder.cli import main as run

    run()


if __name__ == "__main__":
    main()
