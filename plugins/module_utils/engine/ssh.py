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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..network.failure import Failure
from ..process import Child, undisturbed
from .endpoint import Endpoint

if TYPE_CHECKING:
    from ..network.connection import Dial

_CONNECT_SECONDS = 15
_END_SECONDS = 2.0


@contextmanager
def dial(endpoint: Endpoint) -> Iterator[Dial]:
    """What connects to the engine of an ``ssh://[user@]host[:port][/socket]``, once, within this context.

    ssh asks for nothing: not for a password, and not whether to trust a host. Raises ``ValueError``
    for a URL that cannot be used, and where there is no ssh program. Where the exchange ends with
    ``Failure`` and ssh says why, that becomes an ``EngineError``.
    """
    argv = command(endpoint.url)
    if shutil.which(argv[0]) is None:
        raise ValueError("the ssh command is missing")
    children: list[Child] = []
    with tempfile.TemporaryFile() as words:

        def connect() -> socket.socket:
            ours, theirs = socket.socketpair()
            with theirs, undisturbed():
                child = Child(
                    argv,
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=words,
                    env={**os.environ, "SSH_ASKPASS_REQUIRE": "never"},
                )
                children.append(child)
            return ours

        try:
            yield connect
        except Failure:
            for child in children:
                with suppress(subprocess.TimeoutExpired):
                    child.program.wait(_END_SECONDS)
            words.seek(0)
            said = words.read(65536).decode(errors="replace").strip().rpartition("\n")[2]
            if not said:
                raise
            hint = f"See that this works and asks for nothing: {shlex.join(argv)}"
            why = said.strip().removeprefix("ssh: ").rstrip(".")
            raise endpoint.unreachable(f"ssh failed: {why}", hint) from None
        finally:
            for child in children:
                child.end(0.0)


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
