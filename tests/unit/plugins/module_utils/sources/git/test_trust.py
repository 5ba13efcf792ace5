# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a repository or its server may lead to, what of the user's own counts, and what is told of logins."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.source import GitRepo
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import SourceError
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT, Lines
from ansible_collections.sodalite.image_builder.plugins.module_utils.network import reach
from ansible_collections.sodalite.image_builder.plugins.module_utils.network.reach import Nearness
from ansible_collections.sodalite.image_builder.plugins.module_utils.policy import PERMISSIVE, Policy
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources import kinds
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.tree import SourceTree
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.workspace import Workspace

from tests.support.git_servers import SshGitServer, http_git_server, lfs_object, ssh_git_server
from tests.support.hostile_git import FLUSH, hostile_git_server, line, references
from tests.support.http import encoded_account
from tests.support.repositories import add_commit, git, repository

_T = TypeVar("_T")

STRICT = Policy(own_settings=False)
OTHER = "127.0.0.2"


def fetch(
    repo: GitRepo, workspace: Workspace, policy: Policy = PERMISSIVE, lines: list[str] | None = None
) -> SourceTree:
    told: list[str] = [] if lines is None else lines
    return kinds.fetch(repo, workspace, Lines(told.append), policy)


def refused(repo: GitRepo, workspace: Workspace, policy: Policy = PERMISSIVE) -> SourceError:
    with pytest.raises(SourceError) as caught:
        fetch(repo, workspace, policy)
    assert caught.value.hint or "submodule" in caught.value.message
    return caught.value


@pytest.fixture
def served(tmp_path: Path) -> Path:
    repository(tmp_path / "served" / "app.git", {"Dockerfile": "FROM scratch\n"}, bare=True)
    return tmp_path / "served"


def super_repository(served: Path, url: str) -> None:
    """Make ``super.git``, which has ``app.git`` at ``url`` as a submodule."""
    commit = git(served / "app.git", "rev-parse", "HEAD")
    modules = f'[submodule "s"]\n\tpath = s\n\turl = {url}\n'
    repository(served / "super", {"Dockerfile": "FROM scratch\n", ".gitmodules": modules})
    git(served / "super", "update-index", "--add", "--cacheinfo", f"160000,{commit},s")
    git(served / "super", "commit", "--quiet", "--message=x")
    git(served, "clone", "--quiet", "--bare", "super", "super.git")


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """``OTHER`` is this machine, as it is; ``127.0.0.1`` is somewhere in the internet."""
    nearness = reach.nearness

    def moved(address: reach.Address) -> Nearness:
        return Nearness.PUBLIC if str(address) == "127.0.0.1" else nearness(address)

    monkeypatch.setattr(reach, "nearness", moved)


# Submodules


