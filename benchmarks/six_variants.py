#!/usr/bin/env python3
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Compares image-builder's wall time with what one would write by hand for the same images.

Six base variants for two platforms from 50 MB of context, each way with a cold cache:

* one hand-written ``docker buildx bake``,
* the same targets one after another by ``docker buildx build``,
* ``ansible-playbook`` with image-builder's playbook,
* ``opera deploy`` with image-builder's blueprint.

Every round of every way gets a context that was never built before, so nothing comes from the
build cache, and the engine's cache need not be pruned. It prints ratios of medians from this
one run; seconds mean nothing on another machine. Run it with the Python of an environment that
holds image-builder: ``.venv/bin/python benchmarks/six_variants.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.sodalite.image_builder.plugins.module_utils import engine as engines

ROOT = Path(__file__).resolve().parent.parent
BASES = (
    "alpine:latest",
    "alpine:3.18",
    "debian:bookworm",
    "golang:1.20",
    "python:3.6-alpine",
    "python:3.8-alpine",
)
PLATFORMS = ("linux/amd64", "linux/arm64")
CONTEXT_MEGABYTES = 50
DOCKERFILE = """\
FROM alpine:latest
COPY . /app
RUN head -c 1000000 /app/data | cat /app/nonce - > /copy && uname -m > /machine
"""


def main() -> None:
    """Measure every way in turn, ``--rounds`` times, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is measured (default: 3)")
    parser.add_argument(
        "--registry", default="127.0.0.1:5000", help="registry to push to (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, help="file for the results as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="image-builder-benchmark-") as folder:
        site = Site(Path(folder), options.registry)
        ways: dict[str, Callable[[str], None]] = {
            "ansible start-up": site.start_ansible,
            "bake": site.bake,
            "one after another": site.one_after_another,
            "ansible-playbook": site.ansible_playbook,
            "opera": site.opera,
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(options.rounds):
            for way, build in ways.items():
                site.renew(f"{way} {number}")
                started = time.monotonic()
                build(f"{way.replace(' ', '-')}-{number}")
                seconds[way].append(time.monotonic() - started)
                print(f"round {number + 1}: {way} {seconds[way][-1]:.1f} s", flush=True)
    report(seconds, site.engine, options.output)


def report(seconds: dict[str, list[float]], engine: engines.Engine, output: Path | None) -> None:
    """Print the medians as ratios, and the aim they are held against."""
    median = {way: statistics.median(values) for way, values in seconds.items()}
    aim = 1.1 * median["bake"] + 2 * median["ansible start-up"]
    print(
        f"\nDocker Engine {engine.version}, medians of {len(seconds['bake'])} rounds, {os.cpu_count()} cores"
    )
    print(f"{'':20}{'to bake':>10}{'to one after another':>22}{'to the aim':>12}")
    ratios = {}
    for way in ("bake", "one after another", "ansible-playbook", "opera"):
        ratios[way] = {
            "to bake": median[way] / median["bake"],
            "to one after another": median[way] / median["one after another"],
            "to the aim": median[way] / aim,
        }
        print(
            f"{way:20}" + "".join(f"{value:>{w}.2f}" for value, w in zip(ratios[way].values(), (10, 22, 12)))
        )
    print("The aim is 1.1 times bake plus two starts of Ansible.")
    if output:
        content = {"engine": engine.version, "seconds": seconds, "ratios": ratios}
        output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


class Site:
    """A git repository to build, and the ways to build it."""

    def __init__(self, folder: Path, registry: str) -> None:
        self.engine = engines.find()
        self._folder = folder
        self._registry = registry
        self._context = folder / "repository"
        self._context.mkdir()
        self._state = folder / "opera"
        (self._context / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
        (self._context / "data").write_bytes(os.urandom(CONTEXT_MEGABYTES * 1_000_000))
        self._run("git", "init", "--quiet", "--initial-branch", "main", cwd=self._context)

    def renew(self, nonce: str) -> None:
        """Change what every step depends on."""
        (self._context / "nonce").write_text(f"{nonce} {time.time_ns()}\n", encoding="utf-8")
        data = self._context / "data"
        with data.open("r+b") as file:
            file.write(os.urandom(1024))
        author = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
        self._run("git", "add", "--all", cwd=self._context)
        self._run("git", *author, "commit", "--quiet", "--message", nonce, cwd=self._context)

    def start_ansible(self, name: str) -> None:
        """A play without tasks."""
        play = self._folder / "empty.yml"
        play.write_text("- {hosts: localhost, gather_facts: false}\n", encoding="utf-8")
        self._run(self._program("ansible-playbook"), str(play))

    def bake(self, name: str) -> None:
        """One bake of six targets, as written by hand."""
        targets = {
            f"variant-{number}": {
                "context": str(self._context),
                "contexts": {"alpine": f"docker-image://{base}"},
                "platforms": PLATFORMS,
                "tags": [self._tag(name, number)],
                "output": ["type=registry"],
            }
            for number, base in enumerate(BASES)
        }
        file = self._folder / "bake.json"
        file.write_text(json.dumps({"group": {"default": {"targets": list(targets)}}, "target": targets}))
        self._buildx("bake", "--file", str(file))

    def one_after_another(self, name: str) -> None:
        """Six builds, each waiting for the one before."""
        for number, base in enumerate(BASES):
            self._buildx(
                "build",
                "--build-context",
                f"alpine=docker-image://{base}",
                "--platform",
                ",".join(PLATFORMS),
                "--tag",
                self._tag(name, number),
                "--push",
                str(self._context),
            )

    def ansible_playbook(self, name: str) -> None:
        """image-builder by its playbook."""
        self._run(
            self._program("ansible-playbook"),
            "sodalite.image_builder.build",
            "--extra-vars",
            f"@{self._document(name)}",
            cwd=self._folder,
        )

    def opera(self, name: str) -> None:
        """image-builder by its blueprint."""
        state = self._folder / name
        state.mkdir()
        blueprint = "docker_image_definition.yaml"
        inputs = str(self._document(name))
        self._run(
            self._program("opera"),
            "deploy",
            "--instance-path",
            str(state),
            "--inputs",
            inputs,
            blueprint,
            cwd=ROOT,
        )

    def _document(self, name: str) -> Path:
        images = []
        for number, base in enumerate(BASES):
            repository, tag = self._tag(name, number).removeprefix(f"{self._registry}/").split(":")
            images.append({"image": repository, "tag": tag, "base": base, "platforms": PLATFORMS})
        document = {
            "source": {"git_repo": {"url": self._context.as_uri()}},
            "target": {"images": images, "registry": {"url": self._registry}},
        }
        path = self._folder / f"{name}.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    def _tag(self, name: str, number: int) -> str:
        return f"{self._registry}/benchmark/six:{name}-{number}"

    def _buildx(self, *arguments: str) -> None:
        self._run(self.engine.buildx, *arguments, env=engines.environment(self.engine))

    @staticmethod
    def _program(name: str) -> str:
        return str(Path(sys.executable).with_name(name))

    @staticmethod
    def _run(*argv: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
        result = subprocess.run(
            argv,
            cwd=cwd,
            env={**(env or os.environ), "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if result.returncode:
            raise SystemExit(f"{' '.join(argv[:3])} failed:\n{result.stdout[-3000:]}")


if __name__ == "__main__":
    main()
