# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""On what a benchmark ran."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from benchmarks.site import Site, run
from tests.support.engine import program
from tests.support.run import ROOT, VENV


def versions(site: Site) -> dict[str, str | int]:
    """The versions of all that takes part, and the size of the machine."""
    distribution = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
    installed = {
        name: run(str(VENV / "bin" / "python"), "-c", distribution, name).strip()
        for name in ("ansible-core", "opera")
    }
    builder = site.buildx("inspect", *([site.engine.builder] if site.engine.builder else []))
    memory = re.search(r"MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    return {
        "image-builder": _tree(),
        "Python": platform.python_version(),
        "Docker Engine": site.engine.version,
        "buildx": _number(site.buildx("version")),
        "BuildKit": _number(_line(builder, "buildkit")),
        "registry": _number(run(program("docker-registry"), "--version")),
        "git": _number(run("git", "--version")),
        **installed,
        "kernel": platform.release(),
        "machine": platform.machine(),
        "CPUs": os.cpu_count() or 0,
        "memory in GiB": round(int(memory[1]) / (1 << 20)) if memory else 0,
    }


def _tree() -> str:
    version = re.search(r"^version: (\S+)", (ROOT / "galaxy.yml").read_text(), re.MULTILINE)
    commit = run("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*").strip()
    return f"{version[1] if version else ''} ({commit})"


def _line(text: str, start: str) -> str:
    """The rest of the line that starts so, whatever the case."""
    return next((line for line in text.splitlines() if line.lower().startswith(start)), "")


def _number(text: str) -> str:
    """The first version number in ``text``."""
    found = re.search(r"\d+\.\d+\S*", text)
    return found.group() if found else "unknown"
