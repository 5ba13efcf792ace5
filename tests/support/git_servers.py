# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Real git servers for tests: smart HTTP(S) with a password and Git LFS, ssh, and git's own daemon.

Each serves the repositories that lie in a folder: ``folder/team/app.git`` is ``{server.url}/team/app.git``.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from getpass import getuser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Optional
from urllib.parse import urlsplit

from tests.support.background_server import in_background
from tests.support.http import encoded_account, speak_tls
from tests.support.registry import free_port, make_certificate
from tests.support.ssh_server import running, ssh_server

# Servers know nothing of the configuration of whoever runs the tests.
_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_COUNT": "3",
    "GIT_CONFIG_KEY_0": "uploadpack.allowFilter",
    "GIT_CONFIG_VALUE_0": "true",
    "GIT_CONFIG_KEY_1": "safe.directory",
    "GIT_CONFIG_VALUE_1": "*",
    "GIT_CONFIG_KEY_2": "http.receivepack",
    "GIT_CONFIG_VALUE_2": "false",
}


@dataclass(frozen=True)
class Request:
    """One request as the server got it; ``authorization`` is the header, empty where there was none."""

    method: str
    path: str
    authorization: str


@dataclass
class HttpGitServer:
    """A running server. Its behaviour may be changed meanwhile.

    ``failing`` are statuses that the next requests get, one each. ``delay`` holds every answer
    back, in seconds. ``redirect`` is another server's URL to which every request is sent on.
    ``large_files`` is another server's URL from which large files are to be fetched. ``protocol_v2`` off
    makes it an old server. ``requests`` is what was asked so far.
    """

    url: str
    folder: Path
    username: str = ""
    password: str = ""
    ca: Optional[Path] = None
    failing: list[int] = field(default_factory=list)
    delay: float = 0
    redirect: str = ""
    large_files: str = ""
    protocol_v2: bool = True
    requests: list[Request] = field(default_factory=list)

    @property
    def authorization(self) -> str:
        """The header that lets a request in."""
        return f"Basic {encoded_account(self.username, self.password)}"


@contextmanager
def http_git_server(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    username: str = "",
    password: str = "",
    tls: Optional[Path] = None,
) -> Iterator[HttpGitServer]:
    """Serve ``folder`` by ``git http-backend``; the account is asked for where ``password`` is given.

    An empty ``username`` lets any user name in, as the hosting services do for tokens. ``tls`` is a
    folder in which a CA (``ca.crt``) and a certificate of it are made.
    """

    class Handler(_Handler):
        site: HttpGitServer

    server = ThreadingHTTPServer((host, 0), Handler)
    if tls:
        tls.mkdir(parents=True, exist_ok=True)
        make_certificate(tls, host)
        speak_tls(server, tls / "server.crt", tls / "server.key")
    url = f"{'https' if tls else 'http'}://{host}:{server.server_port}"
    Handler.site = HttpGitServer(url, folder, username, password, tls / "ca.crt" if tls else None)
    with in_background(server):
        yield Handler.site


