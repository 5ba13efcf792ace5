# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What is asked of servers about what ADD fetches, and what their answers are worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.policy import PERMISSIVE
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.remote_state import (
    commits,
    file_states,
    reachable_from,
)

from tests.support.background_server import in_background

EARLY, LATE = "Tue, 14 Nov 2023 22:13:19 GMT", "Tue, 14 Nov 2023 22:13:20 GMT"


class Handler(BaseHTTPRequestHandler):
    """Answers as ``ANSWERS`` has it for the path; ``asked`` are the methods, paths and logins."""

    asked: ClassVar[list[tuple[str, str, str]]] = []

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        if self._answer():
            self.wfile.write(b"x" * 100)

    def _answer(self) -> bool:
        self.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
        given = ANSWERS[self.path.strip("/").partition("?")[0]]
        self.close_connection = True
        try:
            status, headers = given(self.command) if callable(given) else given
        except ConnectionError:
            return False
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        return True


def broken_head(command: str) -> tuple[int, dict[str, str]]:
    if command == "HEAD":
        raise ConnectionResetError
    return 200, {"ETag": '"a"'}


def only_get(command: str) -> tuple[int, dict[str, str]]:
    # The body never comes to its end.
    return (200, {"ETag": '"a"', "Content-Length": str(1 << 40)}) if command == "GET" else (405, {})


ANSWERS = {
    "etag": (200, {"ETag": '"a"', "Content-Length": "3", "Last-Modified": LATE, "Date": LATE}),
    "modified": (200, {"Last-Modified": EARLY, "Date": LATE, "Content-Length": "3"}),
    "fresh": (200, {"Last-Modified": LATE, "Date": LATE}),
    "undated": (200, {"Last-Modified": EARLY}),
    "no-date": (200, {"Last-Modified": "yesterday", "Date": LATE}),
    "nothing": (200, {}),
    "only-get": only_get,
    "broken-head": broken_head,
    "absent": (404, {"ETag": '"a"'}),
    "moved": (302, {"Location": "/etag"}),
    "circle": (302, {"Location": "/circle"}),
}
TOLD = {
    "etag": 'etag "a" 3',
    "modified": f"modified {EARLY} 3",
    "only-get": f'etag "a" {1 << 40}',
    "broken-head": 'etag "a" ',
    "moved": 'etag "a" 3',
}


@pytest.fixture
def server() -> Iterator[str]:
    Handler.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made, in_background(made):
        yield f"http://127.0.0.1:{made.server_port}"


def test_a_server_tells_by_a_tag_or_by_a_time_that_has_settled(server: str) -> None:
    found = file_states([f"{server}/{name}" for name in ANSWERS], PERMISSIVE)
    assert found == {f"{server}/{name}": state for name, state in TOLD.items()}
    assert {login for _, _, login in Handler.asked} == {""}
    assert [method for method, path, _ in Handler.asked if path == "/etag"] == ["HEAD"] * 2


def test_a_server_that_cannot_be_asked_tells_nothing(server: str) -> None:
    nobody = [
        "http://127.0.0.1:1/a",
        "http://user:pass@127.0.0.1/a",
        "http:///a",
        "http://x y/",
    ]
    assert file_states(nobody, PERMISSIVE) == {}
    assert file_states([f"{server}/etag"], replace(PERMISSIVE, reach=lambda address: False)) == {}
    assert Handler.asked == []


def test_more_addresses_than_a_dockerfile_has_are_not_asked(server: str) -> None:
    urls = [f"{server}/etag?{number}" for number in range(150)]
    assert list(file_states(urls, PERMISSIVE)) == urls[:100]


def test_a_repository_that_cannot_be_asked_tells_nothing(server: str) -> None:
    asked = [
        (f"{server}/nothing", "HEAD"),
        ("http://user:pass@127.0.0.1/a.git", "HEAD"),
        (f"{server}/a", "a..b"),
    ]
    assert commits(asked, replace(PERMISSIVE, reach=lambda address: False)) == {}
    assert Handler.asked == []


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ("", True),
        ("file:///srv/app.git", True),
        ("http://127.0.0.1:8080/app.git", True),
        ("https://93.184.216.34/app.git", False),
        ("git@93.184.216.34:app.git", False),
        ("https://10.0.0.1/Dockerfile", False),
    ],
)
def test_a_source_from_elsewhere_has_nothing_asked_that_is_nearer(
    server: str, source: str, asked: bool
) -> None:
    found = file_states([f"{server}/etag"], reachable_from(source, PERMISSIVE))
    assert bool(found) is bool(Handler.asked) is asked
