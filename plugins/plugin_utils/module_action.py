# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What the action plugins of this collection share: the way from a playbook to a module and back.

A module knows nothing of the program that started it. Here, on the controller, the module
is told where to write its progress and whose end means that nobody waits for it any more;
its progress and its error are shown; and its result is written for a program that asked.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible import constants as C
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.argument_spec import PARTS
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.left_out import (
    left_out,
    without_left_out,
)

PROGRESS = "IMAGE_BUILDER_PROGRESS"
RESULT = "IMAGE_BUILDER_RESULT"
WATCHED = "IMAGE_BUILDER_WATCHED"

_POLL_SECONDS = 0.2

display = Display()


def fail_readably(task: str, result: dict[str, Any]) -> None:
    """Show the failure of ``task`` where the stdout callback hides it: opera prints its JSON only in part."""
    if result.get("failed") and _output_is_data():
        display.error(f"Task '{task}': {result.get('msg', 'failed without a message')}", wrap_text=False)


def _output_is_data() -> bool:
    return "json" in str(C.DEFAULT_STDOUT_CALLBACK)


class ModuleAction(ActionBase):  # type: ignore[misc]
    """Runs the module of the same name with progress, cancellation and readable failures."""

    _supports_async = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """Run the module. The result is the module's own."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        if self._connection.transport == "local":
            with _progress_shown() as path:
                self._set_environment({PROGRESS: path, WATCHED: _watched()})
                result.update(self._execute_module(module_args=self._arguments(), task_vars=task_vars))
        else:
            result.update(self._execute_module(module_args=self._arguments(), task_vars=task_vars))
        fail_readably(self._task.name, result)
        write_result(result)
        return result

    def _arguments(self) -> dict[str, Any]:
        """The module's arguments, without those and the keys of the document that are left out."""
        return {
            name: without_left_out(value, PARTS.get(name, {}))
            for name, value in self._task.args.items()
            if not left_out(name, value, PARTS.get(name, {}))
        }

    def _set_environment(self, variables: dict[str, str]) -> None:
        given = self._task.environment or []
        self._task.environment = [*(given if isinstance(given, list) else [given]), variables]


def _watched() -> str:
    """The processes whose end cancels the work: ansible-playbook, and opera if it started that."""
    playbook = os.getppid()
    pids = [playbook]
    try:
        with open(f"/proc/{playbook}/stat", encoding="utf-8", errors="replace") as file:
            parent = int(file.read().rpartition(")")[2].split()[1])
        with open(f"/proc/{parent}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except (OSError, ValueError, IndexError):
        return str(playbook)
    if any(os.path.basename(word) == b"opera" for word in words[:3]):
        pids.append(parent)
    return " ".join(map(str, pids))


@contextmanager
def _progress_shown() -> Iterator[str]:
    """A file for progress lines, shown as they come unless a caller reads the file it named."""
    if os.environ.get(PROGRESS) or _output_is_data():
        yield os.environ.get(PROGRESS, "")
        return
    finished = threading.Event()
    # A file without a name, so that nothing of it stays when this process is killed.
    with tempfile.TemporaryFile("r", encoding="utf-8", errors="replace") as file:

        def show() -> None:
            while True:
                last = finished.wait(_POLL_SECONDS)
                for line in file.read().splitlines():
                    display.display("  " + line)
                if last:
                    return

        reader = threading.Thread(target=show, daemon=True)
        reader.start()
        try:
            yield f"/proc/{os.getpid()}/fd/{file.fileno()}"
        finally:
            finished.set()
            reader.join()


def write_result(result: dict[str, Any]) -> None:
    """Write the images, or the failure, to the file that a program asked for in the environment."""
    path = os.environ.get(RESULT)
    if path and ("images" in result or result.get("failed")):
        content = {key: value for key, value in result.items() if not key.startswith("_")}
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2, default=str)
