# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Repositories and servers that would take all there is: processes, memory, disk, inodes, time."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.source import GitRepo
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import SourceError
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT
from ansible_collections.sodalite.image_builder.plugins.module_utils.policy import Policy, SourceLimits
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources import kinds
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.git import bounded, client
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.git.bounded import (
    Bounds,
    LimitPassed,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.workspace import Workspace

from tests.support.background_server import in_background
from tests.support.git_servers import http_git_server
from tests.support.hostile_git import (
    FLUSH,
    hostile_git_server,
    line,
    pack_of,
    references,
    swelling_pack,
)
from tests.support.leaks import descendants
from tests.support.repositories import add_commit, git, repository

# An abbreviated commit takes nine runs of git, each with one or two helpers, when all goes well.
MOST_PROCESSES = 60


def local(path: Path, version: str = "HEAD") -> GitRepo:
    return GitRepo(f"file://{path}", version=version)


def refused(repo: GitRepo, workspace: Workspace, limits: SourceLimits = Policy.source) -> SourceError:
    with pytest.raises(SourceError) as caught:
        kinds.fetch(repo, workspace, SILENT, Policy(source=limits))
    assert caught.value.hint
    assert not caught.value.retryable
    assert sum(len(files) for _, _, files in os.walk(workspace.context)) == 0
    return caught.value


@contextmanager
def counted() -> Iterator[set[int]]:
    """The processes that this one starts in the block, directly or not."""
    before, seen = set(descendants()), set()
    finished = threading.Event()

    def sample() -> None:
        while not finished.wait(0.005):
            seen.update(pid for pid in descendants() if pid not in before)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield seen
    finally:
        finished.set()
        sampler.join()


@contextmanager
def dumb_server(folder: Path) -> Iterator[str]:
    """Serves the files of ``folder`` and knows nothing of git."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    with in_background(server):
        yield f"http://127.0.0.1:{server.server_port}"


# Abbreviated commits, where git would fetch what it lacks one object at a time


@pytest.fixture
def history(tmp_path: Path) -> list[str]:
    """The commits of ``tmp_path / "origin"``, oldest first."""
    commits = [repository(tmp_path / "origin", {"Dockerfile": "FROM scratch\n", "file": "0"})]
    commits += [add_commit(tmp_path / "origin", {"file": str(n)}, str(n)) for n in range(1, 4)]
    return commits


@pytest.mark.parametrize("back", [0, 1])
def test_an_abbreviated_commit_of_a_shallow_checkout_is_found(
    tmp_path: Path, workspace: Workspace, history: list[str], back: int
) -> None:
    checkout = tmp_path / "checkout"
    git(tmp_path, "clone", "--quiet", "--depth=2", f"file://{tmp_path}/origin", "checkout")
    git(checkout, "checkout", "--quiet", "--detach", f"HEAD~{back}")
    commit = history[-1 - back]
    with counted() as processes:
        assert kinds.fetch(local(checkout, commit[:7]), workspace, SILENT).revision == commit
    assert len(processes) < MOST_PROCESSES


def test_an_abbreviated_commit_in_a_cut_history_is_found_where_no_branch_stands_at_it(
    tmp_path: Path, workspace: Workspace, history: list[str]
) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=2", f"file://{tmp_path}/origin", "checkout")
    found = kinds.fetch(local(tmp_path / "checkout", history[2][:7]), workspace, SILENT)
    assert found.revision == history[2]


def test_an_abbreviated_commit_that_a_cut_history_lacks_is_refused(
    tmp_path: Path, workspace: Workspace, history: list[str]
) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=2", f"file://{tmp_path}/origin", "checkout")
    with counted() as processes:
        error = refused(local(tmp_path / "checkout", history[0][:7]), workspace)
    assert error.code == "no_such_version"
    assert len(processes) < MOST_PROCESSES


@pytest.mark.parametrize("packed", [False, True])
def test_an_abbreviated_commit_is_found_on_a_dumb_server(
    tmp_path: Path, workspace: Workspace, history: list[str], packed: bool
) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", "--no-local", "origin", "served.git")
    if not packed:
        (pack,) = (tmp_path / "served.git" / "objects" / "pack").glob("*.pack")
        content = pack.read_bytes()
        for file in list(pack.parent.iterdir()):
            file.unlink()
        subprocess.run(
            ["git", "-C", str(tmp_path / "served.git"), "unpack-objects", "-q"], input=content, check=True
        )
    git(tmp_path / "served.git", "update-server-info")
    with dumb_server(tmp_path) as url, counted() as processes:
        repo = GitRepo(f"{url}/served.git", version=history[1][:7])
        assert kinds.fetch(repo, workspace, SILENT).revision == history[1]
    assert len(processes) < MOST_PROCESSES


def test_a_git_that_cannot_be_kept_from_fetching_leaves_nothing_out(
    tmp_path: Path, workspace: Workspace, history: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    real = subprocess.run(["which", "git"], check=True, capture_output=True, text=True).stdout.strip()
    program.write_text(
        '#!/bin/sh\n[ "$1" = version ] && echo git version 2.34.1 && exit\n'
        f'case "$*" in *--filter*) exit 99;; esac\nexec {real} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    found = kinds.fetch(local(tmp_path / "origin", history[1][:7]), workspace, SILENT)
    assert found.revision == history[1]


# Trees


def hash_object(work: Path, kind: str, content: bytes) -> str:
    (work / "raw").write_bytes(content)
    return git(work, "hash-object", "-t", kind, "-w", "--literally", str(work / "raw"))


def tree(work: Path, entries: list[tuple[str, str, str]]) -> str:
    return hash_object(
        work,
        "tree",
        b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(sha) for mode, name, sha in entries),
    )


def nested(work: Path, content: bytes, depth: int, width: int) -> Path:
    """A repository of folders that hold one folder ``width`` times, ``depth`` deep, and a file at the end."""
    repository(work, {"Dockerfile": "FROM scratch\n"})
    made = tree(work, [("100644", "file", hash_object(work, "blob", content))])
    for _ in range(depth):
        made = tree(work, [("40000", f"{n:02}", made) for n in range(width)])
    top = tree(
        work, [("100644", "Dockerfile", git(work, "rev-parse", "HEAD:Dockerfile")), ("40000", "t", made)]
    )
    git(work, "update-ref", "refs/heads/main", git(work, "commit-tree", "-m", "x", top))
    return work


@pytest.mark.parametrize(
    ("content", "depth", "width", "said"),
    [
        (b"x", 6, 10, "more than 5000 files and folders"),
        (bytes(1 << 20), 2, 10, "more than 50 MiB of files"),
        (b"x", 220, 1, "more than 200 folders one in another"),
    ],
)
def test_a_tree_that_holds_itself_is_refused_before_a_file_is_written(
    tmp_path: Path, workspace: Workspace, content: bytes, depth: int, width: int, said: str
) -> None:
    work = nested(tmp_path / "app", content, depth, width)
    error = refused(local(work), workspace, SourceLimits(files=5000, bytes=50 << 20))
    assert error.code == "source_too_large"
    assert said in error.message


def test_more_than_the_disk_holds_is_refused_before_a_file_is_written(
    tmp_path: Path, workspace: Workspace
) -> None:
    # 6 * 10 ** 12 bytes
    error = refused(
        local(nested(tmp_path / "app", bytes(60 << 20), 5, 10)), workspace, SourceLimits(bytes=1 << 60)
    )
    assert error.code == "disk_full"


def test_files_are_counted_together_with_those_of_submodules(tmp_path: Path, workspace: Workspace) -> None:
    lib = repository(tmp_path / "lib", {f"{n}": "x" for n in range(30)})
    work = tmp_path / "app"
    repository(work, {"Dockerfile": "FROM scratch\n"})
    link(work, "../lib", ["one", "two"], lib)
    with pytest.raises(SourceError, match="more than 50 files"):
        kinds.fetch(local(work), workspace, SILENT, Policy(source=SourceLimits(files=50)))


# Submodules


def link(work: Path, url: str, paths: list[str], commit: str) -> str:
    """Commit submodules of ``work`` at ``paths``."""
    for path in paths:
        with (work / ".gitmodules").open("a") as file:
            file.write(f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n')
        git(work, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    git(work, "add", ".gitmodules")
    git(work, "commit", "--quiet", "--message=submodules")
    return git(work, "rev-parse", "HEAD")


def test_submodules_that_multiply_come_to_an_end(tmp_path: Path, workspace: Workspace) -> None:
    served = tmp_path / "served"
    commit = repository(served / "0", {"file": "x"})
    for level in range(1, 5):
        repository(served / str(level), {"Dockerfile": "FROM scratch\n"})
        commit = link(served / str(level), f"../{level - 1}", [f"s{n}" for n in range(5)], commit)
    policy = Policy(source=SourceLimits(submodules=12))
    with http_git_server(served) as server:
        with pytest.raises(SourceError, match="more than 12 submodules") as caught:
            kinds.fetch(GitRepo(f"{server.url}/4"), workspace, SILENT, policy)
        assert caught.value.code == "source_too_large"
    assert len(server.requests) < 60


def test_more_submodules_than_are_fetched_are_refused_before_one_is(
    tmp_path: Path, workspace: Workspace
) -> None:
    work = tmp_path / "app"
    commit = repository(work, {"Dockerfile": "FROM scratch\n"})
    link(work, "../app", [f"s{n}" for n in range(8)], commit)
    assert "more than 5 submodules" in refused(local(work), workspace, SourceLimits(submodules=5)).message


# What servers send


def endless(piece: bytes) -> Iterator[bytes]:
    return itertools.repeat(piece * max(1, 60_000 // len(piece)))


def test_references_without_end_are_refused(workspace: Workspace) -> None:
    with hostile_git_server() as server:
        server.listing = (
            references(f"refs/heads/{block}-{n}" for n in range(1000)) for block in itertools.count()
        )
        error = refused(GitRepo(f"{server.url}/app"), workspace, SourceLimits(memory=48 << 20))
        assert server.sent < 128 << 20
    assert error.code == "source_too_large"


def test_references_without_end_are_refused_where_an_old_server_offers_them_to_a_fetch(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_ASK_MEMORY", 48 << 20)
    with hostile_git_server() as server:
        server.offered = itertools.chain(
            [line(b"# service=git-upload-pack\n") + FLUSH],
            [line(b"1" * 40 + b" HEAD\0shallow allow-reachable-sha1-in-want\n")],
            (references(f"refs/heads/{block}-{n}" for n in range(1000)) for block in itertools.count()),
        )
        error = refused(GitRepo(f"{server.url}/app", version="2" * 40), workspace)
        assert server.sent < 1 << 30
    assert error.code == "source_too_large"
    assert "to talk to the server" in error.message


def test_messages_without_end_are_refused(workspace: Workspace) -> None:
    with hostile_git_server() as server:
        server.listing = [references(["HEAD", "refs/heads/main"]) + FLUSH]
        server.fetched = itertools.chain([line(b"packfile\n")], endless(line(b"\2" + b"again and again\n")))
        error = refused(GitRepo(f"{server.url}/app"), workspace)
        assert server.sent < 64 << 20
    assert error.code == "source_too_large"
    assert "MiB of messages" in error.message


def test_an_object_that_swells_beyond_the_memory_is_refused(workspace: Workspace) -> None:
    with hostile_git_server() as server:
        server.listing = [references(["HEAD", "refs/heads/main"]) + FLUSH]
        server.fetched = [pack_of(swelling_pack(2))]
        error = refused(GitRepo(f"{server.url}/app"), workspace, SourceLimits(memory=100 << 20))
        assert server.sent < 1 << 20
    assert error.code == "source_too_large"


def test_the_whole_of_a_fetch_has_an_end(workspace: Workspace, tmp_path: Path) -> None:
    repository(tmp_path / "app", {"Dockerfile": "FROM scratch\n"})
    with http_git_server(tmp_path) as server:
        server.delay = 30
        with pytest.raises(SourceError, match="timed out") as caught:
            kinds.fetch(
                GitRepo(f"{server.url}/app"), workspace, SILENT, Policy(source=SourceLimits(seconds=1))
            )
        server.delay = 0
    assert caught.value.code == "git_unreachable"


# One run


def run(script: str, limits: SourceLimits, folder: str = "", seconds: float = 30) -> str:
    return bounded.run(
        ["sh", "-c", script], Bounds(limits, folder), env=dict(os.environ), cwd="/", seconds=seconds
    ).stdout


def test_a_run_within_its_limits_gives_its_output_names_that_are_no_text_included() -> None:
    assert run(r"printf 'a\377'", SourceLimits()) == "a\udcff"


@pytest.mark.parametrize(
    ("script", "limits", "said"),
    [
        ("for n in 1 2 3 4 5 6 7 8; do sleep 60 & done; wait", SourceLimits(processes=5), "5 processes"),
        ("sh -c 'sh -c \"sleep 60 & sleep 60\" & sleep 60' & wait", SourceLimits(processes=3), "3 processes"),
        ("exec cat /dev/zero", SourceLimits(), "MiB of output"),
        ("exec cat /dev/zero >&2", SourceLimits(), "MiB of messages"),
    ],
)
def test_a_run_that_takes_too_much_is_ended_with_all_that_it_started(
    script: str, limits: SourceLimits, said: str
) -> None:
    before = set(descendants())
    with pytest.raises(LimitPassed, match=said):
        run(script, limits)
    assert [what for pid, what in descendants().items() if pid not in before] == []


def test_a_process_gets_no_more_memory_than_it_may_have() -> None:
    script = f"{sys.executable} -c 'x = bytearray(300 << 20)' 2>/dev/null && echo got it || echo got none"
    assert run(script, SourceLimits(memory=150 << 20)) == "got none\n"
    assert run(script, SourceLimits()) == "got it\n"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("while :; do head -c 1000000 /dev/zero > f$((n = n + 1)); done", "of disk|file system"),
        ("n=0; while :; do n=$((n + 1)); mkdir d$n; done", "files and folders|file system"),
    ],
)
def test_a_run_that_fills_its_folder_is_ended(tmp_path: Path, script: str, said: str) -> None:
    with pytest.raises(LimitPassed, match=said):
        run(f"cd {tmp_path}; {script}", SourceLimits(bytes=20 << 20, files=100), str(tmp_path))


def test_a_file_grows_no_longer_than_a_source_may(tmp_path: Path) -> None:
    run(f"head -c 5000000 /dev/zero > {tmp_path}/f; :", SourceLimits(bytes=1 << 20))
    assert (tmp_path / "f").stat().st_size <= 1 << 20