def test_a_submodule_of_a_tls_server_is_not_fetched_in_clear_text(
    served: Path, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_git_server(served, tls=tmp_path / "tls") as server, http_git_server(served) as plain:
        monkeypatch.setenv("GIT_SSL_CAINFO", str(server.ca))
        super_repository(served, f"{plain.url}/app.git")
        error = refused(GitRepo(f"{server.url}/super.git"), workspace)
        assert plain.requests == []
    assert "leads from https to http" in error.message


@pytest.mark.usefixtures("far")
def test_a_public_repository_does_not_lead_to_this_machine(served: Path, workspace: Workspace) -> None:
    with http_git_server(served) as server, http_git_server(served, host=OTHER) as near:
        super_repository(served, f"{near.url}/app.git")
        error = refused(GitRepo(f"{server.url}/super.git"), workspace)
        assert near.requests == []
    assert error.code == "address_forbidden"


def test_a_near_repository_leads_to_its_neighbours(served: Path, workspace: Workspace) -> None:
    with http_git_server(served) as server, http_git_server(served, host=OTHER) as near:
        super_repository(served, f"{near.url}/app.git")
        assert fetch(GitRepo(f"{server.url}/super.git"), workspace).revision


# Redirects


def test_a_redirect_to_where_the_repository_moved_is_followed(served: Path, workspace: Workspace) -> None:
    with http_git_server(served) as server, http_git_server(served) as other:
        server.redirect = other.url
        assert fetch(GitRepo(f"{server.url}/app.git"), workspace).revision
        assert len(other.requests) > 2


def test_a_redirect_from_tls_to_clear_text_is_refused(
    served: Path, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_git_server(served, tls=tmp_path / "tls") as server, http_git_server(served) as plain:
        monkeypatch.setenv("GIT_SSL_CAINFO", str(server.ca))
        server.redirect = plain.url
        error = refused(GitRepo(f"{server.url}/app.git"), workspace)
        assert plain.requests == []
    assert error.code == "git_failed"
    assert "redirects the repository" in error.message
    assert "from https to http" in error.message


@pytest.mark.usefixtures("far")
def test_a_redirect_from_the_internet_to_this_machine_is_refused(served: Path, workspace: Workspace) -> None:
    with http_git_server(served) as server, http_git_server(served, host=OTHER) as near:
        server.redirect = near.url
        error = refused(GitRepo(f"{server.url}/app.git"), workspace)
        assert near.requests == []
    assert "may not be reached from here" in error.message


def test_redirects_in_a_circle_come_to_an_end(served: Path, workspace: Workspace) -> None:
    with http_git_server(served) as server, http_git_server(served) as other:
        server.redirect, other.redirect = other.url, server.url
        error = refused(GitRepo(f"{server.url}/app.git"), workspace)
        assert len(server.requests) + len(other.requests) < 30
    assert "redirects the repository" in error.message


# Git LFS


def large(folder: Path, config: str = "", content: bytes = b"content") -> Path:
    """A bare repository ``big.git`` whose file ``big`` lies with Git LFS, and its ``.lfsconfig``."""
    oid = hashlib.sha256(content).hexdigest()
    files = {
        "Dockerfile": "FROM scratch\n",
        ".gitattributes": "# all\n\nbig filter=lfs diff=lfs merge=lfs -text\n",
        "big": f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n",
    }
    if config:
        files[".lfsconfig"] = config
    repository(folder / "big.git", files, bare=True)
    path = lfs_object(folder / "big.git", oid)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "config",
    ["[lfs]\n\tfetchexclude = big\n", "[lfs]\n\tfetchinclude = other\n", "[LFS]\n\tFetchExclude = *\n"],
)
def test_a_repository_cannot_keep_a_large_file_from_being_fetched(
    tmp_path: Path, workspace: Workspace, config: str
) -> None:
    large(tmp_path, config)
    with http_git_server(tmp_path) as server:
        tree = fetch(GitRepo(f"{server.url}/big.git"), workspace)
    assert Path(tree.context, "big").read_bytes() == b"content"


def test_a_repository_cannot_have_a_missing_large_file_passed_over(
    tmp_path: Path, workspace: Workspace
) -> None:
    large(tmp_path, "[lfs]\n\tskipdownloaderrors = true\n").unlink()
    with http_git_server(tmp_path) as server:
        assert "lacks a large file" in refused(GitRepo(f"{server.url}/big.git"), workspace).message


@pytest.mark.parametrize("key", ["lfs.url", "lfs.pushurl", "remote.origin.lfsurl"])
@pytest.mark.usefixtures("far")
def test_large_files_of_a_public_repository_are_not_asked_for_at_this_machine(
    tmp_path: Path, workspace: Workspace, key: str
) -> None:
    with http_git_server(tmp_path) as server, http_git_server(tmp_path, host=OTHER) as near:
        section, _, name = key.rpartition(".")
        section = section.replace(".", ' "') + ('"' if "." in section else "")
        large(tmp_path, f"[{section}]\n\t{name} = {near.url}/big.git/info/lfs\n")
        assert refused(GitRepo(f"{server.url}/big.git"), workspace).code == "address_forbidden"
        assert near.requests == []


def test_a_configuration_behind_a_link_is_judged_too(tmp_path: Path, workspace: Workspace) -> None:
    work = tmp_path / "big.git.work"
    large(tmp_path)
    add_commit(work, {"hidden": "[lfs]\n\turl = file:///etc\n"})
    (work / ".lfsconfig").symlink_to("hidden")
    add_commit(work, {})
    git(work, "push", "--quiet", str(tmp_path / "big.git"), "HEAD:main")
    with http_git_server(tmp_path) as server:
        error = refused(GitRepo(f"{server.url}/big.git"), workspace)
    assert "the transport file is not allowed in it" in error.message


def test_an_address_of_large_files_is_judged_as_what_the_users_configuration_makes_of_it(
    tmp_path: Path, workspace: Workspace, home: Path
) -> None:
    (home / ".gitconfig").write_text('[url "file:///etc/"]\n\tinsteadOf = https://large.example/\n')
    large(tmp_path, "[lfs]\n\turl = https://large.example/x\n")
    with http_git_server(tmp_path) as server:
        error = refused(GitRepo(f"{server.url}/big.git"), workspace)
    assert "the transport file is not allowed in it" in error.message


def test_a_server_of_large_files_does_not_lead_where_the_policy_does_not_reach(
    tmp_path: Path, workspace: Workspace
) -> None:
    large(tmp_path)
    policy = Policy(reach=lambda address: str(address) != OTHER)
    with http_git_server(tmp_path) as server, http_git_server(tmp_path, host=OTHER) as forbidden:
        server.large_files = forbidden.url
        error = refused(GitRepo(f"{server.url}/big.git"), workspace, policy)
        assert forbidden.requests == []
    assert error.code == "address_forbidden"
    assert f"{OTHER}" in error.message


@pytest.mark.usefixtures("far")
def test_a_public_server_of_large_files_does_not_lead_to_this_machine(
    tmp_path: Path, workspace: Workspace
) -> None:
    large(tmp_path)
    with http_git_server(tmp_path) as server, http_git_server(tmp_path, host=OTHER) as near:
        server.large_files = near.url
        assert refused(GitRepo(f"{server.url}/big.git"), workspace).code == "address_forbidden"
        assert near.requests == []


@pytest.mark.usefixtures("far")
def test_large_files_of_a_private_repository_arrive_from_a_public_server(
    tmp_path: Path, workspace: Workspace
) -> None:
    content = os.urandom(3_000_000)
    large(tmp_path, content=content)
    with http_git_server(tmp_path, username="user", password="right") as server:
        repo = GitRepo(f"{server.url}/big.git", username="user", password=Secret("right"))
        tree = fetch(repo, workspace)
        assert sum("lfs" in request.path for request in server.requests) == 2
        workspace.empty()
        wrong = GitRepo(f"{server.url}/big.git", username="user", password=Secret("right"))
        large_file = next((tmp_path / "big.git" / "lfs").rglob("?" * 64))
        large_file.unlink()
        assert "lacks a large file" in refused(wrong, workspace).message
    assert tree.warnings == ()


@pytest.mark.usefixtures("far")
def test_a_public_server_of_ssh_leads_to_large_files_on_the_internet_alone(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(3_000_000)
    large(tmp_path / "served", content=content)
    login = {"Authorization": f"Basic {encoded_account('user', 'right')}"}
    with (
        http_git_server(tmp_path / "served", password="right", tls=tmp_path / "tls") as store,
        http_git_server(tmp_path / "served", host=OTHER, tls=tmp_path / "near") as near,
    ):
        trusted = tmp_path / "trusted.crt"
        trusted.write_text("".join(server.ca.read_text() for server in (store, near) if server.ca))
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))

        def by_ssh(site: str, url: str, fetching: Callable[[GitRepo, Workspace], _T]) -> _T:
            told = json.dumps({"href": f"{url}/big.git/info/lfs", "header": login})
            with ssh_git_server(tmp_path / "served", tmp_path / site, large_files=told) as server:
                url = f"{server.url}/big.git"
                known = str(server.known_hosts)
                return fetching(
                    GitRepo(url, ssh_key_file=str(server.key), ssh_known_hosts_file=known), workspace
                )

        tree = by_ssh("one", store.url, fetch)
        assert Path(tree.context, "big").read_bytes() == content
        workspace.empty()
        error = by_ssh("two", near.url, refused)
        assert (error.code, near.requests) == ("address_forbidden", [])
        workspace.empty()
        error = by_ssh("three", store.url.replace("https:", "http:"), refused)
        assert "from ssh to http" in error.message


