# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Addresses that the operator forbids: git connects to none of them, whatever names them.

``127.0.0.2`` stands for what is forbidden, and ``127.0.0.1`` for the rest of the world.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.source import (
    GitRepo,
    RemoteFile,
    StandaloneDockerfile,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import SourceError
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Lines
from ansible_collections.sodalite.image_builder.plugins.module_utils.policy import Address, Policy
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources import kinds
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.git import client
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.workspace import Workspace

from tests.support.git_servers import git_daemon, http_git_server, lfs_object, ssh_git_server
from tests.support.registry import free_port
from tests.support.repositories import git, repository

FORBIDDEN = "127.0.0.2"


def reach(address: Address) -> bool:
    return address != ip_address(FORBIDDEN)


POLICY = Policy(reach=reach)


@pytest.fixture
def served(tmp_path: Path) -> Path:
    repository(tmp_path / "served" / "app.git", {"Dockerfile": "FROM scratch\n"}, bare=True)
    return tmp_path / "served"


def refused(source: Any, workspace: Workspace, code: str = "address_forbidden") -> SourceError:
    told: list[str] = []
    for fetch in (kinds.fetch, kinds.fetch_unless_known):
        with pytest.raises(SourceError) as caught:
            fetch(source, workspace, Lines(told.append), POLICY)
        assert caught.value.code == code
        assert caught.value.hint
        assert not caught.value.retryable
    assert not any("Trying again" in line for line in told)
    return caught.value


def super_repository(served: Path, url: str) -> None:
    """Make ``super.git``, which has ``app.git`` at ``url`` as a submodule."""
    commit = git(served / "app.git", "rev-parse", "HEAD")
    modules = f'[submodule "s"]\n\tpath = s\n\turl = {url}\n'
    repository(served / "super", {"Dockerfile": "FROM scratch\n", ".gitmodules": modules})
    git(served / "super", "update-index", "--add", "--cacheinfo", f"160000,{commit},s")
    git(served / "super", "commit", "--quiet", "--message=x")
    git(served, "clone", "--quiet", "--bare", "super", "super.git")


def test_an_allowed_server_is_fetched_from(served: Path, workspace: Workspace) -> None:
    with http_git_server(served) as server:
        tree = kinds.fetch(GitRepo(f"{server.url}/app.git"), workspace, Lines(print), POLICY)
    assert Path(tree.dockerfile).is_file()


def test_a_forbidden_server_is_not_asked(served: Path, workspace: Workspace) -> None:
    with http_git_server(served, host=FORBIDDEN) as server:
        for version in ("HEAD", "0" * 39 + "1", "0000001"):
            error = refused(GitRepo(f"{server.url}/app.git", version=version), workspace)
        assert server.requests == []
    assert FORBIDDEN in error.message


def test_no_transport_leads_to_a_forbidden_server(served: Path, workspace: Workspace, tmp_path: Path) -> None:
    with git_daemon(served, host=FORBIDDEN) as url:
        refused(GitRepo(f"{url}/app.git"), workspace)
    with ssh_git_server(served, tmp_path / "ssh", host=FORBIDDEN) as ssh:
        access = {"ssh_key_file": str(ssh.key), "ssh_known_hosts_file": str(ssh.known_hosts)}
        refused(GitRepo(f"{ssh.url}/app.git", **access), workspace)
    for url in (f"git@{FORBIDDEN}:app.git", f"https://[::ffff:{FORBIDDEN}]/app.git", "http://127.2/app.git"):
        refused(GitRepo(url), workspace)


def test_a_repository_of_this_machine_has_no_host_to_forbid(served: Path, workspace: Workspace) -> None:
    assert kinds.fetch(GitRepo(f"file://{served}/app.git"), workspace, Lines(print), POLICY).revision


def test_a_submodule_on_a_forbidden_server_is_not_fetched(served: Path, workspace: Workspace) -> None:
    with http_git_server(served) as server, http_git_server(served, host=FORBIDDEN) as other:
        super_repository(served, f"{other.url}/app.git")
        refused(GitRepo(f"{server.url}/super.git"), workspace)
        assert server.requests
        assert other.requests == []


def test_the_context_of_a_dockerfile_is_not_fetched_from_a_forbidden_server(
    served: Path, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    with http_git_server(served, host=FORBIDDEN) as server:
        context = GitRepo(f"{server.url}/app.git")
        refused(StandaloneDockerfile(RemoteFile(f"file://{tmp_path}/Dockerfile"), context), workspace)
        assert server.requests == []


def test_a_repository_cannot_send_git_lfs_to_a_forbidden_server(served: Path, workspace: Workspace) -> None:
    oid = "0" * 64
    with http_git_server(served) as server, http_git_server(served, host=FORBIDDEN) as other:
        work = served / "big"
        repository(
            work,
            {
                "Dockerfile": "FROM scratch\n",
                ".gitattributes": "big filter=lfs diff=lfs merge=lfs -text\n",
                ".lfsconfig": f"[lfs]\n\turl = {other.url}/app.git/info/lfs\n",
                "big": f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 1\n",
            },
        )
        git(served, "clone", "--quiet", "--bare", "big", "big.git")
        path = lfs_object(served / "app.git", oid)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
        refused(GitRepo(f"{server.url}/big.git"), workspace)
        assert other.requests == []


def test_no_redirect_is_followed_where_addresses_are_forbidden(served: Path, workspace: Workspace) -> None:
    with http_git_server(served) as server, http_git_server(served, host=FORBIDDEN) as other:
        server.redirect = other.url
        error = refused(GitRepo(f"{server.url}/app.git"), workspace, "git_failed")
        assert other.requests == []
    assert "redirects the repository" in error.message


def test_an_address_that_gits_configuration_puts_in_place_is_asked_for(
    served: Path, workspace: Workspace, home: Path
) -> None:
    with http_git_server(served, host=FORBIDDEN) as other:
        (home / ".gitconfig").write_text(f'[url "{other.url}/"]\n\tinsteadOf = https://example.invalid/\n')
        refused(GitRepo("https://example.invalid/app.git"), workspace)
        assert other.requests == []


def test_git_connects_to_the_address_that_was_asked_for_whatever_the_name_means_by_then(
    served: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def resolve_here(host: str, *rest: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if host == "changing.invalid" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)
    with http_git_server(served) as server:
        # The name service that git asks does not know the name at all.
        url = server.url.replace("127.0.0.1", "changing.invalid")
        assert kinds.fetch(GitRepo(f"{url}/app.git"), workspace, Lines(print), POLICY).revision


@pytest.mark.parametrize("host", ["[::1]", "localhost", "127.0.0.1"])
def test_allowed_hosts_of_every_form_are_connected_to(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr(client, "_TRIES", 1)
    with pytest.raises(SourceError, match="onnect") as caught:
        kinds.fetch(GitRepo(f"http://{host}:{free_port()}/app.git"), workspace, Lines(print), POLICY)
    assert caught.value.code == "git_unreachable"
