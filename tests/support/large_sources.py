# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Large sources, and how much memory and disk building them takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Builds nothing large: what is measured is this program, not the engine.
_PROGRAM = """
import json, os, re, sys
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_document
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations import (
    build_images,
    fetch_source,
)

def peak():
    # getrusage(2) would begin with the peak of whoever started this program.
    with open("/proc/self/status") as file:
        return int(re.search(r"VmHWM:\\s*(\\d+) kB", file.read())[1])

source, target, folder = json.loads(sys.argv[1])
before = peak()
document = accept_document({"source": source, "target": target})
fetched = fetch_source.fetch_source(document.source, folder, SILENT)
size = 0
for place, _, names in os.walk(fetched.workspace):
    size += sum(os.lstat(os.path.join(place, name)).st_blocks * 512 for name in names)
try:
    place = build_images.InWorkspace(fetched.workspace)
    built = build_images.build_images(document.target, document.options, place, SILENT)
finally:
    fetch_source.remove_source(fetched.workspace)
if built.error:
    raise built.error
print(json.dumps({"growth": (peak() - before) * 1024, "written": size}))
"""


@dataclass(frozen=True)
class Taken:
    """What building a source took, in bytes: growth of the process, and what it wrote before the build."""

    growth: int
    written: int


def write_large(folder: Path, megabytes: int) -> None:
    """Make ``folder`` with one large file, of which little can be compressed away, that the build ignores."""
    folder.mkdir()
    block = os.urandom(1 << 20)
    with (folder / "large").open("wb") as file:
        for number in range(megabytes):
            file.write(number.to_bytes(8, "big") + block[8:])
    (folder / "Dockerfile").write_text("FROM python:3.6-alpine\nCOPY Dockerfile /\n")


def measured(docker_host: str, buildx: str, folder: Path, source: dict[str, Any], registry: str) -> Taken:
    """What building ``source`` took.

    The workspace is in ``folder``, and the image goes to ``registry`` (``host:port``).
    Raises ``AssertionError`` where it fails.
    """
    target = {"images": [{"image": f"tests/{uuid.uuid4().hex[:12]}/app"}], "registry": {"url": registry}}
    environment = {
        **os.environ,
        "DOCKER_HOST": docker_host,
        "PATH": f"{Path(buildx).parent}:{os.environ['PATH']}",
    }
    argv = [sys.executable, "-c", _PROGRAM, json.dumps([source, target, str(folder)])]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(done.stderr)
    return Taken(**json.loads(done.stdout))
