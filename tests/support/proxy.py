# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A real HTTP proxy for tests, tinyproxy, which keeps a log of what it was asked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.engine import program
from tests.support.registry import free_port
from tests.support.ssh_server import running

USERNAME, PASSWORD = "passer-by", "pass-word"
_REQUEST = re.compile(r"Request \(file descriptor \d+\): (\S+) (\S+) HTTP/")


@dataclass(frozen=True)
class Proxy:
    """A running proxy at ``address`` (``host:port``), which lets ``USERNAME`` in with ``PASSWORD``."""

    address: str
    log: Path

    @property
    def url(self) -> str:
        """What ``http_proxy`` is set to."""
        return f"http://{USERNAME}:{PASSWORD}@{self.address}"

    def requests(self) -> list[tuple[str, str]]:
        """The method and the target of each request so far."""
        return _REQUEST.findall(self.log.read_text(errors="replace"))


@contextmanager
def http_proxy(folder: Path, host: str = "127.0.0.1") -> Iterator[Proxy]:
    """Run a proxy that keeps its files in ``folder``."""
    folder.mkdir()
    port = free_port(host)
    lines = [
        f"Port {port}",
        f"Listen {host}",
        "Timeout 60",
        f'LogFile "{folder / "requests.log"}"',
        "LogLevel Connect",
        f"BasicAuth {USERNAME} {PASSWORD}",
    ]
    (folder / "tinyproxy.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    arguments = [program("tinyproxy"), "-d", "-c", str(folder / "tinyproxy.conf")]
    with running(arguments, host, port, folder / "output.log", {"PATH": os.environ["PATH"]}):
        yield Proxy(f"{host}:{port}", folder / "requests.log")