@pytest.mark.usefixtures("far")
def test_large_files_arrive_whole(tmp_path: Path, workspace: Workspace) -> None:
    content = os.urandom(3_000_000)
    large(tmp_path, content=content)
    with http_git_server(tmp_path) as server, http_git_server(tmp_path) as store:
        server.large_files = store.url
        tree = fetch(GitRepo(f"{server.url}/big.git"), workspace)
        assert store.requests
    assert Path(tree.context, "big").read_bytes() == content


def test_attributes_of_many_empty_lines_are_read_in_no_time(tmp_path: Path, workspace: Workspace) -> None:
    work = tmp_path / "app"
    repository(work, {"Dockerfile": "FROM scratch\n", ".gitattributes": "\n" * 300_000})
    assert fetch(GitRepo(f"file://{work}"), workspace).revision


# The user's own


def test_the_users_own_settings_count_only_where_the_policy_says_so(
    served: Path, workspace: Workspace, home: Path
) -> None:
    with http_git_server(served) as server:
        (home / ".gitconfig").write_text(f'[url "{server.url}/"]\n\tinsteadOf = https://example.invalid/\n')
        repo = GitRepo("https://example.invalid/app.git")
        assert refused(repo, workspace, STRICT).code == "git_unreachable"
        assert server.requests == []
        assert fetch(repo, workspace).revision


