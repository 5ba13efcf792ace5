# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

# They stand for apt-get and dpkg-query: a test must not install packages, nor wait for the real ones.
APT = """#!/bin/sh
case "$*" in
*install*)
    trap 'echo ended >>"$STATE/log"; exit 1' TERM
    touch "$STATE/begun"
    until [ -e "$STATE/go" ]; do sleep 0.05; done
    echo runc >>"$STATE/packages" ;;
esac
"""
DPKG_QUERY = """#!/bin/sh
while read -r name; do echo "$name ii "; done <"$STATE/packages"
"""


def test_a_signal_ends_it_only_when_the_packages_are_installed_and_recorded(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("apt-get", APT), ("dpkg-query", DPKG_QUERY)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "packages").write_text("libc6\n")
    record = tmp_path / "prefix" / "installed.json"
    module = subprocess.Popen(
        [sys.executable, "-m", "ansible_collections.sodalite.image_builder.plugins.modules.debian_recorded"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "STATE": str(tmp_path)},
        text=True,
        start_new_session=True,
    )
    assert module.stdin is not None
    module.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": {"packages": ["runc"], "record": str(record)}}))
    module.stdin.close()
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert module.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(module.pid, signal.SIGTERM)
    (tmp_path / "go").touch()
    module.wait(60)
    assert json.loads(record.read_text()) == ["runc"]
    assert not (tmp_path / "log").exists()
