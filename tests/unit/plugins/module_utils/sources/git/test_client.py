# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Talking to real servers: credentials and where they go, failures and what is said of them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils import process
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.source import GitRepo
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import Cancelled, SourceError
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Lines
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources import kinds
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.git import client
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.tree import SourceTree
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.workspace import Workspace

from tests.support.git_servers import SshGitServer, git_daemon, http_git_server, ssh_git_server
from tests.support.leaks import descendants, new_secret, traces, watched
from tests.support.registry import free_port
from tests.support.repositories import git, repository


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying again without the pauses."""
    monkeypatch.setattr(client, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(client, "_LONGEST_PAUSE", 0.04)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    repository(folder / "app.git", {"Dockerfile": "FROM scratch\n"}, bare=True)
    return folder


def fetch(repo: GitRepo, workspace: Workspace, progress: list[str] | None = None) -> SourceTree:
    lines = [] if progress is None else progress
    return kinds.fetch(repo, workspace, Lines(lines.append))


def failure(repo: GitRepo, workspace: Workspace) -> SourceError:
    with pytest.raises(SourceError) as failed:
        fetch(repo, workspace)
    assert failed.value.hint
    return failed.value


def files_with(secret: str, *folders: Path) -> list[Path]:
    marks = traces(secret)
    return [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and any(mark in path.read_bytes() for mark in marks)
    ]


# Passwords


def test_a_private_repository_is_fetched_and_the_password_is_nowhere(
    served: Path, workspace: Workspace, home: Path, tmp_path: Path
) -> None:
    password = new_secret()
    lines: list[str] = []
    kept: list[Path] = []
    (home / ".gitconfig").write_text("[credential]\n\thelper = store\n\tuseHttpPath = true\n")

    def look(line: str) -> None:
        lines.append(line)
        kept.extend(files_with(password, Path(workspace.path), home))

    with (
        http_git_server(served, username="user@example.org", password=password) as server,
        watched(tmp_path) as watch,
    ):
        server.delay = 0.2
        repo = GitRepo(f"{server.url}/app.git", username="user@example.org", password=Secret(password))
        watch.secrets = [password]
        tree = kinds.fetch(repo, workspace, Lines(look))
        look("")
    assert kept == []
    assert Path(tree.dockerfile).is_file()
    assert any(b"git-remote-http" in arguments for arguments in watch.arguments), "nothing was sampled"
    watch.assert_no_leak()
    assert not any(mark.decode() in f"{tree}{lines}{repo}" for mark in traces(password))


def test_a_password_alone_is_a_token(served: Path, workspace: Workspace) -> None:
    with http_git_server(served, password="t0ken") as server:
        assert fetch(GitRepo(f"{server.url}/app.git", password=Secret("t0ken")), workspace).revision


@pytest.mark.parametrize(
    "fields", [{}, {"password": "wr0ng"}, {"username": "user", "password": "wr0ng"}, {"username": "user"}]
)
def test_missing_or_wrong_credentials_fail_at_once_and_say_so(
    served: Path, workspace: Workspace, fields: dict[str, str]
) -> None:
    given: dict[str, Any] = {
        **fields,
        "password": Secret(fields["password"]) if "password" in fields else None,
    }
    with http_git_server(served, username="user", password="right") as server:
        error = failure(GitRepo(f"{server.url}/app.git", **given), workspace)
        assert len(server.requests) <= 3
    assert error.code == "git_unauthorized"
    assert not error.retryable
    assert "wr0ng" not in str(error)


def test_a_password_with_a_line_break_is_refused(served: Path, workspace: Workspace) -> None:
    with http_git_server(served) as server:
        error = failure(GitRepo(f"{server.url}/app.git", password=Secret("a\nhost=other")), workspace)
    assert error.code == "git_unauthorized"


def test_the_users_own_stored_credentials_are_not_used(
    served: Path, workspace: Workspace, home: Path
) -> None:
    with http_git_server(served, username="user", password="right") as server:
        scheme, _, host = server.url.partition("://")
        (home / ".git-credentials").write_text(f"{scheme}://user:right@{host}\n")
        (home / ".gitconfig").write_text(
            f'[credential]\n\thelper = store\n[credential "{server.url}"]\n\thelper = store\n'
        )
        assert failure(GitRepo(f"{server.url}/app.git"), workspace).code == "git_unauthorized"


def submodule(folder: Path, url: str) -> None:
    """Make ``folder/super.git``, which has ``app.git`` at ``url`` as a submodule."""
    commit = git(folder / "app.git", "rev-parse", "HEAD")
    work = folder / "super"
    repository(
        work, {"Dockerfile": "FROM scratch\n", ".gitmodules": f'[submodule "s"]\n\tpath = s\n\turl = {url}\n'}
    )
    git(work, "update-index", "--add", "--cacheinfo", f"160000,{commit},s")
    git(work, "commit", "--quiet", "--message=x")
    git(folder, "clone", "--quiet", "--bare", "super", "super.git")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    repository(tmp_path / "own" / "app.git", {"Dockerfile": "FROM scratch\n"}, bare=True)
    return tmp_path / "own"


def test_a_submodule_on_the_same_server_gets_the_password(own: Path, workspace: Workspace) -> None:
    submodule(own, "../app.git")
    with http_git_server(own, username="user", password="right") as server:
        fetch(GitRepo(f"{server.url}/super.git", username="user", password=Secret("right")), workspace)
    assert Path(workspace.context, "s", "Dockerfile").is_file()


@pytest.mark.parametrize("private", [False, True])
def test_a_submodule_on_another_server_never_gets_the_password(
    own: Path, workspace: Workspace, private: bool
) -> None:
    with (
        http_git_server(own, username="user", password="right") as server,
        http_git_server(own, password="right" if private else "") as other,
    ):
        submodule(own, f"{other.url}/app.git")
        repo = GitRepo(f"{server.url}/super.git", username="user", password=Secret("right"))
        if private:
            error = failure(repo, workspace)
            assert error.code == "git_unauthorized"
            assert "submodule s" in str(error)
        else:
            fetch(repo, workspace)
        assert other.requests
        assert {request.authorization for request in other.requests} == {""}


def test_a_redirect_to_another_server_does_not_take_the_password_along(
    own: Path, workspace: Workspace
) -> None:
    with (
        http_git_server(own, username="user", password="right") as server,
        http_git_server(own, username="user", password="right") as other,
    ):
        server.redirect = other.url
        error = failure(
            GitRepo(f"{server.url}/app.git", username="user", password=Secret("right")), workspace
        )
        assert error.code == "git_unauthorized"
        assert other.requests
        assert {request.authorization for request in other.requests} == {""}


def test_credentials_for_another_transport_are_reported_as_unused(served: Path, workspace: Workspace) -> None:
    tree = fetch(GitRepo(f"file://{served}/app.git", password=Secret("t0ken")), workspace)
    assert "serve http and https only" in tree.warnings[0]
    assert "t0ken" not in str(tree)


# Failures


def test_what_is_not_there_is_said(served: Path, workspace: Workspace) -> None:
    with http_git_server(served) as server, git_daemon(served) as daemon:
        for url in (server.url, daemon, f"file://{served}"):
            error = failure(GitRepo(f"{url}/nothing.git"), workspace)
            assert error.code == "no_such_repository", url
            assert f"There is no repository {url}/nothing.git." in str(error)


@pytest.mark.usefixtures("impatient")
def test_a_server_in_trouble_is_asked_again(served: Path, workspace: Workspace) -> None:
    lines: list[str] = []
    with http_git_server(served) as server:
        server.failing = [503, 500, 429]
        assert fetch(GitRepo(f"{server.url}/app.git"), workspace, lines).revision
    assert sum("Trying again" in line for line in lines) == 3


@pytest.mark.usefixtures("impatient")
def test_a_server_that_stays_in_trouble_is_given_up(served: Path, workspace: Workspace) -> None:
    with http_git_server(served) as server:
        server.failing = [502] * 50
        error = failure(GitRepo(f"{server.url}/app.git"), workspace)
        assert len(server.requests) == 5
    assert (error.code, error.retryable) == ("git_unreachable", True)
    assert "502" in str(error)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{}/app.git", "git://127.0.0.1:{}/app.git", "ssh://git@127.0.0.1:{}/app.git"]
)
def test_a_server_that_is_down_is_unreachable(workspace: Workspace, url: str) -> None:
    error = failure(GitRepo(url.format(free_port())), workspace)
    assert (error.code, error.retryable) == ("git_unreachable", True)
    assert "onnect" in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "https://no-such-host.invalid/app.git",
        "git@no-such-host.invalid:app.git",
        "git://no-such-host.invalid/a",
    ],
)
def test_an_unknown_host_is_not_asked_again(workspace: Workspace, url: str) -> None:
    lines: list[str] = []
    with pytest.raises(SourceError, match="name service") as failed:
        fetch(GitRepo(url), workspace, lines)
    assert failed.value.code == "git_unreachable"
    assert not any("Trying again" in line for line in lines)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_never_answers_is_given_up(
    served: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_ASK_TIMEOUT_SECONDS", 0.5)
    with http_git_server(served) as server:
        server.delay = 3
        error = failure(GitRepo(f"{server.url}/app.git"), workspace)
    assert error.code == "git_unreachable"
    assert "timed out" in str(error)


def test_a_certificate_nobody_trusts_is_named(served: Path, workspace: Workspace, tmp_path: Path) -> None:
    with http_git_server(served, tls=tmp_path / "tls") as server:
        error = failure(GitRepo(f"{server.url}/app.git"), workspace)
    assert error.code == "certificate_not_trusted"
    assert "http.sslCAInfo" in error.hint


def test_a_machine_without_git_is_told_to_install_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert failure(GitRepo("https://host/app"), workspace).code == "git_missing"


def test_a_git_that_is_too_old_is_refused(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\necho git version 2.25.1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    error = failure(GitRepo("https://host/app"), workspace)
    assert error.code == "git_missing"
    assert "git 2.25 is too old" in str(error)


def test_a_full_disk_is_named(tmp_path: Path, home: Path, served: Path) -> None:
    size = 2_000_000
    repository(
        tmp_path / "large.git", {"Dockerfile": "FROM scratch\n", "x": os.urandom(size).hex()}, bare=True
    )
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("a small file system needs the right to mount one")
    try:
        with Workspace.create(str(small)) as made, http_git_server(tmp_path) as server:
            assert failure(GitRepo(f"{server.url}/large.git"), made).code == "disk_full"
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "ext::sh -c 'touch MARK'"},
        {"url": "--upload-pack=touch MARK"},
        {"url": "-oProxyCommand=touch MARK@host:x"},
        {"url": "ssh://-oProxyCommand=touch MARK/x"},
        {"url": "file:///app.git", "version": "--upload-pack=touch MARK"},
        {"url": "file:///app.git", "version": "main:refs/heads/x"},
    ],
)
def test_hostile_addresses_and_versions_never_reach_git(
    workspace: Workspace, tmp_path: Path, fields: dict[str, str]
) -> None:
    mark = tmp_path / "mark"
    given: dict[str, Any] = {name: value.replace("MARK", str(mark)) for name, value in fields.items()}
    repo = GitRepo(**given)
    assert "refused" in str(failure(repo, workspace))
    assert not mark.exists()


def test_the_users_configuration_cannot_bring_a_transport_back(
    served: Path, workspace: Workspace, home: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    (home / ".gitconfig").write_text(
        f'[url "ext::touch {mark} "]\n\tinsteadOf = https://example.invalid/\n[protocol]\n\tallow = always\n'
    )
    error = failure(GitRepo("https://example.invalid/app.git"), workspace)
    assert "not allowed" in str(error)
    assert not mark.exists()


def test_the_users_own_rewriting_of_addresses_holds(served: Path, workspace: Workspace, home: Path) -> None:
    with http_git_server(served) as server:
        (home / ".gitconfig").write_text(f'[url "{server.url}/"]\n\tinsteadOf = https://example.invalid/\n')
        assert (
            fetch(GitRepo("https://example.invalid/app.git"), workspace).url
            == "https://example.invalid/app.git"
        )


def test_a_repository_git_is_standing_in_plays_no_part(
    served: Path, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(tmp_path / "mine", {"file": "mine"})
    monkeypatch.chdir(tmp_path / "mine")
    for name, value in {
        "GIT_DIR": ".git",
        "GIT_WORK_TREE": ".",
        "GIT_INDEX_FILE": str(tmp_path / "index"),
    }.items():
        monkeypatch.setenv(name, value)
    fetch(GitRepo(f"file://{served}/app.git"), workspace)
    assert os.listdir(workspace.context) == ["Dockerfile"]
    assert not (tmp_path / "index").exists()
    assert git(tmp_path / "mine", "status", "--porcelain") == ""


# ssh


@pytest.fixture(scope="session")
def ssh(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshGitServer]:
    with ssh_git_server(served, tmp_path_factory.mktemp("ssh")) as made:
        yield made


def ssh_repo(ssh: SshGitServer, **fields: Any) -> GitRepo:
    given = {"ssh_key_file": str(ssh.key), "ssh_known_hosts_file": str(ssh.known_hosts), **fields}
    return GitRepo(f"{ssh.url}/app.git", **given)


def test_key_and_host_files_with_odd_names_work(
    ssh: SshGitServer, workspace: Workspace, tmp_path: Path
) -> None:
    odd = tmp_path / "a 'b' $(touch x) %h \\ c"
    odd.mkdir()
    for source in (ssh.key, ssh.known_hosts):
        (odd / source.name).write_bytes(source.read_bytes())
        (odd / source.name).chmod(0o600)
    repo = ssh_repo(ssh, ssh_key_file=str(odd / "key"), ssh_known_hosts_file=str(odd / "known_hosts"))
    assert fetch(repo, workspace).revision


def test_an_unknown_host_key_is_refused_with_the_way_out(
    ssh: SshGitServer, workspace: Workspace, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    for known in (str(empty), None):
        error = failure(ssh_repo(ssh, ssh_known_hosts_file=known), workspace)
        assert error.code == "ssh_host_key"
        assert "ssh-keyscan" in error.hint
    assert empty.read_text() == ""


def test_a_changed_host_key_is_refused(ssh: SshGitServer, workspace: Workspace, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")], check=True)
    changed = tmp_path / "changed"
    changed.write_text(f"{ssh.known_hosts.read_text().split()[0]} {(tmp_path / 'k.pub').read_text()}")
    error = failure(ssh_repo(ssh, ssh_known_hosts_file=str(changed)), workspace)
    assert error.code == "ssh_host_key"
    assert "is not the one that is known" in str(error)


def test_a_key_that_is_not_let_in_is_unauthorized(
    ssh: SshGitServer, workspace: Workspace, tmp_path: Path
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")], check=True)
    assert failure(ssh_repo(ssh, ssh_key_file=str(tmp_path / "k")), workspace).code == "git_unauthorized"


def test_a_key_with_a_passphrase_fails_without_asking(
    ssh: SshGitServer, workspace: Workspace, tmp_path: Path
) -> None:
    key = tmp_path / "k"
    key.write_bytes(ssh.key.read_bytes())
    key.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "passphrase", "-f", str(key)], check=True)
    error = failure(ssh_repo(ssh, ssh_key_file=str(key)), workspace)
    assert error.code in ("ssh_key_unusable", "git_unauthorized")


def test_a_key_file_that_is_missing_or_open_to_others_is_named(
    ssh: SshGitServer, workspace: Workspace, tmp_path: Path
) -> None:
    wide = tmp_path / "wide"
    wide.write_bytes(ssh.key.read_bytes())
    wide.chmod(0o644)
    error = failure(ssh_repo(ssh, ssh_key_file=str(wide)), workspace)
    assert (error.code, error.hint) == ("ssh_key_unusable", f"Run: chmod 600 {wide}")
    for name in ("ssh_key_file", "ssh_known_hosts_file"):
        error = failure(ssh_repo(ssh, **{name: str(tmp_path / "missing")}), workspace)
        assert error.code == "ssh_key_unusable"
        assert name in str(error)


def test_a_missing_repository_behind_ssh_is_said(ssh: SshGitServer, workspace: Workspace) -> None:
    repo = GitRepo(**{**vars(ssh_repo(ssh)), "url": f"{ssh.url}/nothing.git"})
    assert failure(repo, workspace).code == "no_such_repository"


# Being stopped


def test_a_cancelled_fetch_leaves_no_process_and_no_workspace(
    served: Path, home: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with http_git_server(served) as server:
        server.delay = 60
        before = descendants()

        def stop() -> None:
            while not server.requests:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)

        stopper = threading.Thread(target=stop, daemon=True)
        stopper.start()
        with pytest.raises(Cancelled), process.cancellable(), Workspace.create(str(root)) as made:
            fetch(GitRepo(f"{server.url}/app.git"), made)
        stopper.join()
        server.delay = 0
    assert [what for pid, what in descendants().items() if pid not in before] == []
    assert list(root.iterdir()) == []
