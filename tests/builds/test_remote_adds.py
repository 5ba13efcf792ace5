# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What ADD fetches: an image is unchanged where its server says that nothing moved, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.builds.site import Site
from tests.support.background_server import in_background
from tests.support.git_servers import http_git_server
from tests.support.repositories import add_commit, git, repository

pytestmark = pytest.mark.engine

APP: dict[str, Any] = {"image": "app"}
NOW, BEFORE = 1_700_000_000, 1_600_000_000


@dataclass
class FileServer:
    """Serves ``content`` under every path, with its ``headers``, and takes no HEAD if it ``refuses_head``."""

    content: str = "old"
    headers: dict[str, str] = field(default_factory=dict)
    refuses_head: bool = False
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def moved(self, content: str, **headers: str) -> None:
        """Serve something else from here on; ``_`` in a name stands for a hyphen."""
        self.content = content
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @contextmanager
    def running(self) -> Iterator[str]:
        """The server, in the block."""
        served = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *arguments: object) -> None:
                pass

            def date_time_string(self, timestamp: float | None = None) -> str:
                return formatdate(NOW, usegmt=True)

            def do_HEAD(self) -> None:
                served.asked.append(f"HEAD {self.path}")
                if served.refuses_head:
                    self.send_error(405)
                else:
                    self._answer(b"")

            def do_GET(self) -> None:
                served.asked.append(f"GET {self.path}")
                self._answer(served.content.encode())

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                for name, value in served.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(served.content)))
                self.end_headers()
                self.wfile.write(body)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        with in_background(server):
            self.address = f"http://127.0.0.1:{server.server_address[1]}"
            yield self.address


@pytest.fixture
def files() -> Iterator[FileServer]:
    server = FileServer()
    with server.running():
        yield server


def fetching(site: Site, step: str) -> None:
    site.write(Dockerfile=f"FROM alpine\nARG NAME=mark\n{step}\n")


def test_a_file_that_did_not_move_is_not_fetched_again_and_one_that_moved_is(
    site: Site, files: FileServer
) -> None:
    fetching(site, f"ADD {files.address}/$NAME?token=x#y /mark")
    files.moved("old", ETag='"1"')
    site.build_ok(APP)
    asked = len(files.asked)
    assert site.rebuilt(APP) == set()
    assert files.asked[asked:] == ["HEAD /mark?token=x"]
    files.moved("new", ETag='"2"')
    site.build_ok(APP)
    assert site.pushed("app").read("/mark") == "new"
    assert site.rebuilt(APP) == set()
    files.refuses_head = True
    assert site.rebuilt(APP) == set()
    assert site.rebuilt({**APP, "build_args": {"NAME": "other"}}) == {"app"}


def test_a_file_is_known_by_its_time_and_length_unless_it_was_changed_in_this_second(
    site: Site, files: FileServer
) -> None:
    fetching(site, f"ADD {files.address}/mark /mark")
    files.moved("old", Last_Modified=formatdate(BEFORE, usegmt=True))
    site.build_ok(APP)
    assert site.rebuilt(APP) == set()
    files.moved("longer", Last_Modified=formatdate(BEFORE, usegmt=True))
    assert site.rebuilt(APP) == {"app"}
    files.moved("new", Last_Modified=formatdate(NOW, usegmt=True))
    site.build_ok(APP)
    assert site.rebuilt(APP) == {"app"}


def test_what_its_server_does_not_tell_of_is_built_each_time_and_said(site: Site, files: FileServer) -> None:
    fetching(site, f"ADD {files.address}/mark /mark")
    site.build_ok(APP)
    files.moved("new")
    (made,) = site.build_ok(APP)
    assert made["reason"] == "what ADD on line 3 fetches may have changed"
    assert site.pushed("app").read("/mark") == "new"


def test_the_onbuild_of_a_base_fetches_what_is_there_now(site: Site, files: FileServer) -> None:
    site.write(Dockerfile=f"FROM alpine\nENV AT={files.address}\nONBUILD ADD $AT/mark /mark\n")
    site.build_ok({"image": "base"})
    site.write(Dockerfile=f"FROM {site.reference('base')}\n")
    files.moved("old", ETag='"1"')
    site.build_ok(APP)
    assert site.rebuilt(APP) == set()
    files.moved("new", ETag='"2"')
    site.build_ok(APP)
    assert site.pushed("app").read("/mark") == "new"


@pytest.mark.parametrize("where", ["dockerfile", "base"])
def test_a_branch_that_moved_is_fetched_again(site: Site, tmp_path: Path, where: str) -> None:
    served = tmp_path / "served"
    served.mkdir()
    repository(served / "app.git", {"mark": "old"}, bare=True)
    with http_git_server(served) as server:
        step = f"ADD {server.url}/app.git#main /mark"
        if where == "base":
            site.write(Dockerfile=f"FROM alpine\nONBUILD {step}\n")
            site.build_ok({"image": "base"})
            site.write(Dockerfile=f"FROM {site.reference('base')}\n")
        else:
            fetching(site, step)
        site.build_ok(APP)
        assert site.rebuilt(APP) == set()
        work = served / "app.git.work"
        add_commit(work, {"mark": "new"})
        git(work, "push", "--quiet", str(served / "app.git"), "main")
        site.build_ok(APP)
        assert site.pushed("app").read("/mark/mark") == "new"
        assert site.rebuilt(APP) == set()
