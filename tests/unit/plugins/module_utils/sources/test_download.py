# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Files from real servers: logins that go nowhere else, redirects, tries again, checksums, local files."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.source import (
    Archive,
    Folder,
    GitRepo,
    RemoteFile,
    StandaloneDockerfile,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import SourceError
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT, Lines
from ansible_collections.sodalite.image_builder.plugins.module_utils.network import reach
from ansible_collections.sodalite.image_builder.plugins.module_utils.network.file_url import to_url
from ansible_collections.sodalite.image_builder.plugins.module_utils.network.reach import Nearness
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources import download, kinds
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.tree import SourceTree
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.workspace import Workspace

from tests.support.files import FileServer, file_server
from tests.support.registry import free_port
from tests.support.repositories import repository

TEXT = b"FROM scratch\n"
DIGEST = f"sha256:{hashlib.sha256(TEXT).hexdigest()}"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(download, "_TRIES", 4)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[FileServer]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "Dockerfile").write_bytes(TEXT)
    with file_server(folder) as server:
        yield server


@pytest.fixture
def private(tmp_path: Path, served: FileServer) -> Iterator[FileServer]:
    with file_server(served.folder, username="reader", password="top secret") as server:
        yield server


def fetch(url: str, told: Any = None, **fields: Any) -> tuple[bytes, str]:
    if "password" in fields:
        fields["password"] = Secret(fields["password"])
    return download.fetch_text(RemoteFile(url, **fields), 1 << 20, Lines(told) if told else SILENT)


def refused(url: str, code: str, says: str = "", **fields: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        fetch(url, **fields)
    assert caught.value.code == code, caught.value
    assert says in str(caught.value)
    assert "top secret" not in str(caught.value)
    return caught.value


def test_a_file_arrives_with_its_digest(served: FileServer) -> None:
    assert fetch(f"{served.url}/Dockerfile") == (TEXT, DIGEST)
    assert fetch(f"{served.url}/Dockerfile", checksum=DIGEST) == (TEXT, DIGEST)
    assert fetch(to_url(str(served.folder / "Dockerfile"))) == (TEXT, DIGEST)


def test_another_checksum_is_an_error_that_names_both(served: FileServer) -> None:
    other = f"sha256:{'0' * 64}"
    assert DIGEST in str(refused(f"{served.url}/Dockerfile", "checksum_mismatch", other, checksum=other))


def test_a_login_is_given_and_a_missing_or_wrong_one_is_an_error(private: FileServer) -> None:
    url = f"{private.url}/Dockerfile"
    assert fetch(url, username="reader", password="top secret") == (TEXT, DIGEST)
    refused(url, "source_unauthorized", "401")
    refused(url, "source_unauthorized", "401", username="reader", password="wrong")
    assert len(private.requests) == 3  # none is tried again


def test_a_token_alone_is_a_login(private: FileServer) -> None:
    private.username = "oauth2"
    assert fetch(f"{private.url}/Dockerfile", password="top secret") == (TEXT, DIGEST)


def test_a_login_stays_with_its_server_when_another_is_redirected_to(
    served: FileServer, private: FileServer
) -> None:
    private.redirects["/moved"] = f"{served.url}/Dockerfile"
    fetch(f"{private.url}/moved", username="reader", password="top secret")
    assert served.requests == [("/Dockerfile", "")]
    assert private.requests == [("/moved", private.authorization)]


def test_a_login_comes_along_on_its_own_server(private: FileServer) -> None:
    private.redirects["/moved"] = "Dockerfile"
    assert fetch(f"{private.url}/moved", username="reader", password="top secret") == (TEXT, DIGEST)


def test_a_login_is_not_given_to_another_port_of_its_host(served: FileServer, private: FileServer) -> None:
    served.redirects["/moved"] = f"{private.url}/Dockerfile"
    refused(f"{served.url}/moved", "source_unauthorized", username="reader", password="top secret")


@pytest.mark.parametrize(
    "target", ["file:///etc/hostname", "ftp://host/x", "http://me:pw@127.0.0.1/x", "http://a b/", "//"]
)
def test_a_redirect_to_what_a_document_may_not_name_is_not_followed(served: FileServer, target: str) -> None:
    served.redirects["/moved"] = target
    refused(f"{served.url}/moved", "source_unreachable", "redirects")


def test_a_redirect_does_not_lead_away_from_tls_nor_nearer_to_this_machine(
    served: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with file_server(served.folder, tls=tmp_path / "tls") as secure:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls" / "ca.crt"))
        secure.redirects["/moved"] = f"{served.url}/Dockerfile"
        refused(f"{secure.url}/moved", "source_unreachable", "to what is not https")
    far = Nearness.PUBLIC
    monkeypatch.setattr(
        reach, "nearness", lambda address: far if str(address) == "127.0.0.2" else Nearness.HERE
    )
    with file_server(served.folder, host="127.0.0.2") as public:
        public.redirects["/moved"] = f"{served.url}/Dockerfile"
        refused(f"{public.url}/moved", "address_forbidden", "127.0.0.1")
    assert served.requests == []


@pytest.mark.parametrize("path", ["Dockerfile", "missing", "moved"])
def test_what_follows_a_question_mark_is_sent_and_nowhere_told(
    served: FileServer, workspace: Workspace, path: str
) -> None:
    served.redirects["/moved?token=t0p-s3cret"] = "ftp://host/x?token=t0p-s3cret"
    told: list[str] = []
    source = StandaloneDockerfile(RemoteFile(f"{served.url}/{path}?token=t0p-s3cret"))
    try:
        told.append(repr(kinds.fetch_unless_known(source, workspace, Lines(told.append))))
    except SourceError as error:
        told.append(str(error.to_dict()))
    assert served.requests[0][0] == f"/{path}?token=t0p-s3cret"
    assert f"{served.url}/{path}" in "".join(told)
    assert "t0p-s3cret" not in "".join(told)


def test_what_a_server_says_with_a_refusal_is_not_told(served: FileServer) -> None:
    served.failing += [403]
    error = refused(f"{served.url}/Dockerfile", "source_unauthorized", "403")
    assert "FROM" not in str(error.to_dict())


def test_a_file_that_trickles_in_has_one_deadline_and_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download, "_SMALL_FILE_SECONDS", 0.3)
    connections = 0
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle() -> None:
            nonlocal connections
            connection, _ = server.accept()
            connections += 1
            with connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.02)

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        refused(f"http://127.0.0.1:{server.getsockname()[1]}/x", "source_unreachable", "takes too long")
        thread.join(20)
    assert connections == 1


