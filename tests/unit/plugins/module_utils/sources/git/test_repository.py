# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Fetching from real servers: what arrives, in every way of naming it, on every transport."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.source import GitRepo
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import SourceError
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT, Lines
from ansible_collections.sodalite.image_builder.plugins.module_utils.policy import PERMISSIVE
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources import kinds
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.git.checkout import Checkout
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.git.commit import resolve
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.tree import SourceTree
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.workspace import Workspace

from tests.support.git_servers import git_daemon, http_git_server, lfs_object, ssh_git_server
from tests.support.repositories import add_commit, git, repository


class Commits:
    """The history of the served repository: ``main`` has ``old``, ``middle``, ``tip``."""

    def __init__(self, folder: Path) -> None:
        self.bare = folder / "team" / "app.git"
        work = folder / "app"
        self.old = repository(work, {"Dockerfile": "FROM scratch\n", "file": "old"})
        git(work, "tag", "light")
        self.middle = add_commit(work, {"file": "middle"}, "middle")
        git(work, "tag", "--annotate", "--message=x", "v1.0")
        self.tip = add_commit(work, {"file": "tip"}, "tip")
        git(work, "checkout", "--quiet", "-b", "feature/x", self.old)
        self.feature = add_commit(work, {"file": "feature"}, "feature")
        git(work, "branch", "both", self.middle)
        git(work, "tag", "both", self.old)
        git(work, "update-ref", "refs/pull/7/head", self.middle)
        git(work, "checkout", "--quiet", "main")
        self.bare.parent.mkdir()
        git(folder, "clone", "--quiet", "--mirror", str(work), str(self.bare))

    def __getitem__(self, name: str) -> str:
        return str(getattr(self, name))


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="session")
def commits(served: Path) -> Commits:
    return Commits(served)


@pytest.fixture(scope="session")
def servers(
    served: Path, commits: Commits, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dict[str, Any]]]:
    """For each transport the fields of a ``GitRepo`` that reach it, and the environment git needs."""
    folder = tmp_path_factory.mktemp("servers")
    with (
        http_git_server(served) as http,
        http_git_server(served, tls=folder / "tls") as https,
        http_git_server(served) as old,
        ssh_git_server(served, folder / "ssh") as ssh,
        ssh_git_server(served, folder / "old-ssh", protocol_v2=False) as old_ssh,
        git_daemon(served) as daemon,
    ):
        old.protocol_v2 = False
        yield {
            "http": {"url": http.url},
            "https": {"url": https.url, "environment": {"GIT_SSL_CAINFO": str(https.ca)}},
            "http, protocol 0": {"url": old.url},
            "ssh": {
                "url": ssh.url,
                "ssh_key_file": str(ssh.key),
                "ssh_known_hosts_file": str(ssh.known_hosts),
            },
            "ssh, protocol 0": {
                "url": old_ssh.url,
                "ssh_key_file": str(old_ssh.key),
                "ssh_known_hosts_file": str(old_ssh.known_hosts),
            },
            "git": {"url": daemon},
            "file": {"url": f"file://{served}"},
        }


TRANSPORTS = ("http", "https", "http, protocol 0", "ssh", "ssh, protocol 0", "git", "file")


