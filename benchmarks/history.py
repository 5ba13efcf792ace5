# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Fetching a git repository with a long history, and finding nothing changed in it, to a full clone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_source
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.fetch_source import (
    fetch_source,
    remove_source,
)

from benchmarks.answer import Answer, medians, timed
from benchmarks.site import Scale, Site, Variant, run
from tests.support.git_servers import http_git_server
from tests.support.repositories import git

_FILES = 100
_BYTES_A_COMMIT = 2000


def history(site: Site, scale: Scale) -> Answer:
    """Measure."""
    commits = 200 if scale.small else 10_000
    served = site.folder / "served"
    _make(served / "long.git", commits)
    sizes: dict[str, int] = {}
    with http_git_server(served) as server:
        url = f"{server.url}/long.git"
        document = site.document(url, [Variant("history", scale.six[0])], scale.platforms)
        site.build_ok(document, "success")

        def clone(name: str) -> None:
            run("git", "clone", "--quiet", url, str(site.folder / name))
            sizes["clone"] = _size(site.folder / name)
            shutil.rmtree(site.folder / name)

        def fetch(name: str) -> None:
            fetched = fetch_source(accept_source(document["source"])[0], str(site.folder), SILENT)
            sizes["fetch"] = _size(Path(fetched.workspace))
            remove_source(fetched.workspace)

        measured = timed(
            {
                "full clone": clone,
                "image-builder, fetching": fetch,
                "image-builder, nothing changed": lambda _: site.build_ok(document, "unchanged"),
            },
            scale.rounds,
        )
    cloning, fetching, asking = medians(measured).values()
    return Answer(
        {"commits": commits, "files": _FILES, "bytes changed by a commit": _BYTES_A_COMMIT},
        measured,
        {
            "full clone / fetching": cloning / fetching,
            "full clone / nothing changed": cloning / asking,
            "bytes on disk: full clone / fetching": sizes["clone"] / sizes["fetch"],
        },
    )


def _make(folder: Path, commits: int) -> None:
    """A bare repository in which each commit replaces one file by what cannot be compressed."""
    git(folder.parent, "init", "--quiet", "--bare", "--initial-branch=main", str(folder))
    dockerfile = b"FROM alpine:latest\nCOPY . /app\n"
    with subprocess.Popen(["git", "fast-import", "--quiet"], cwd=folder, stdin=subprocess.PIPE) as importer:
        assert importer.stdin is not None
        for number in range(commits):
            content = os.urandom(_BYTES_A_COMMIT)
            importer.stdin.write(
                b"commit refs/heads/main\n"
                b"committer A. Author <author@example.org> %d +0000\ndata 0\n"
                % (1_600_000_000 + number)
                + (
                    b"M 644 inline Dockerfile\ndata %d\n%s\n" % (len(dockerfile), dockerfile)
                    if not number
                    else b""
                )
                + b"M 644 inline file-%d\ndata %d\n%s\n" % (number % _FILES, len(content), content)
            )
        importer.stdin.close()
    if importer.returncode:
        raise SystemExit("git fast-import failed.")


def _size(folder: Path) -> int:
    """Bytes that the files under ``folder`` take on disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
