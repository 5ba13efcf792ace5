# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What the modules of this collection share: errors to results, signals to cancellation, progress.

The program that started a module may name a file for progress lines and processes whose
end cancels the work, in environment variables (see the action plugins).
"""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible.module_utils import basic
from ansible.module_utils.basic import missing_required_lib

from .errors import BuilderError, from_os_error
from .listener import Lines, Listener
from .network import file_url
from .process import cancellable

__all__ = ["AnsibleModule", "opened"]


class AnsibleModule(basic.AnsibleModule):  # type: ignore[misc]
    """Ansible's own, which logs and shows nothing of what follows a ``?`` in the addresses of a source.

    That can be a token. The option itself is no secret: its value would be masked wherever it is told of.
    """

    def _load_params(self) -> None:
        # Before they are checked, since a module that is called wrongly shows them, too.
        super()._load_params()
        self.no_log_values.update(_queries(self.params.get("source")))


def _queries(given: Any) -> Iterator[str]:
    for part in given.values() if isinstance(given, dict) else ():
        url = part.get("url") if isinstance(part, dict) else None
        if isinstance(url, str) and (query := url[len(file_url.shown(url)) + 1 :]):
            yield query


@contextmanager
def opened(module: AnsibleModule, phase: str = BuilderError.phase) -> Iterator[Listener]:
    """Do a module's work inside: gives the listener that writes progress to the file, line by line.

    A ``BuilderError`` ends the module with ``msg`` and the structured ``error``, redacted. ``phase`` is that
    of errors of the operating system. Without the docker package it ends with Ansible's sentence for that.
    """
    watched = [int(word) for word in os.environ.get("IMAGE_BUILDER_WATCHED", "").split()]
    path = os.environ.get("IMAGE_BUILDER_PROGRESS")

    def write(line: str) -> None:
        if path:
            append(path, line)

    try:
        with cancellable(watched):
            yield Lines(write)
    except BuilderError as error:
        module.fail_json(msg=str(error), error=error.to_dict())
    except ImportError:
        # One of its own is missing only where the package itself is, or is too old for this Python.
        module.fail_json(msg=missing_required_lib("docker"), exception=traceback.format_exc())
    except OSError as error:
        explained = from_os_error(error, phase)
        module.fail_json(msg=str(explained), error=explained.to_dict())


def append(path: str, line: str) -> None:
    """Add ``line`` to the file, or the named pipe, of that ``path``.

    A file that cannot be written is no reason to stop building, nor is a pipe that is full: neither is waited
    for. Raises ``BuilderError`` where a pipe's reader has gone.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666)
        try:
            os.write(handle, f"{line}\n".encode())
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.EPIPE):
            raise BuilderError(
                "listener_failed",
                "Progress could not be reported: nobody reads it any more.",
                hint="Run it again.",
            ) from None