@pytest.fixture(params=TRANSPORTS)
def app(
    request: pytest.FixtureRequest,
    servers: dict[str, dict[str, Any]],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> GitRepo:
    """The served repository on each transport."""
    fields = dict(servers[request.param])
    for name, value in fields.pop("environment", {}).items():
        monkeypatch.setenv(name, value)
    return GitRepo(**{**fields, "url": f"{fields['url']}/team/app.git"})


def with_version(repo: GitRepo, version: str) -> GitRepo:
    return GitRepo(**{**vars(repo), "version": version})


def local(path: Path, **fields: Any) -> GitRepo:
    return GitRepo(f"file://{path}", **fields)


def fetch(repo: GitRepo, workspace: Workspace, progress: list[str] | None = None) -> SourceTree:
    lines = [] if progress is None else progress
    return kinds.fetch(repo, workspace, Lines(lines.append))


def resolved(repo: GitRepo) -> str | None:
    """The commit that is found without fetching."""
    found = resolve(repo, SILENT, PERMISSIVE)
    return found and found.commit


def failure(repo: GitRepo, workspace: Workspace) -> SourceError:
    with pytest.raises(SourceError) as failed:
        fetch(repo, workspace)
    return failed.value


# Ways of naming a version


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("HEAD", "tip"),
        ("main", "tip"),
        ("feature/x", "feature"),
        ("light", "old"),
        ("refs/tags/v1.0", "middle"),
        ("both", "middle"),
        ("tags/both", "old"),
        ("refs/pull/7/head", "middle"),
    ],
)
def test_every_kind_of_name_gives_its_commit(
    home: Path, workspace: Workspace, commits: Commits, version: str, name: str
) -> None:
    repo = local(commits.bare, version=version)
    assert resolved(repo) == commits[name]
    tree = fetch(repo, workspace)
    assert tree.revision == commits[name]
    assert Path(tree.context, "file").read_text() == name
    assert tree.url == repo.url


@pytest.mark.parametrize(("version", "name"), [("HEAD", "tip"), ("v1.0", "middle")])
def test_names_give_their_commit_on_every_transport(
    app: GitRepo, workspace: Workspace, commits: Commits, version: str, name: str
) -> None:
    repo = with_version(app, version)
    assert resolved(repo) == commits[name]
    assert fetch(repo, workspace).revision == commits[name]
    assert Path(workspace.context, "file").read_text() == name


@pytest.mark.parametrize(("name", "length"), [("middle", 40), ("old", 8), ("tip", 7)])
def test_full_and_abbreviated_commits_are_fetched_on_every_transport(
    app: GitRepo, workspace: Workspace, commits: Commits, name: str, length: int
) -> None:
    tree = fetch(with_version(app, commits[name][:length].upper()), workspace)
    assert tree.revision == commits[name]
    assert Path(tree.context, "file").read_text() == name


def test_an_abbreviated_commit_in_the_history_is_not_resolved_without_a_fetch(
    home: Path, commits: Commits
) -> None:
    git(
        commits.bare.parent.parent,
        "clone",
        "--quiet",
        "--bare",
        "--single-branch",
        "--no-tags",
        str(commits.bare),
        "c",
    )
    assert resolved(local(commits.bare.parent.parent / "c", version=commits.old[:8])) is None


def test_a_sha256_repository_is_fetched(tmp_path: Path, workspace: Workspace) -> None:
    git(tmp_path, "init", "--quiet", "--object-format=sha256", "--initial-branch=main", "app")
    commit = add_commit(tmp_path / "app", {"Dockerfile": "FROM scratch\n"})
    assert len(commit) == 64
    for version in ("HEAD", commit):
        assert fetch(local(tmp_path / "app", version=version), workspace).revision == commit


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("mian", "Did you mean main?"),
        ("abcdef012345", "no branch, tag or commit"),
        ("refs/heads/nothing", "no branch, tag or commit"),
    ],
)
def test_a_version_that_is_not_there_is_a_clear_error(
    commits: Commits, workspace: Workspace, version: str, said: str
) -> None:
    error = failure(local(commits.bare, version=version), workspace)
    assert error.code == "no_such_version"
    assert said in str(error)


def test_a_commit_that_is_not_there_is_a_clear_error_on_every_transport(
    app: GitRepo, workspace: Workspace
) -> None:
    error = failure(with_version(app, "0" * 39 + "1"), workspace)
    assert error.code == "no_such_version"
    assert "no branch, tag or commit '000" in str(error)


