# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A real server for single files: Basic logins, redirects, statuses that pass, answers that break off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Optional

from tests.support.background_server import in_background
from tests.support.http import encoded_account, speak_tls
from tests.support.registry import make_certificate

_CHUNK = 1 << 20


@dataclass
class FileServer:
    """A running server of the files in ``folder``. Its behaviour may be changed meanwhile.

    ``failing`` are statuses that the next requests get, one each. ``redirects`` maps paths to where
    they are sent. ``broken`` is how many of the next answers end after half of the file.
    ``requests`` are the path and the Authorization header of what was asked so far.
    """

    url: str
    folder: Path
    username: str = ""
    password: str = ""
    failing: list[int] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    broken: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)

    @property
    def authorization(self) -> str:
        """The header that lets a request in."""
        return f"Basic {encoded_account(self.username, self.password)}"


@contextmanager
def file_server(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    username: str = "",
    password: str = "",
    tls: Optional[Path] = None,
) -> Iterator[FileServer]:
    """Serve ``folder`` over HTTP; the account is asked for where ``password`` is given.

    ``tls`` is a folder in which a CA (``ca.crt``) and a certificate of it are made.
    """

    class Handler(_Handler):
        site: FileServer

    server = ThreadingHTTPServer((host, 0), Handler)
    if tls:
        tls.mkdir(parents=True, exist_ok=True)
        make_certificate(tls, host)
        speak_tls(server, tls / "server.crt", tls / "server.key")
    url = f"{'https' if tls else 'http'}://{host}:{server.server_port}"
    Handler.site = FileServer(url, folder, username, password)
    with in_background(server):
        yield Handler.site


class _Handler(BaseHTTPRequestHandler):
    site: FileServer

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are recorded, not printed."""

    def do_GET(self) -> None:
        site, given = self.site, self.headers.get("Authorization", "")
        site.requests.append((self.path, given))
        self.close_connection = True
        file = site.folder / self.path.lstrip("/")
        if site.failing:
            self._answer(site.failing.pop(0))
        elif self.path in site.redirects:
            self._answer(302, Location=site.redirects[self.path])
        elif site.password and given != site.authorization:
            self._answer(401, WWW_Authenticate='Basic realm="tests"')
        elif not file.is_file():
            self._answer(404)
        else:
            self._send(file)

    def _send(self, path: Path) -> None:
        size = path.stat().st_size
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        left = size
        if self.site.broken:
            self.site.broken -= 1
            left = size // 2
        with path.open("rb") as file:
            while left and (chunk := file.read(min(left, _CHUNK))):
                self.wfile.write(chunk)
                left -= len(chunk)

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": "0", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
