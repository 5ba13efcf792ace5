# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import io

from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Lines
from rich.console import Console

from image_builder.terminal import live


def test_without_a_terminal_there_are_plain_lines_only() -> None:
    file = io.StringIO()
    with live.shown(Console(file=file)) as listener:
        listener.line("fetching")
        assert isinstance(listener, Lines)
    assert file.getvalue().endswith("fetching\n")
    assert "\x1b" not in file.getvalue()
