# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The command line."""

from __future__ import annotations


def main() -> int:
    """Run the command that the arguments name; the exit status."""
    return 0