def test_what_follows_an_archives_end_is_not_read_without_an_end(
    served: FileServer, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_MOST_BEHIND", 1 << 20)
    path = served.folder / "archive.tar"
    argv = ["tar", "--create", f"--file={path}", f"--directory={served.folder}", "Dockerfile"]
    subprocess.run(argv, check=True)
    with path.open("ab") as file:
        file.truncate(8 << 20)
    with pytest.raises(SourceError, match="behind its end"):
        kinds.fetch(Archive(RemoteFile(f"{served.url}/archive.tar")), workspace, SILENT)


def test_redirects_in_a_circle_end(served: FileServer) -> None:
    served.redirects["/round"] = "/round"
    refused(f"{served.url}/round", "source_unreachable", "more often than can be followed")
    assert len(served.requests) == 11


def test_what_can_pass_is_tried_again_and_told(served: FileServer) -> None:
    told: list[str] = []
    served.failing += [503, 429]
    served.broken = 1
    assert fetch(f"{served.url}/Dockerfile", told.append) == (TEXT, DIGEST)
    assert len(served.requests) == 4
    assert sum("Trying again" in line for line in told) == 3


def test_what_stays_broken_is_an_error_that_can_be_retried(served: FileServer) -> None:
    served.failing += [500] * 9
    assert refused(f"{served.url}/Dockerfile", "source_unreachable", "500").retryable
    assert len(served.requests) == 4


def test_what_is_not_there_is_not_tried_again(served: FileServer) -> None:
    assert not refused(f"{served.url}/other", "source_not_found", "404").retryable
    served.failing += [501]
    assert not refused(f"{served.url}/Dockerfile", "source_unreachable", "501").retryable
    assert len(served.requests) == 2


def test_a_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    refused(f"http://127.0.0.1:{free_port()}/x", "source_unreachable", "refused the connection")
    refused("http://no-such-host.invalid/x", "source_unreachable", "no-such-host.invalid")
    refused(to_url(str(tmp_path / "missing")), "source_not_found", "cannot be read")
    refused(to_url(str(tmp_path)), "source_not_found", "is not a file")


def test_a_local_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(to_url(str(tmp_path / "pipe")), "source_not_found", "is not a file")


def test_a_server_that_does_not_speak_http_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for _ in range(4):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"220 mail.example.org\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        refused(f"http://127.0.0.1:{server.getsockname()[1]}/x", "source_unreachable", "in HTTP")
        thread.join(5)


def test_a_server_that_breaks_off_while_tls_begins_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def break_off() -> None:
            for _ in range(4):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)

        thread = threading.Thread(target=break_off, daemon=True)
        thread.start()
        assert refused(f"https://127.0.0.1:{server.getsockname()[1]}/x", "source_unreachable").retryable
        thread.join(5)
        assert not thread.is_alive()


