# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What benchmarks build, with image-builder and by hand: a repository, its variants, a registry of their own.

The engine is the one that image-builder finds on this machine, and the base images are the samples
of its set-up.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from ansible_collections.sodalite.image_builder.plugins.module_utils.build.result import Report
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_document
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import buildx
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import find as engines
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations import request

from tests.support.registry import registry
from tests.support.repositories import git, write
from tests.support.run import VENV

BASES = (
    "alpine:latest",
    "alpine:3.18",
    "debian:bookworm",
    "golang:1.20",
    "python:3.6-alpine",
    "python:3.8-alpine",
)
REPOSITORY = "benchmark/variants"
#: By hand as by image-builder: images are not kept in the engine's store beside the registry.
TO_REGISTRY = "type=image,push=true,unpack=false,store=false"


@dataclass(frozen=True)
class Scale:
    """How much is measured: ``small`` is for seeing that a benchmark works, and tells nothing."""

    rounds: int
    small: bool

    @property
    def megabytes(self) -> int:
        """The size of a build context."""
        return 1 if self.small else 50

    @property
    def platforms(self) -> tuple[str, ...]:
        """What each variant is built for."""
        return ("linux/amd64",) if self.small else ("linux/amd64", "linux/arm64")

    @property
    def six(self) -> tuple[str, ...]:
        """The bases of the six variants, or of the few that a small run has."""
        return BASES[:2] if self.small else BASES


@dataclass(frozen=True)
class Variant:
    """One image: its tag, what takes the place of ``alpine:latest``, and its build arguments."""

    tag: str
    base: str
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A git repository that image-builder fetches, and its tree, without a ``.git``, for builds by hand."""

    repository: Path
    tree: Path

    @property
    def url(self) -> str:
        """What image-builder is given."""
        return self.repository.as_uri()

    def commit(self, files: Mapping[str, str]) -> None:
        """Commit the tree with ``files`` (path to text) in it."""
        write(self.tree, files)
        at = (f"--git-dir={self.repository}", f"--work-tree={self.tree}")
        git(self.tree, *at, "add", "--all")
        git(self.tree, *at, "commit", "--quiet", "--message=Add files")
        # As servers have what was pushed to them: of single objects git would make a pack for each fetch.
        git(self.tree, *at, "repack", "--quiet", "-d")


@dataclass(frozen=True)
class Site:
    """An engine, the address of a registry (``host:port``), and a folder for everything else."""

    folder: Path
    engine: engines.Engine
    registry: str

    def source(self, name: str, dockerfile: str, megabytes: int) -> Source:
        """A new source with ``megabytes`` that cannot be compressed, and a file ``nonce``."""
        made = Source(self.folder / f"{name}.git", self.folder / name)
        git(self.folder, "init", "--quiet", "--bare", "--initial-branch=main", str(made.repository))
        made.tree.mkdir()
        (made.tree / "data").write_bytes(os.urandom(megabytes * 1_000_000))
        made.commit({"Dockerfile": dockerfile, "nonce": name})
        return made

    def renew(self, source: Source, nonce: str) -> None:
        """Commit what every step depends on anew, so that nothing of the next build is in a cache."""
        with (source.tree / "data").open("r+b") as file:
            file.write(os.urandom(1024))
        source.commit({"nonce": f"{nonce} {time.time_ns()}\n"})

    def document(
        self, source: str, variants: Sequence[Variant], platforms: Sequence[str], **options: Any
    ) -> dict[str, Any]:
        """What image-builder is asked to build from the repository at the URL ``source``."""
        images = [
            {
                "image": REPOSITORY,
                "tag": variant.tag,
                "base": variant.base,
                "build_args": dict(variant.arguments),
                "platforms": list(platforms),
            }
            for variant in variants
        ]
        target = {"images": images, "registry": {"url": self.registry}}
        return {"source": {"git_repo": {"url": source}}, "target": target, "options": options}

    def build(self, document: Mapping[str, Any]) -> Report:
        """Build with image-builder in this process, as its command line does."""
        return request.carry_out(accept_document(document), SILENT)

    def build_ok(self, document: Mapping[str, Any], state: str) -> None:
        """The same, and see that every image ends in ``state``."""
        built = self.build(document)
        if built.error is not None:
            raise built.error
        found = {result.state for result in built.results}
        if found != {state}:
            raise SystemExit(f"Not all images are {state}: {', '.join(sorted(found))}.")

    def bake(self, source: Source, variants: Sequence[Variant], platforms: Sequence[str]) -> None:
        """Build by one bake, as written by hand."""
        targets = {
            f"variant-{number}": {
                "context": str(source.tree),
                "contexts": {"alpine": f"docker-image://{variant.base}"},
                "args": dict(variant.arguments),
                "platforms": list(platforms),
                "tags": [self.reference(variant)],
                "output": [TO_REGISTRY],
            }
            for number, variant in enumerate(variants)
        }
        file = self.folder / "bake.json"
        file.write_text(json.dumps({"group": {"default": {"targets": list(targets)}}, "target": targets}))
        self.buildx("bake", "--file", str(file))

    def reference(self, variant: Variant) -> str:
        """The name of a variant's image."""
        return f"{self.registry}/{REPOSITORY}:{variant.tag}"

    def buildx(self, *arguments: str) -> str:
        """Run buildx, which makes no provenance, as image-builder does not; returns its standard output."""
        environment = {
            **buildx.environment(self.engine.endpoint),
            "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
            # Since 0.22 it asks before it reads what lies outside of the working directory.
            "BUILDX_BAKE_ENTITLEMENTS_FS": "0",
        }
        return run(self.engine.buildx, *arguments, env=environment)


@contextmanager
def site() -> Iterator[Site]:
    """A site for the length of a block. Raises ``EngineError`` where no engine is set up."""
    with TemporaryDirectory(prefix="benchmark-image-builder-") as name:
        folder = Path(name)
        # What image-builder remembers of the sources is of no use to the user.
        remembered = patch.dict(os.environ, {"XDG_CACHE_HOME": str(folder / "cache")})
        with remembered, registry(folder / "registry") as made:
            yield Site(folder, engines.find(), made.address)


def run_installed(program: str, *arguments: str, cwd: Path) -> None:
    """Run a program of the environment that deploys."""
    # Ansible ends at once where the locale is not UTF-8.
    path = os.pathsep.join((str(VENV / "bin"), os.environ["PATH"]))
    run(
        str(VENV / "bin" / program),
        *arguments,
        cwd=cwd,
        env={**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"},
    )


def run(*argv: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a program; returns its standard output. Ends the benchmark with its output if it fails."""
    done = subprocess.run(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv[:3])} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