def test_the_users_own_logins_count_only_where_the_policy_says_so(
    served: Path, workspace: Workspace, home: Path
) -> None:
    (home / ".netrc").write_text("machine 127.0.0.1 login user password right\n")
    (home / ".netrc").chmod(0o600)
    with http_git_server(served, username="user", password="right") as server:
        repo = GitRepo(f"{server.url}/app.git")
        assert refused(repo, workspace, STRICT).code == "git_unauthorized"
        assert {request.authorization for request in server.requests} == {""}


@pytest.fixture
def ssh(served: Path, tmp_path: Path) -> Iterator[SshGitServer]:
    with ssh_git_server(served, tmp_path / "ssh") as made:
        yield made


def test_the_users_own_key_counts_only_where_the_policy_says_so(
    ssh: SshGitServer, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = subprocess.run(["ssh-agent", "-s"], check=True, capture_output=True, text=True).stdout
    values = dict(part.split("=", 1) for part in started.replace("\n", ";").split(";") if "=" in part)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", values["SSH_AUTH_SOCK"])
        subprocess.run(["ssh-add", "-q", str(ssh.key)], check=True)
        repo = GitRepo(f"{ssh.url}/app.git", ssh_known_hosts_file=str(ssh.known_hosts))
        assert refused(repo, workspace, STRICT).code == "git_unauthorized"
        assert fetch(repo, workspace).revision
    finally:
        os.kill(int(values["SSH_AGENT_PID"]), 15)


def test_a_documents_key_works_without_the_users_own_settings(
    ssh: SshGitServer, workspace: Workspace
) -> None:
    repo = GitRepo(f"{ssh.url}/app.git", ssh_key_file=str(ssh.key), ssh_known_hosts_file=str(ssh.known_hosts))
    assert fetch(repo, workspace, STRICT).revision


@pytest.mark.parametrize("form", [[], ["-m", "PEM"], ["-m", "PKCS8"]])
def test_a_key_with_a_passphrase_is_named_as_such(
    ssh: SshGitServer, workspace: Workspace, tmp_path: Path, form: list[str]
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "words", *form, "-f", str(key)], check=True)
    repo = GitRepo(f"{ssh.url}/app.git", ssh_key_file=str(key), ssh_known_hosts_file=str(ssh.known_hosts))
    error = refused(repo, workspace)
    assert (error.code, error.retryable) == ("ssh_key_unusable", False)
    assert f"The ssh key {key} has a passphrase" in error.message


# What servers send back


def test_a_login_that_a_server_sends_back_is_masked(workspace: Workspace) -> None:
    password = "pa55 w/rd"
    sent = base64.b64encode(f"user:{password}".encode()).decode()
    repo_fields = {"username": "user", "password": Secret(password)}
    with hostile_git_server() as server:
        server.echo = True
        error = refused(GitRepo(f"{server.url}/app", **repo_fields), workspace)  # type: ignore[arg-type]
        assert "is not let in" in error.message
        server.echo = False
        server.listing = [references([f"refs/heads/{password.replace(' ', '%20')}-{sent}"]) + FLUSH]
        other = refused(GitRepo(f"{server.url}/app", version="x", **repo_fields), workspace)  # type: ignore[arg-type]
        assert "It has" in other.hint
    for told in (str(error), str(other), str(error.to_dict()), str(other.to_dict())):
        assert sent not in told
        assert "w/rd" not in told


def test_what_would_steer_a_terminal_is_told_escaped(served: Path, workspace: Workspace) -> None:
    lines: list[str] = []
    super_repository(served, '"../app.git?\\t\u009b2J\u202e"')
    error = refused(GitRepo(f"file://{served}/super.git"), workspace)
    with pytest.raises(SourceError):
        fetch(GitRepo(f"file://{served}/super.git"), workspace, lines=lines)
    with hostile_git_server() as server:
        server.listing = [line(b"ERR \x1b]0;title\x07 \xe2\x80\xae is said\n")]
        other = refused(GitRepo(f"{server.url}/app"), workspace)
    for told in (*lines, str(error), str(other), *map(str, error.to_dict().values())):
        assert told.isprintable(), ascii(told)


