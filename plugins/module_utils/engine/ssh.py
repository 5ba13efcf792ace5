# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""An engine that is reached by ssh, as Docker's own programs reach it.

Source: docker/cli ``cli/connhelper``. The docker package wants paramiko for it, which distributions do
not bring along with it, and its way by the ssh program has no time limit.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Optional
from urllib.parse import urlsplit

_CONNECT_SECONDS = 15
_END_SECONDS = 2.0


class Dial:
    """The way to an engine, open within ``dial``: ``socket_path`` answers as the engine's own socket.

    ``command`` is what people can try by hand.
    """

    def __init__(self, argv: list[str], folder: str, words: IO[bytes]) -> None:
        self._argv = argv
        self.command = shlex.join(argv)
        self._words = words
        self._child: Optional[subprocess.Popen[bytes]] = None
        self._listening = socket.socket(socket.AF_UNIX)
        # A socket's path has at most 107 characters, and the folder's may have more.
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self.socket_path = f"/proc/self/fd/{self._folder}/docker.sock"
        self._listening.bind(self.socket_path)
        self._listening.listen(1)
        self._thread = threading.Thread(target=self._connect, daemon=True)
        self._thread.start()

    def _connect(self) -> None:
        """Give the first connection to ssh, as the input and output of the far side's program."""
        with suppress(OSError):
            connection, _ = self._listening.accept()
            with connection:
                self._child = subprocess.Popen(
                    self._argv,
                    stdin=connection.fileno(),
                    stdout=connection.fileno(),
                    stderr=self._words,
                    env={**os.environ, "SSH_ASKPASS_REQUIRE": "never"},
                    start_new_session=True,
                )

    def last_words(self) -> str:
        """What ssh has said at last, empty for nothing; it has ended, or is given a moment to."""
        self._end(kill=False)
        self._words.seek(0)
        lines = self._words.read(65536).decode(errors="replace").split("\n")
        return next(
            (line.strip().removeprefix("ssh: ").rstrip(".") for line in reversed(lines) if line.strip()), ""
        )

    def _end(self, *, kill: bool) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(_END_SECONDS)
        if self._child is not None:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(0 if kill else _END_SECONDS)
                return
            if kill:
                self._child.kill()
                self._child.wait()

    def close(self) -> None:
        """End ssh."""
        self._end(kill=True)
        self._listening.close()
        os.close(self._folder)


@contextmanager
def dial(url: str) -> Iterator[Dial]:
    """Reach the engine of ``url`` (``ssh://[user@]host[:port][/socket]``) for one connection.

    ssh asks for nothing: not for a password, and not whether to trust a host. Raises ``ValueError``
    for a URL that cannot be used, and where there is no ssh program.
    """
    argv = command(url)
    if shutil.which(argv[0]) is None:
        raise ValueError("the ssh command is missing")
    with (
        tempfile.TemporaryDirectory(prefix="image-builder-ssh-") as folder,
        tempfile.TemporaryFile() as words,
    ):
        way = Dial(argv, folder, words)
        try:
            yield way
        finally:
            way.close()


def command(url: str) -> list[str]:
    """The ssh command that gives the engine of ``url``. Raises ``ValueError``."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("it names no host")
    if parts.password is not None:
        raise ValueError("it has a password, which ssh does not take")
    if parts.query or parts.fragment:
        raise ValueError("it has more than a user, a host, a port and a socket")
    remote = ["docker"]
    if parts.path.strip("/"):
        remote += ["--host", f"unix://{parts.path}"]
    argv = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_SECONDS}", "-T"]
    if parts.username:
        argv += ["-l", parts.username]
    if parts.port:
        argv += ["-p", str(parts.port)]
    # ``hostname`` is in lower case; the sections of ssh's configuration are told apart by case.
    begin = parts.netloc.lower().rindex(parts.hostname)
    host = parts.netloc[begin : begin + len(parts.hostname)]
    return [*argv, "--", host, shlex.join([*remote, "system", "dial-stdio"])]