def test_an_ambiguous_abbreviation_in_the_history_lists_the_commits(
    tmp_path: Path, workspace: Workspace
) -> None:
    work = tmp_path / "app"
    repository(work, {"Dockerfile": "FROM scratch\n"})
    # Among 2000 commits several share their first four digits.
    stream = "".join(
        f"commit refs/heads/main\ncommitter a <a@b> {1700000000 + n} +0000\ndata 1\n{n % 10}\n"
        + ("from refs/heads/main^0\n" if n == 0 else "")
        for n in range(2000)
    )
    subprocess.run(["git", "-C", str(work), "fast-import", "--quiet"], input=stream.encode(), check=True)
    commits = git(work, "rev-list", "main").split()
    first = next(c[:4] for c in commits[1:] if sum(other.startswith(c[:4]) for other in commits[1:]) > 1)
    error = failure(local(work, version=first), workspace)
    assert error.code == "no_such_version"
    assert all(c in str(error) for c in commits if c.startswith(first))


def test_an_empty_repository_is_a_clear_error(tmp_path: Path, workspace: Workspace) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "empty.git")
    assert "is empty" in str(failure(local(tmp_path / "empty.git"), workspace))


# What travels, and what stays


def test_one_commit_travels_and_no_git_directory_stays(
    app: GitRepo, workspace: Workspace, commits: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    pull = Checkout._pull_large_files

    def count(self: Any, git_dir: str, *rest: Any) -> None:
        counted.append(
            git(Path(git_dir), "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)").split()
        )
        pull(self, git_dir, *rest)

    monkeypatch.setattr(Checkout, "_pull_large_files", count)
    fetch(app, workspace)
    assert counted[0].count("commit") == 1
    assert sorted(os.listdir(workspace.path)) == [".image-builder-workspace", "context"]
    assert sorted(os.listdir(workspace.context)) == ["Dockerfile", "file"]


def test_two_fetches_are_alike_in_times_and_modes_whatever_the_umask(tmp_path: Path, home: Path) -> None:
    work = tmp_path / "app"
    repository(work, {"Dockerfile": "FROM scratch\n", "a/run": "x", "a/b/c": "y"})
    (work / "a" / "run").chmod(0o755)
    (work / "link").symlink_to("nowhere")
    add_commit(work, {})
    seen = []
    for mask in (0o022, 0o077):
        before = os.umask(mask)
        try:
            with Workspace.create(str(tmp_path)) as made:
                tree = fetch(local(work), made)
                seen.append(
                    {
                        os.path.relpath(os.path.join(folder, name), tree.root): os.lstat(
                            os.path.join(folder, name)
                        )
                        for folder, names, files in os.walk(tree.root)
                        for name in (".", *names, *files)
                    }
                )
        finally:
            os.umask(before)
    modes = [{name: stat.filemode(s.st_mode) for name, s in one.items()} for one in seen]
    assert modes[0] == modes[1]
    assert (modes[0]["a/run"], modes[0]["a/b/c"], modes[0]["a"]) == ("-rwxr-xr-x", "-rw-r--r--", "drwxr-xr-x")
    assert {s.st_mtime for one in seen for s in one.values()} == {1700000000}
    assert tree.committed_at == 1700000000


def test_the_times_of_files_behind_links_are_left_alone(tmp_path: Path, workspace: Workspace) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    before = outside.stat()
    work = tmp_path / "app"
    repository(work, {"Dockerfile": "FROM scratch\n"})
    (work / "link").symlink_to(outside)
    add_commit(work, {})
    fetch(local(work), workspace)
    assert outside.stat() == before


def test_a_commit_before_1970_or_after_all_times_is_fetched(tmp_path: Path, workspace: Workspace) -> None:
    work = tmp_path / "app"
    repository(work, {"Dockerfile": "FROM scratch\n"})
    raw = git(work, "cat-file", "commit", "HEAD")
    (tmp_path / "raw").write_text(raw.replace("1700000000", "99999999999999999"))
    commit = git(work, "hash-object", "-t", "commit", "-w", "--literally", str(tmp_path / "raw"))
    git(work, "update-ref", "refs/heads/main", commit)
    assert fetch(local(work), workspace).committed_at >= 0


def test_the_users_hooks_filters_and_templates_do_not_run(
    tmp_path: Path, home: Path, workspace: Workspace
) -> None:
    mark = tmp_path / "ran"
    template = tmp_path / "template" / "hooks"
    template.mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction"):
        (template / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (template / name).chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[core]\nhooksPath = {template}\nfsmonitor = touch {mark}\naskPass = touch {mark}\n"
        f"[init]\ntemplateDir = {template.parent}\n[credential]\nhelper = !touch {mark}\n"
    )
    work = tmp_path / "app"
    repository(work, {"Dockerfile": "FROM scratch\n"})
    fetch(local(work), workspace)
    assert not mark.exists()


# Dockerfile and workdir


@pytest.fixture
def laid_out(tmp_path: Path) -> Path:
    files = {
        "Dockerfile": "FROM scratch\n",
        "code/main.py": "x",
        "own/Dockerfile": "FROM own\n",
        "own/deep/x": "x",
        "docker/Dockerfile": "FROM docker\n",
        "only/build/file.Dockerfile": "FROM only\n",
    }
    repository(tmp_path / "app", files)
    (tmp_path / "secret").write_text("secret")
    for name, to in {
        "out": "../..",
        "passwd": "/etc/passwd",
        "inside": "docker/Dockerfile",
        "pwd": "/etc",
    }.items():
        (tmp_path / "app" / name).symlink_to(to)
    add_commit(tmp_path / "app", {})
    return tmp_path / "app"


@pytest.mark.parametrize(
    ("dockerfile", "workdir", "expected"),
    [
        ("Dockerfile", ".", "Dockerfile"),
        ("docker/Dockerfile", "code", "docker/Dockerfile"),
        ("Dockerfile", "code", "Dockerfile"),
        ("build/file.Dockerfile", "only", "only/build/file.Dockerfile"),
        ("./docker/../docker/Dockerfile", "./code/", "docker/Dockerfile"),
        ("inside", ".", "docker/Dockerfile"),
    ],
)
def test_the_dockerfile_is_looked_for_from_the_root_then_from_workdir(
    laid_out: Path, workspace: Workspace, dockerfile: str, workdir: str, expected: str
) -> None:
    tree = fetch(local(laid_out, dockerfile=dockerfile, workdir=workdir), workspace)
    assert os.path.relpath(tree.dockerfile, tree.root) == expected
    assert tree.context == os.path.normpath(os.path.join(tree.root, workdir))
    assert tree.warnings == ()


def test_where_both_exist_the_root_wins_and_the_user_is_told(laid_out: Path, workspace: Workspace) -> None:
    tree = fetch(local(laid_out, workdir="own"), workspace)
    assert tree.dockerfile == os.path.join(tree.root, "Dockerfile")
    assert tree.warnings == ("The repository has Dockerfile and own/Dockerfile; Dockerfile is used.",)


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"dockerfile": "nope"}, "no_dockerfile", "looked for nope"),
        ({"dockerfile": "nope", "workdir": "own"}, "no_dockerfile", "looked for nope and own/nope"),
        ({"dockerfile": "docker"}, "no_dockerfile", "looked for docker"),
        ({"workdir": "nope"}, "workdir_missing", "no folder 'nope'"),
        ({"workdir": "Dockerfile"}, "workdir_missing", "no folder 'Dockerfile'"),
        ({"dockerfile": "passwd"}, "path_outside_source", "dockerfile"),
        ({"dockerfile": "pwd/passwd"}, "path_outside_source", "dockerfile"),
        ({"dockerfile": "/etc/passwd"}, "path_outside_source", "dockerfile"),
        ({"dockerfile": "../../secret"}, "path_outside_source", "dockerfile"),
        ({"workdir": "out"}, "path_outside_source", "workdir"),
        ({"workdir": "pwd"}, "path_outside_source", "workdir"),
        ({"workdir": ".."}, "path_outside_source", "workdir"),
    ],
)
def test_a_dockerfile_or_workdir_that_is_not_in_the_source_is_refused(
    laid_out: Path, workspace: Workspace, fields: dict[str, str], code: str, said: str
) -> None:
    error = failure(local(laid_out, **fields), workspace)
    assert error.code == code
    assert said in str(error)


