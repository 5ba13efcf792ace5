# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Asking what answers at an engine's address, which need not be an engine."""

from __future__ import annotations

import json
import os
import pwd
import socketserver
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import ask
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine.endpoint import Endpoint
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import EngineError
from ansible_collections.sodalite.image_builder.plugins.module_utils.network.tls import Tls

from tests.support.background_server import in_background

INFO = {"ServerVersion": "26.1.5", "OSType": "linux", "Architecture": "x86_64"}


class Answering:
    """A server at ``endpoint``: what it answers with, and the path and headers of each request ``seen``."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.status = 200
        self.headers = {"Api-Version": "1.45"}
        self.body: Callable[[], Iterator[bytes]] = lambda: iter([json.dumps(INFO).encode()])
        self.seen: list[tuple[str, dict[str, str]]] = []


@pytest.fixture
def server() -> Iterator[Answering]:
    class Handler(BaseHTTPRequestHandler):
        answering: Answering

        def do_GET(self) -> None:
            answering = self.answering
            answering.seen.append((self.path, dict(self.headers.items())))
            self.send_response(answering.status)
            for name, value in answering.headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for chunk in answering.body():
                    self.wfile.write(chunk)
            except OSError:
                pass  # it has heard enough

        def log_message(self, format: str, *arguments: object) -> None:
            """Requests are recorded, not printed."""

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.answering = Answering(Endpoint(f"tcp://127.0.0.1:{made.server_port}"))
    with in_background(made):
        yield Handler.answering


@contextmanager
def not_root() -> Iterator[None]:
    """Be somebody who may not use every socket."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(user)


def refusal(endpoint: Endpoint) -> EngineError:
    with pytest.raises(EngineError) as caught:
        ask.ask(endpoint)
    assert caught.value.code == "engine_unreachable"
    assert caught.value.message.startswith(f"{endpoint}: ")
    return caught.value


def test_an_engine_says_what_it_is(server: Answering) -> None:
    assert ask.ask(server.endpoint) == INFO
    assert [path for path, _ in server.seen] == ["/info"]


def test_an_engine_is_asked_whatever_the_users_logins_and_settings_are(
    server: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"auths": {"quay.test": {"auth": ""}}}', encoding="utf-8")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password mine\n", encoding="utf-8")
    (tmp_path / ".netrc").chmod(stat.S_IRUSR)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert ask.ask(server.endpoint) == INFO
    ((_, headers),) = server.seen
    assert "Authorization" not in headers


@pytest.mark.parametrize(
    ("status", "headers", "body", "why"),
    [
        (200, {"Api-Version": "1.24"}, json.dumps(INFO), "its API 1.24 is older than 1.39"),
        (200, {}, "<html>", "it does not answer as a Docker Engine does"),
        (200, {}, "[]", "it does not answer as a Docker Engine does"),
        (200, {}, "[" * 100_000, "it does not answer as a Docker Engine does"),
        (200, {}, '{"Name": "another"}', "it does not answer as a Docker Engine does"),
        (503, {}, '{"message": "is starting."}', "it answers with status 503: is starting"),
        (500, {}, "", "it answers with status 500"),
        (302, {"Location": "http://127.0.0.1:1/"}, "", "it answers with status 302"),
    ],
)
def test_what_is_no_engine_or_too_old_is_refused(
    server: Answering, status: int, headers: dict[str, str], body: str, why: str
) -> None:
    server.status, server.headers, server.body = status, headers, lambda: iter([body.encode()])
    assert why in refusal(server.endpoint).message


def test_an_answer_without_an_end_is_given_up(server: Answering) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b" " * 65536

    server.body = endless
    assert "does not come to an end" in refusal(server.endpoint).message


@pytest.mark.parametrize("insecure", [False, True])
def test_an_engine_without_tls_is_not_asked_in_plain_where_tls_is_wanted(
    server: Answering, tmp_path: Path, insecure: bool
) -> None:
    wanted = Endpoint(server.endpoint.url, Tls(keys=str(tmp_path), insecure=insecure))
    error = refusal(wanted)
    assert "TLS" in error.message
    assert "ca.pem" in error.hint
    assert server.seen == []


def test_a_damaged_certificate_is_named(server: Answering, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("none", encoding="utf-8")
    assert (
        f"{tmp_path}/ca.pem cannot be used"
        in refusal(Endpoint(server.endpoint.url, Tls(keys=str(tmp_path)))).message
    )


@pytest.mark.parametrize("url", ["", "nonsense", "http://far.test", "tcp://far.test", "fd://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    assert "it is not an address such as" in refusal(Endpoint(url)).message


def test_a_socket_without_its_whole_path_is_refused() -> None:
    assert "whole path" in refusal(Endpoint("unix://run/docker.sock")).message


def test_what_the_operating_system_says_is_told(tmp_path: Path) -> None:
    assert "no such file or directory" in refusal(Endpoint(f"unix://{tmp_path}/none.sock")).message
    (tmp_path / "file").touch()
    assert "connection refused" in refusal(Endpoint(f"unix://{tmp_path}/file")).message
    assert "connection refused" in refusal(Endpoint("tcp://127.0.0.1:1")).message


def test_a_socket_that_is_not_ones_own_is_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    refusal(Endpoint(f"unix://{path}"))  # which imports what nobody else may be allowed to
    with socketserver.UnixStreamServer(str(path), socketserver.BaseRequestHandler):
        path.chmod(0)
        with not_root():
            error = refusal(Endpoint(f"unix://{path}"))
    assert "permission denied" in error.message
    assert "the group docker" in error.hint


def test_a_connection_that_ends_at_once_is_told(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socketserver.UnixStreamServer(str(path), socketserver.BaseRequestHandler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        refusal(Endpoint(f"unix://{path}"))
        thread.join()