def test_a_file_longer_than_a_dockerfile_can_be_is_refused(served: FileServer) -> None:
    (served.folder / "long").write_bytes(bytes((1 << 20) + 1))
    refused(f"{served.url}/long", "source_too_large", "longer than 1 MiB")


def test_a_proxy_of_the_environment_is_asked_and_gets_no_login_of_a_server_behind_it(
    served: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", served.url.replace("http://", "http://me:pw@"))
    refused("http://files.example.org/Dockerfile", "source_not_found")
    assert served.requests == [("http://files.example.org/Dockerfile", "")]


def dockerfile(served: FileServer, workspace: Workspace, **fields: Any) -> SourceTree:
    source = StandaloneDockerfile(RemoteFile(f"{served.url}/Dockerfile"), **fields)
    return kinds.fetch(source, workspace, SILENT)


def test_a_dockerfile_alone_has_an_empty_context(served: FileServer, workspace: Workspace) -> None:
    tree = dockerfile(served, workspace)
    assert os.listdir(tree.context) == []
    assert Path(tree.dockerfile).read_bytes() == TEXT
    assert (tree.revision, tree.committed_at, tree.url) == (DIGEST, 0, f"{served.url}/Dockerfile")
    assert tree.dockerfile_name == "Dockerfile"


def test_the_context_of_a_dockerfile_holds_what_the_commit_holds(
    served: FileServer, workspace: Workspace, tmp_path: Path
) -> None:
    files = {"sub/Dockerfile": "own", "sub/a": "1", "b": "2", "sub/Dockerfile.dockerignore": "*.md"}
    commit = repository(tmp_path / "repository", files)
    url = f"file://{tmp_path}/repository"
    tree = dockerfile(served, workspace, context=GitRepo(url, workdir="sub"))
    assert sorted(os.listdir(tree.context)) == ["Dockerfile", "Dockerfile.dockerignore", "a"]
    assert Path(tree.context, "Dockerfile").read_text() == "own"
    assert Path(tree.dockerfile).read_bytes() == TEXT
    assert Path(tree.dockerignore).read_text() == "*.md"
    assert (tree.revision, tree.committed_at, tree.url) == (commit, 1700000000, url)


def test_a_dockerignore_that_is_a_link_out_of_the_context_is_refused(
    served: FileServer, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Dockerfile.dockerignore").symlink_to("/etc/hostname")
    with pytest.raises(SourceError) as caught:
        dockerfile(served, workspace, context=Folder(str(tmp_path / "context")))
    assert caught.value.code == "dockerignore_invalid"


def test_a_subdir_or_a_folder_that_is_not_there_is_an_error(
    served: FileServer, workspace: Workspace, tmp_path: Path
) -> None:
    repository(tmp_path / "repository", {"a": "1"})
    with pytest.raises(SourceError) as caught:
        dockerfile(served, workspace, context=GitRepo(f"file://{tmp_path}/repository", workdir="sub"))
    assert (caught.value.code, "'subdir'" in caught.value.hint) == ("workdir_missing", True)
    with pytest.raises(SourceError) as caught:
        dockerfile(served, workspace, context=Folder(str(tmp_path / "missing")))
    assert caught.value.code == "no_context"


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
def test_an_archive_that_broke_off_is_fetched_anew(
    served: FileServer, workspace: Workspace, tmp_path: Path, compression: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "Dockerfile").write_bytes(TEXT)
    (folder / "noise").write_bytes(os.urandom(3 << 20))
    path = served.folder / f"archive.tar{compression}"
    argv = ["tar", "--create", "--auto-compress", f"--file={path}", f"--directory={folder}", "."]
    subprocess.run(argv, check=True)
    served.broken = 2
    source = Archive(RemoteFile(f"{served.url}/{path.name}"))
    tree = kinds.fetch(source, workspace, SILENT)
    assert Path(tree.context, "noise").read_bytes() == (folder / "noise").read_bytes()
    assert tree.revision == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert len(served.requests) == 3
