# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# They stand for apt-get and dpkg-query: a test must not install packages, nor wait for the real ones.
APT = """#!/bin/sh
case "$*" in
*install*)
    trap 'echo ended >>"$STATE/log"; exit 1' TERM
    touch "$STATE/begun"
    until [ -e "$STATE/go" ]; do sleep 0.05; done
    echo "${TMPDIR-the machine's}" >"$STATE/temporary"
    sed -i 's/^libc-bin it/libc-bin ii/' "$STATE/packages"
    echo "runc ii" >>"$STATE/packages"
    exit "$(cat "$STATE/go")" ;;
esac
"""
DPKG_QUERY = """#!/bin/sh
cat "$STATE/packages"
"""


@dataclass(frozen=True)
class Installation:
    """An installation of runc under way; ``go`` lets apt-get end with a status."""

    module: subprocess.Popen[str]
    state: Path

    def go(self, status: int) -> list[str]:
        """The packages on record when it has ended."""
        (self.state / "new").write_text(str(status))
        (self.state / "new").rename(self.state / "go")
        self.module.communicate(timeout=60)
        return list(json.loads((self.state / "prefix" / "installed.json").read_text()))


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    for name, text in (("apt-get", APT), ("dpkg-query", DPKG_QUERY)):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "packages").write_text("libc6 ii\nlibc-bin it\nrunc un\nold rc\n")
    (tmp_path / "tmp").mkdir()
    program = "ansible_collections.sodalite.image_builder.plugins.modules.debian_recorded"
    arguments = {"packages": ["runc"], "record": str(tmp_path / "prefix" / "installed.json")}
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    with subprocess.Popen(
        [sys.executable, "-m", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PATH": path, "STATE": str(tmp_path), "TMPDIR": str(tmp_path / "tmp")},
        text=True,
        start_new_session=True,
    ) as module:
        assert module.stdin is not None
        module.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        module.stdin.close()
        module.stdin = None
        deadline = time.monotonic() + 60
        try:
            while not (tmp_path / "begun").exists():
                assert module.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield Installation(module, tmp_path)
        finally:
            module.kill()


def test_a_signal_ends_it_only_when_the_packages_are_installed_and_recorded(
    installation: Installation,
) -> None:
    os.killpg(installation.module.pid, signal.SIGTERM)
    assert installation.go(0) == ["runc"]
    assert not (installation.state / "log").exists()
    assert (installation.state / "temporary").read_text() == "the machine's\n", (
        "the caller's goes with the caller"
    )


def test_what_a_failed_installation_brought_is_recorded(installation: Installation) -> None:
    assert installation.go(100) == ["runc"]
    assert installation.module.returncode == 1