# Submodules


def submodule(work: Path, url: str, path: str, commit: str, **more: str) -> str:
    """Commit a submodule of ``work`` as anybody could write it, without cloning it."""
    lines = "".join(f"\t{key} = {value}\n" for key, value in {"path": path, "url": url, **more}.items())
    with (work / ".gitmodules").open("a") as file:
        file.write(f'[submodule "{path}"]\n{lines}')
    git(work, "add", ".gitmodules")
    git(work, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    git(work, "commit", "--quiet", "--message=submodule")
    return git(work, "rev-parse", "HEAD")


def test_submodules_arrive_at_their_commit_recursively_without_git_files(
    tmp_path: Path, workspace: Workspace
) -> None:
    repository(tmp_path / "leaf", {"leaf": "1"})
    first = git(tmp_path / "leaf", "rev-parse", "HEAD")
    add_commit(tmp_path / "leaf", {"leaf": "2"})
    repository(tmp_path / "lib", {"lib": "lib"})
    lib = submodule(tmp_path / "lib", "../leaf", "deep/leaf", first)
    repository(tmp_path / "app", {"Dockerfile": "FROM scratch\n"})
    submodule(tmp_path / "app", f"file://{tmp_path}/lib", "libs/lib", lib)
    submodule(tmp_path / "app", "../nothing", "skipped", first, update="none")
    tree = fetch(local(tmp_path / "app"), workspace)
    root = Path(tree.context)
    assert (root / "libs/lib/deep/leaf/leaf").read_text() == "1"
    assert [path for path in root.rglob(".git*") if path.name != ".gitmodules"] == []
    assert list((root / "skipped").iterdir()) == []
    assert {path.lstat().st_mtime for path in root.rglob("*")} == {1700000000}


def test_a_submodule_without_an_address_is_left_empty_with_a_warning(
    tmp_path: Path, workspace: Workspace
) -> None:
    commit = repository(tmp_path / "app", {"Dockerfile": "FROM scratch\n"})
    git(tmp_path / "app", "update-index", "--add", "--cacheinfo", f"160000,{commit},lost")
    git(tmp_path / "app", "commit", "--quiet", "--message=x")
    assert "'lost' has no address" in fetch(local(tmp_path / "app"), workspace).warnings[0]


@pytest.mark.parametrize(
    "url",
    ["ext::sh -c touch% MARK", "--upload-pack=touch MARK", "-oProxyCommand=touch MARK@h:x", "file://MARK"],
)
def test_a_hostile_submodule_address_is_refused(
    tmp_path: Path, workspace: Workspace, served: Path, url: str
) -> None:
    mark = tmp_path / "mark"
    folder = tmp_path / "hostile"
    commit = repository(folder / "app", {"Dockerfile": "FROM scratch\n"})
    submodule(folder / "app", url.replace("MARK", str(mark)), "sub", commit)
    git(folder, "clone", "--quiet", "--bare", "app", "app.git")
    with http_git_server(folder) as server:
        error = failure(GitRepo(f"{server.url}/app.git"), workspace)
    assert error.code == "git_failed"
    assert "'sub' is refused" in str(error)
    assert not mark.exists()


def test_a_submodule_cannot_be_placed_through_a_link(tmp_path: Path, workspace: Workspace) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    repository(tmp_path / "lib", {"planted": "x"})
    commit = git(tmp_path / "lib", "rev-parse", "HEAD")
    work = tmp_path / "app"
    repository(work, {"Dockerfile": "FROM scratch\n"})
    submodule(work, "../lib", "a/sub", commit)
    # A tree that holds the name `a` twice, as a link and as a directory.
    blob = git(work, "rev-parse", "HEAD:Dockerfile")
    modules = git(work, "rev-parse", "HEAD:.gitmodules")
    subtree = git(work, "rev-parse", "HEAD:a")
    (tmp_path / "to").write_text(str(outside))
    link = git(work, "hash-object", "-w", str(tmp_path / "to"))
    entries = [
        ("100644", ".gitmodules", modules),
        ("100644", "Dockerfile", blob),
        ("120000", "a", link),
        ("40000", "a", subtree),
    ]
    raw = b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(sha) for mode, name, sha in entries)
    (tmp_path / "tree").write_bytes(raw)
    tree = git(work, "hash-object", "-t", "tree", "-w", "--literally", str(tmp_path / "tree"))
    git(work, "update-ref", "refs/heads/main", git(work, "commit-tree", "-m", "x", tree))
    fetch(local(work), workspace)
    assert list(outside.iterdir()) == []


