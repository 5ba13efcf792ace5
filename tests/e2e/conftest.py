# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What end-to-end tests share: an engine, a git server, registries; and for each a user's machine."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import leaks
from tests.support.engine import Engine
from tests.support.examples import Builds, Server, Servers
from tests.support.files import file_server
from tests.support.git_servers import http_git_server, ssh_git_server
from tests.support.images import save_oci
from tests.support.leaks import new_secret
from tests.support.registry import Registry, outer_address, registry
from tests.support.repositories import (
    APP,
    ARCHIVE,
    CONTEXTS,
    DOCKERFILES,
    GENERIC_REPO,
    GENERIC_REPO_2,
    LOCAL,
    repository,
    write,
)
from tests.support.run import Machine


@dataclass(frozen=True)
class GitSite:
    """Where the sample repositories are served: folders' URLs, and who may read the private ones."""

    public: str
    private: str
    account: tuple[str, str]
    ssh: str
    ssh_key: Path
    ssh_known_hosts: Path


@pytest.fixture(scope="session")
def git(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitSite]:
    """The sample repositories over HTTP, open and with a password, and over SSH."""
    folder = tmp_path_factory.mktemp("git")
    repository(folder / "generic_repo.git", GENERIC_REPO, bare=True)
    repository(folder / "generic-repo-2.git", GENERIC_REPO_2, bare=True)
    for name, files in {"app": APP, **CONTEXTS}.items():
        repository(folder / f"{name}.git", files, bare=True)
    account = ("reader", new_secret())
    with (
        http_git_server(folder) as public,
        http_git_server(folder, username=account[0], password=account[1]) as private,
        ssh_git_server(folder, tmp_path_factory.mktemp("sshd")) as ssh,
    ):
        yield GitSite(public.url, private.url, account, ssh.url, ssh.key, ssh.known_hosts)


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The engine that builds, and runs what was built."""
    return Engine.from_environment()


@pytest.fixture(scope="session")
def servers(git: GitSite, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Everything that the examples in ``inputs/`` name, on this machine."""
    folder, root = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("root")
    write(folder, DOCKERFILES)
    work = tmp_path_factory.mktemp("work")
    write(work / "app-1.0", ARCHIVE)
    write(work / "saved", GENERIC_REPO)
    write(root / "srv" / "app", LOCAL)
    with tarfile.open(folder / "app" / "app-1.0.tar.gz", "w:gz") as archive:
        archive.add(work / "app-1.0", "app-1.0")
    (root / "srv" / "images").mkdir()
    save_oci(engine, work / "saved", root / "srv" / "images" / "app.tar")
    account = ("username", new_secret())
    with (
        file_server(folder) as public,
        file_server(folder, username=account[0], password=account[1]) as private,
    ):
        files = Server(public.url, private.url, account)
        yield Servers(Server(git.public, git.private, git.account), files, folder, root)


@pytest.fixture(scope="session")
def builds(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builds]:
    """The examples as they were built, each once in each way."""
    with ExitStack() as stack:
        yield Builds(servers, tmp_path_factory.mktemp("registries"), stack)


@pytest.fixture(scope="session")
def local_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry on loopback, without TLS, that asks for a password."""
    with registry(tmp_path_factory.mktemp("registry"), username="user", password=new_secret()) as made:
        yield made


@pytest.fixture(scope="session")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that asks for a password, with a certificate that this machine's Docker trusts."""
    folder = tmp_path_factory.mktemp("private")
    with registry(folder, host=outer_address(), username="pusher", password=new_secret(), tls=True) as made:
        yield made


@pytest.fixture
def untrusted_registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry with a certificate that nobody trusts."""
    folder = tmp_path / "untrusted"
    with registry(
        folder, host=outer_address(), username="pusher", password=new_secret(), tls=True, trusted=False
    ) as made:
        yield made


@pytest.fixture
def machine(tmp_path: Path, engine: Engine) -> Iterator[Machine]:
    """A user's machine. After a test nothing is left there, no secret was shown, no configuration touched."""
    made = Machine(tmp_path / "machine", engine)
    leaks.remember_processes()
    with leaks.watched(made.folder) as watch:
        yield made
        watch.secrets, watch.own = made.secrets, made.own
    leaks.assert_nothing_left(made.tmp)
    watch.assert_no_leak()
    assert made.docker_config_is_untouched()
