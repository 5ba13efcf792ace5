# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Git repositories to build from, made on the spot, as users' own ones look."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

# Nobody's own configuration, and the same commits each time.
_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A. Author",
    "GIT_AUTHOR_EMAIL": "author@example.org",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_NAME": "A. Author",
    "GIT_COMMITTER_EMAIL": "author@example.org",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
}

#: What the public payloads build: any base, a program of the platform run during the build.
GENERIC_REPO = {
    "Dockerfile": """\
FROM python:3.6-alpine
COPY app.py /app/app.py
RUN uname -m > /arch
CMD ["cat", "/app/app.py"]
""",
    "app.py": "print('generic_repo')\n",
    "README.md": "# generic_repo\n",
}

#: What the private payload builds: the Dockerfile lies outside the folder that it builds from.
GENERIC_REPO_2 = {
    "docker_dir/Dockerfile": """\
FROM python:3.6-alpine
COPY . /code
RUN uname -m > /arch
""",
    "code_dir/main.py": "print('generic-repo-2')\n",
    "code_dir/lib/part.py": "PART = 1\n",
    "elsewhere/outside.txt": "must not reach the image\n",
}

#: What the example of image options builds: several stages, an argument and a secret.
APP = {
    "Dockerfile": """\
FROM golang:1.20 AS build
ARG VERSION=dev
COPY main.go .
RUN --mount=type=secret,id=token test -s /run/secrets/token && echo "$VERSION" > /version
FROM alpine:3.18 AS release
COPY --from=build /version /version
FROM release AS debug
RUN exit 1
""",
    "main.go": "package main\n",
}

#: The build contexts of the payloads with a Dockerfile by itself, by the name of their repository.
CONTEXTS = {
    "generic_docker_build_context": {
        "app.py": "print('context')\n",
        "lib/part.py": "PART = 1\n",
        "secret.txt": "must not reach the image\n",
        ".dockerignore": "secret.txt\n",
    },
    "image-builder-test-files": {
        "no_context/a.txt": "a\n",
        "no_context/Dockerfile": "the repository's own\n",
        "outside.txt": "must not reach the image\n",
    },
}

#: The Dockerfiles by themselves, by the end of their address in the examples.
DOCKERFILES = {
    "app/Dockerfile": "FROM python:3.6-alpine\nCOPY . /code\n",
    "no_context/Dockerfile": "FROM python:3.6-alpine\nCOPY . /code\nRUN uname -m > /arch\n",
    "python_build_context/Dockerfile": "FROM python:3.6-alpine\nCOPY . /code\nCOPY app.py /app.py\n",
}


#: What the archive of the examples holds, in one folder, and the local folder of one.
ARCHIVE = {
    "docker/Dockerfile": "FROM python:3.6-alpine\nCOPY . /code\nRUN uname -m > /arch\n",
    "code/main.py": "print('archive')\n",
    "outside.txt": "must not reach the image\n",
}
LOCAL = {"main.py": "print('local')\n", "lib/part.py": "PART = 1\n"}


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write ``files`` (path to text) under ``folder``."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def repository(folder: Path, files: Mapping[str, str], *, bare: bool = False, branch: str = "main") -> str:
    """Make ``folder`` a git repository with one commit of ``files`` (path to text); returns the commit.

    ``bare`` makes it one that a server serves, without a working tree.
    """
    work = folder.with_name(f"{folder.name}.work") if bare else folder
    git(folder.parent, "init", "--quiet", f"--initial-branch={branch}", str(work))
    commit = add_commit(work, files)
    if bare:
        git(folder.parent, "clone", "--quiet", "--bare", str(work), str(folder))
    return commit


def add_commit(work: Path, files: Mapping[str, str], message: str = "Add files") -> str:
    """Commit ``files`` in the working tree ``work``; returns the commit."""
    write(work, files)
    git(work, "add", "--all")
    git(work, "commit", "--quiet", f"--message={message}")
    return git(work, "rev-parse", "HEAD")


def git(folder: Path, *arguments: str) -> str:
    """Run git in ``folder`` apart from the user's configuration; returns its output."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=_ENVIRONMENT, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