# Git LFS


def large_file(folder: Path, content: bytes) -> Path:
    """A bare repository whose file ``big`` lies with Git LFS."""
    oid = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"
    repository(
        folder / "big.git",
        {
            "Dockerfile": "FROM scratch\n",
            ".gitattributes": "big filter=lfs diff=lfs merge=lfs -text\n",
            "big": pointer,
        },
        bare=True,
    )
    path = lfs_object(folder / "big.git", oid)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_large_files_of_a_private_repository_arrive_where_git_lfs_is_installed(
    tmp_path: Path, workspace: Workspace
) -> None:
    content = os.urandom(100_000)
    large_file(tmp_path, content)
    with http_git_server(tmp_path, username="user", password="right") as server:
        repo = GitRepo(f"{server.url}/big.git", username="user", password=Secret("right"))
        tree = fetch(repo, workspace)
    assert Path(tree.context, "big").read_bytes() == content
    assert tree.warnings == ()


def test_a_large_file_that_the_server_lost_is_an_error(tmp_path: Path, workspace: Workspace) -> None:
    large_file(tmp_path, b"content").unlink()
    with http_git_server(tmp_path) as server:
        error = failure(GitRepo(f"{server.url}/big.git"), workspace)
    assert "lacks a large file" in str(error)


def test_without_git_lfs_pointers_arrive_with_a_warning(
    tmp_path: Path, workspace: Workspace, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large_file(tmp_path, b"content")
    (home / ".gitconfig").write_text('[filter "lfs"]\nsmudge = git-lfs smudge -- %f\nrequired = true\n')
    programs = tmp_path / "programs"
    programs.mkdir()
    for folder in os.environ["PATH"].split(":"):
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            if name != "git-lfs" and not (programs / name).exists():
                (programs / name).symlink_to(os.path.join(folder, name))
    monkeypatch.setenv("PATH", str(programs))
    with http_git_server(tmp_path) as server:
        tree = fetch(GitRepo(f"{server.url}/big.git"), workspace)
    assert Path(tree.context, "big").read_text().startswith("version https://git-lfs")
    assert "Git LFS" in tree.warnings[0]


def test_a_repository_cannot_send_git_lfs_to_a_hostile_address(tmp_path: Path, workspace: Workspace) -> None:
    large_file(tmp_path, b"content")
    git(tmp_path, "clone", "--quiet", "big.git", "work")
    add_commit(tmp_path / "work", {".lfsconfig": "[lfs]\n\turl = ssh://-oProxyCommand=x/y\n"})
    git(tmp_path / "work", "push", "--quiet", "origin", "HEAD")
    with http_git_server(tmp_path) as server:
        error = failure(GitRepo(f"{server.url}/big.git"), workspace)
    assert "large files" in str(error)
    assert "refused" in str(error)


def test_what_stays_out_of_a_build_is_named_beside_a_dockerfile_that_is_a_link(
    tmp_path: Path, workspace: Workspace
) -> None:
    path = tmp_path / "repository"
    repository(path, {"docker/real": "FROM scratch", "docker/patterns": "a", ".dockerignore": "b"})
    (path / "Dockerfile").symlink_to("docker/real")
    (path / "Dockerfile.dockerignore").symlink_to("docker/patterns")
    git(path, "add", "--all")
    git(path, "commit", "--quiet", "--message=Link")
    tree = fetch(local(path), workspace)
    assert tree.dockerfile == f"{tree.root}/docker/real"
    assert Path(tree.dockerignore).read_text() == "a"