# Names


def test_a_branch_goes_before_a_tag_of_its_name_and_the_user_is_told(
    tmp_path: Path, workspace: Workspace
) -> None:
    work = tmp_path / "app"
    first = repository(work, {"Dockerfile": "FROM scratch\n"})
    git(work, "tag", "both")
    second = add_commit(work, {"file": "x"})
    git(work, "branch", "both")
    git(work, "tag", "--annotate", "--message=x", "same", "main")
    git(work, "branch", "same")
    lines: list[str] = []
    assert fetch(GitRepo(f"file://{work}", version="both"), workspace, lines=lines).revision == second
    assert any("both is a branch and a tag; the branch is used" in line for line in lines)
    workspace.empty()
    assert fetch(GitRepo(f"file://{work}", version="refs/tags/both"), workspace).revision == first
    workspace.empty()
    lines.clear()
    assert fetch(GitRepo(f"file://{work}", version="same"), workspace, lines=lines).revision == second
    assert not any("is a branch and a tag" in line for line in lines)


def test_names_that_are_no_utf8_are_fetched(tmp_path: Path, workspace: Workspace) -> None:
    work = tmp_path / "app"
    repository(work, {"Dockerfile": "FROM scratch\n"})
    folder = os.path.join(os.fsencode(work), b"d\xff")
    os.mkdir(folder)
    for name in (b"f\xfe", b".gitattributes"):
        with open(os.path.join(folder, name), "w") as file:
            file.write("x filter=none\n")
    commit = add_commit(work, {})
    (work / ".git" / "packed-refs").write_bytes(
        b"# pack-refs with: peeled \n" + commit.encode() + b" refs/heads/\xff\n"
    )
    lines: list[str] = []
    tree = fetch(GitRepo(f"file://{work}", version=commit[:8]), workspace, lines=lines)
    assert tree.revision == commit
    assert os.listdir(os.path.join(os.fsencode(tree.context), b"d\xff"))
    error = refused(GitRepo(f"file://{work}", version="nothing"), workspace)
    for text in (str(error), str(error.to_dict()), *lines):
        text.encode("utf-8")


def test_a_branch_whose_name_is_no_utf8_is_fetched_where_an_abbreviation_names_it(
    tmp_path: Path, workspace: Workspace
) -> None:
    work = tmp_path / "app"
    repository(work, {"Dockerfile": "FROM scratch\n"})
    commit = add_commit(work, {"file": "x"})
    (work / ".git" / "packed-refs").write_bytes(
        b"# pack-refs with: peeled fully-peeled sorted \n" + commit.encode() + b" refs/heads/\xff\n"
    )
    git(work, "checkout", "--quiet", "--detach", "HEAD~1")
    git(work, "branch", "--force", "main", "HEAD")
    assert fetch(GitRepo(f"file://{work}", version=commit[:8]), workspace).revision == commit


def test_a_partial_clone_is_named_as_the_cause(tmp_path: Path, workspace: Workspace) -> None:
    repository(tmp_path / "origin", {"Dockerfile": "FROM scratch\n"})
    git(tmp_path / "origin", "config", "uploadpack.allowFilter", "true")
    git(
        tmp_path,
        "clone",
        "--quiet",
        "--filter=blob:none",
        "--no-checkout",
        f"file://{tmp_path}/origin",
        "partial",
    )
    error = refused(GitRepo(f"file://{tmp_path}/partial"), workspace)
    assert "partial clone" in error.message
    assert "cloned from" in error.hint


@pytest.mark.parametrize("version", ["main", "v1", "refs/tags/v1", "COMMIT", "SHORT"])
def test_the_revision_is_the_commit_whatever_names_it(
    tmp_path: Path, workspace: Workspace, version: str
) -> None:
    work = tmp_path / "app"
    commit = repository(work, {"Dockerfile": "FROM scratch\n"})
    git(work, "tag", "--annotate", "--message=x", "v1")
    version = {"COMMIT": commit.upper(), "SHORT": commit[:7]}.get(version, version)
    repo = GitRepo(f"file://{work}", version=version)
    identity = kinds.KINDS[GitRepo]().identify(repo, SILENT, PERMISSIVE)
    assert identity is not None
    assert identity.revision == commit
    assert fetch(repo, workspace).revision == commit
