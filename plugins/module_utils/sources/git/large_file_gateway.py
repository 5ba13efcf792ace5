# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What Git LFS asks in place of a server of large files, so that each address is judged that it leads to.

A server of large files tells for each of them an address to fetch it from, whatever that is, and Git LFS
would ask there, by way of redirects, too. Here stands a server on this machine, for the length of one fetch,
which passes the questions on by our own HTTP layer and hands the files on.

Source of what they say to each other: git-lfs, docs/api/batch.md and basic-transfers.md.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Optional
from urllib.parse import urlsplit

from ...network.failure import Failure
from ...network.http import HttpClient
from ...network.reach import Nearness
from ...network.tls import SYSTEM, Tls
from ...policy import Reach

_TYPE = "application/vnd.git-lfs+json"
_LONGEST_QUESTION = 8 << 20
_LONGEST_ANSWER = 32 << 20
_MOST_FILES = 1_000_000
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Server:
    """A server of large files: its address, the login for it, and how near to this machine it may lead.

    ``headers`` are those that whoever named it wants to be sent there.
    """

    address: str
    login: Optional[tuple[str, str]]
    nearest: Nearness
    headers: Mapping[str, str] = field(default_factory=dict)


class Gateway:
    """What is known of one fetch: where Git LFS asks (``url``), and why something was ``refused``."""

    def __init__(self, server: Server, client: HttpClient, url: str) -> None:
        self.url = url
        self.refused: list[str] = []
        self._server = server
        self._client = client
        self._lock = threading.Lock()
        self._files: list[tuple[str, dict[str, str], Nearness]] = []

    def batch(self, question: bytes) -> tuple[int, bytes]:
        """The answer to the question where files are: its status and what Git LFS gets of it.

        Raises ``Failure`` and ``ValueError``.
        """
        asked = json.loads(question)
        asked["transfers"] = ["basic"]
        headers = {**self._server.headers, "Accept": _TYPE, "Content-Type": _TYPE}
        if self._server.login:
            account = base64.b64encode(":".join(self._server.login).encode()).decode()
            headers["Authorization"] = f"Basic {account}"
        url = f"{self._server.address.rstrip('/')}/objects/batch"
        tls = Tls(nearest=self._server.nearest)
        with self._client.request(
            "POST", url, headers, json.dumps(asked).encode(), tls, self._onward
        ) as answer:
            if answer.status != 200:
                return answer.status, b""
            told = json.loads(answer.read_all(_LONGEST_ANSWER))
            nearest = min(answer.nearest, self._server.nearest)
        told["transfer"] = "basic"
        for entry in told["objects"]:
            action = entry.get("actions", {}).get("download")
            if action is not None:
                entry["actions"] = {"download": {"href": self._remember(action, nearest)}}
        return 200, json.dumps(told).encode()

    def _remember(self, action: Mapping[str, Any], nearest: Nearness) -> str:
        href, headers = str(action["href"]), action.get("header") or {}
        try:
            self._onward(self._server.address, href)
        except ValueError as error:
            self.refused.append(f"the server leads {error}")
            raise
        with self._lock:
            if len(self._files) >= _MOST_FILES:
                raise ValueError("there are too many files")
            self._files.append((href, {str(name): str(text) for name, text in headers.items()}, nearest))
            return f"{self.url}/files/{len(self._files) - 1}"

    @contextmanager
    def file(self, number: int, wanted: str) -> Iterator[Any]:
        """The answer that brings file ``number``, from the range ``wanted`` on. Raises ``Failure``."""
        href, headers, nearest = self._files[number]
        headers = {**headers, "Range": wanted} if wanted else headers
        with self._client.request("GET", href, headers, b"", Tls(nearest=nearest), self._onward) as answer:
            yield answer

    def _onward(self, current: str, following: str) -> Tls:
        """Judges where an answer leads: by its scheme here, by its addresses when they are connected to."""
        allowed = ("https",) if urlsplit(current).scheme == "https" else ("https", "http")
        if urlsplit(following).scheme not in allowed or not urlsplit(following).hostname:
            raise ValueError(f"to what is not {' or '.join(allowed)}")
        return SYSTEM


@contextmanager
def gateway(server: Server, reach: Reach, seconds: float) -> Iterator[Gateway]:
    """A gateway to ``server`` that connects only to what ``reach`` allows, for the length of the block."""

    class Handler(_Handler):
        site: Gateway

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    with HttpClient(body_seconds=seconds, reach=reach) as client:
        # Others on this machine do not know the name.
        url = f"http://127.0.0.1:{listening.server_port}/{secrets.token_hex(16)}"
        Handler.site = Gateway(server, client, url)
        thread.start()
        try:
            yield Handler.site
        finally:
            listening.shutdown()
            thread.join()
            listening.server_close()


class _Handler(BaseHTTPRequestHandler):
    site: Gateway
    timeout = 60

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is printed."""

    def do_POST(self) -> None:
        if self._asked() != "objects/batch":
            self._tell(404, "There is no such thing here.")
            return
        try:
            size = min(int(self.headers.get("Content-Length", 0)), _LONGEST_QUESTION)
            status, content = self.site.batch(self.rfile.read(size))
        except Failure as error:
            self._failed(error)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self._tell(422, "The server of large files does not answer as it should.")
        else:
            if status == 200:
                self._answer(200, content)
            else:
                self._tell(403 if status == 401 else status, f"The requested URL returned error: {status}")

    def do_GET(self) -> None:
        kind, _, number = self._asked().partition("/")
        if kind != "files" or not (number.isascii() and number.isdigit()):
            self._tell(404, "There is no such thing here.")
            return
        begun = False
        try:
            with self.site.file(int(number), self.headers.get("Range", "")) as answer:
                begun = True
                self.send_response(answer.status)
                for name in ("Content-Length", "Content-Range"):
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                self.end_headers()
                while chunk := answer.read(_CHUNK):
                    self.wfile.write(chunk)
        except IndexError:
            self._tell(404, "There is no such thing here.")
        except Failure as error:
            if not begun:
                self._failed(error)
        except OSError:
            pass  # Git LFS has had enough

    def _asked(self) -> str:
        """What is asked for by who knows the name of this gateway, else nothing."""
        begin = urlsplit(self.site.url).path + "/"
        return self.path[len(begin) :] if self.path.startswith(begin) else ""

    def _failed(self, error: Failure) -> None:
        if error.code in ("forbidden", "redirect"):
            self.site.refused.append(error.what)
        self._tell(403 if error.code in ("forbidden", "redirect") else 502, f"{error.what}.")

    def _tell(self, status: int, message: str) -> None:
        self._answer(status, json.dumps({"message": message}).encode())

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", _TYPE)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
