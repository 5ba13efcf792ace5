# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What BuildKit itself makes of a Dockerfile, read from the progress of a real build."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from tests.support.engine import Engine

# With several platforms the step's name begins with the one that the image is pulled for.
_METADATA = re.compile(r"^#\d+ \[(\S+) internal\] load metadata for (\S+)$", re.MULTILINE)
_ERROR = re.compile(r"^ERROR: (?:failed to build: )?failed to (?:solve|run Build function): .+", re.MULTILINE)
_CRASH = "panic: "
_MISSING_IMAGE = "failed to resolve source metadata"


@dataclass(frozen=True)
class View:
    """How a build went.

    ``images`` are pairs of platform and full reference that BuildKit asked for. ``rejected`` holds
    its error text where the Dockerfile is at fault, else it is empty; ``complete`` tells
    whether the build came to its end, so that ``images`` are all of them.
    """

    images: frozenset[tuple[str, str]]
    rejected: str
    complete: bool


def view(
    engine: Engine,
    text: str,
    *,
    platforms: Sequence[str],
    build_args: Optional[Mapping[str, str]] = None,
    target: str = "",
) -> View:
    """Build ``text`` for at least two ``platforms``, throwing the result away."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Dockerfile").write_bytes(text.encode())
        argv = [engine.buildx, "build", "--progress=plain", "--output=type=cacheonly"]
        argv += ["--provenance=false", f"--platform={','.join(platforms)}", f"--target={target}"]
        for name, value in (build_args or {}).items():
            argv.append(f"--build-arg={name}={value}")
        done = _run(engine, [*argv, folder])
    failed = done.returncode != 0
    missing = _MISSING_IMAGE in done.stderr
    errors = _ERROR.findall(done.stderr)
    # buildx 0.13 crashes over an image without layers for several platforms, once BuildKit is done.
    if _CRASH in done.stderr:
        errors.append("buildx crashed")
    assert errors or not failed, done.stderr
    error = errors[-1] if failed and not missing else ""
    return View(frozenset(_METADATA.findall(done.stderr)), error, not failed)


def bake(
    engine: Engine,
    text: str,
    contexts: Mapping[str, str],
    output: Path,
    *,
    platforms: Sequence[str],
    build_args: Optional[Mapping[str, str]] = None,
    target: Optional[str] = None,
) -> None:
    """Build ``text`` with named contexts into ``output``, which gets one folder for each platform."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Dockerfile").write_bytes(text.encode())
        job = {
            "context": folder,
            "platforms": list(platforms),
            "contexts": dict(contexts),
            "args": dict(build_args or {}),
            "output": [f"type=local,dest={output},platform-split=true"],
            **({"target": target} if target else {}),
        }
        plan = Path(folder, "bake.json")
        plan.write_text(json.dumps({"target": {"image": job}}))
        done = _run(engine, [engine.buildx, "bake", "--file", str(plan), "--progress=plain", "image"])
    assert done.returncode == 0, done.stderr


def _run(engine: Engine, argv: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "DOCKER_HOST": engine.docker_host,
        "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        "BUILDX_BAKE_ENTITLEMENTS_FS": "0",
    }
    return subprocess.run(argv, env=environment, capture_output=True, text=True)