class _Handler(BaseHTTPRequestHandler):
    site: HttpGitServer

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are recorded, not printed."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        site = self.site
        self.close_connection = True
        given = self.headers.get("Authorization", "")
        site.requests.append(Request(self.command, self.path, given))
        body = self._body()
        time.sleep(site.delay)
        if site.failing:
            self._answer(site.failing.pop(0))
        elif site.redirect:
            self._answer(302, {"Location": site.redirect + self.path})
        elif site.password and not self._let_in(given):
            self._answer(401, {"WWW-Authenticate": 'Basic realm="tests"'})
        elif "/info/lfs/objects/batch" in self.path:
            self._lfs_batch(json.loads(body), given)
        elif match := re.search(r"/lfs-objects/([0-9a-f]{64})$", self.path):
            self._lfs_object(self.path[: match.start()], match.group(1))
        else:
            self._git(body)

    def _let_in(self, given: str) -> bool:
        if self.site.username:
            return given == self.site.authorization
        username, _, password = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")
        return bool(username) and password == self.site.password

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, headers: Optional[dict[str, str]] = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _git(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        protocol = self.headers.get("Git-Protocol", "") if self.site.protocol_v2 else ""
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            capture_output=True,
            check=False,
            env={
                **_ENVIRONMENT,
                "GIT_PROJECT_ROOT": str(self.site.folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_PROTOCOL": protocol,
                "REQUEST_METHOD": self.command,
                "PATH_INFO": parts.path,
                "QUERY_STRING": parts.query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            },
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        status = int(headers.pop("Status", "200" if headers else "500").split()[0])
        self._answer(status, headers, content)

    def _lfs_batch(self, request: dict[str, list[dict[str, object]]], given: str) -> None:
        """Source: git-lfs, docs/api/batch.md."""
        repository = self.path.partition("/info/lfs/")[0]
        store = self.site.large_files or self.site.url
        objects = [
            {
                **wanted,
                "actions": {
                    "download": {
                        "href": f"{store}{repository}/lfs-objects/{wanted['oid']}",
                        "header": {"Authorization": given} if given else {},
                    }
                },
            }
            for wanted in request["objects"]
        ]
        answer = json.dumps({"transfer": "basic", "objects": objects}).encode()
        self._answer(200, {"Content-Type": "application/vnd.git-lfs+json"}, answer)

    def _lfs_object(self, repository: str, oid: str) -> None:
        path = lfs_object(self.site.folder / repository.strip("/"), oid)
        if path.is_file():
            self._answer(200, {"Content-Type": "application/octet-stream"}, path.read_bytes())
        else:
            self._answer(404)


def lfs_object(repository: Path, oid: str) -> Path:
    """Where the server keeps the large file with the SHA-256 ``oid`` of the bare ``repository``."""
    return repository / "lfs" / "objects" / oid[:2] / oid[2:4] / oid


@dataclass(frozen=True)
class SshGitServer:
    """A running sshd; ``key`` is the private key that it lets in, ``known_hosts`` names its own."""

    url: str
    key: Path
    known_hosts: Path


@contextmanager
def ssh_git_server(
    folder: Path, site: Path, *, host: str = "127.0.0.1", protocol_v2: bool = True, large_files: str = ""
) -> Iterator[SshGitServer]:
    """Serve ``folder`` by a private sshd that keeps its keys and configuration in ``site``.

    The key may only run git's server programs. Without ``protocol_v2`` it is an old server. What
    ``git-lfs-authenticate`` answers there is ``large_files``.
    """
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in _ENVIRONMENT.items())
    command = f'env {settings} git shell -c "$SSH_ORIGINAL_COMMAND"'
    if large_files:
        script = site.with_name(f"{site.name}.sh")
        answer = f"git-lfs-authenticate*) echo {shlex.quote(large_files)} ;;"
        script.write_text(f'case "$SSH_ORIGINAL_COMMAND" in {answer} *) exec {command} ;; esac\n')
        command = f"sh {shlex.quote(str(script))}"
    with ssh_server(
        site,
        command,
        host=host,
        variables=("GIT_PROTOCOL",) if protocol_v2 else (),
    ) as server:
        url = f"ssh://{getuser()}@{host}:{server.port}{folder}"
        yield SshGitServer(url, server.key, server.known_hosts)


@contextmanager
def git_daemon(folder: Path, *, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve ``folder`` by git's own daemon; yields its URL."""
    port = free_port(host)
    arguments = ["git", "daemon", "--export-all", "--reuseaddr", f"--listen={host}", f"--port={port}"]
    arguments += [f"--base-path={folder}", str(folder)]
    with running(arguments, host, port, folder / "daemon.log", _ENVIRONMENT):
        yield f"git://{host}:{port}"
