# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The build site of the tests: a Docker Engine, buildx, and the registry that mirrors Docker Hub for it.

Environment variables name another site than the product's own: ``DOCKER_HOST``,
``IMAGE_BUILDER_TEST_BUILDX`` (the buildx binary) and ``IMAGE_BUILDER_TEST_REGISTRY`` (``host:port``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

PREFIX = Path("/opt/image-builder")
_FOLDERS = (f"{PREFIX}/usr/bin", f"{PREFIX}-registry/usr/bin")


def program(name: str) -> str:
    """The path of a program of the private engine or registry, or else of one on PATH."""
    found = shutil.which(name, path=os.pathsep.join((*_FOLDERS, os.environ["PATH"])))
    if found is None:
        raise FileNotFoundError(f"{name} is neither in {' or '.join(_FOLDERS)} nor on PATH")
    return found


@dataclass(frozen=True)
class Engine:
    """A running engine: its socket's address, the buildx binary, and its registry (``host:port``, no TLS)."""

    docker_host: str
    buildx: str
    registry: str

    @classmethod
    def from_environment(cls) -> Engine:
        """The site that the environment names, else the one that the role ``engine`` makes."""
        return cls(
            os.environ.get("DOCKER_HOST", "unix:///run/image-builder/docker.sock"),
            os.environ.get(
                "IMAGE_BUILDER_TEST_BUILDX", str(PREFIX / "usr/libexec/docker/cli-plugins/docker-buildx")
            ),
            os.environ.get("IMAGE_BUILDER_TEST_REGISTRY", "127.0.0.1:5000"),
        )

    def docker(self, *arguments: str, config: Optional[Path] = None, check: bool = True) -> bytes:
        """Run the docker client; ``config`` is its folder with credentials. Returns standard output."""
        environment = {**os.environ, "DOCKER_HOST": self.docker_host}
        if config is not None:
            environment["DOCKER_CONFIG"] = str(config)
        done = subprocess.run([program("docker"), *arguments], env=environment, capture_output=True)
        if check and done.returncode:
            raise AssertionError(f"docker {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
        return done.stdout
