# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""How modules end on a host whose Python has no package but what Ansible brings along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import ansible
import pytest

MODULES = Path(__file__).parents[4] / "plugins" / "modules"
REFERENCE = {"reference": "127.0.0.1:1/image:tag"}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of its own, without packages, beside which lie ``ansible`` and the collection."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    (folder / "ansible").symlink_to(Path(ansible.__file__).parent)
    collection = folder / "ansible_collections" / "sodalite" / "image_builder"
    collection.mkdir(parents=True)
    (collection / "plugins").symlink_to(MODULES.parent)
    return folder


def run(bare: Path, module: str, arguments: dict[str, object], home: Path) -> dict[str, Any]:
    done = subprocess.run(
        [
            bare / "bin" / "python",
            "-m",
            f"ansible_collections.sodalite.image_builder.plugins.modules.{module}",
        ],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        timeout=60,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(bare),
            "HOME": str(home),
            "DOCKER_HOST": "unix:///nonexistent/docker.sock",
        },
    )
    assert "Traceback" not in done.stderr, done.stderr
    return dict(json.loads(done.stdout))


def test_the_python_is_bare(bare: Path) -> None:
    for library in ("docker", "requests", "urllib3", "yaml"):
        done = subprocess.run([bare / "bin" / "python", "-c", f"import {library}"], capture_output=True)
        assert done.returncode != 0
    assert sys.executable != str(bare / "bin" / "python")


@pytest.mark.parametrize(
    "module", [path.stem for path in MODULES.glob("*.py") if path.stem not in ("__init__", "document")]
)
def test_every_module_checks_its_arguments_without_the_libraries(
    module: str, bare: Path, tmp_path: Path
) -> None:
    result = run(bare, module, {"no_such": 1}, tmp_path)
    assert "no_such" in result["msg"] or "missing" in result["msg"]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("build_engine_info", {"name": "image-builder"}),
        ("registry_image_info", REFERENCE),
        ("registry_image", {**REFERENCE, "state": "absent"}),
        ("source", {"source": {"dockerfile": {"url": "http://127.0.0.1:1/Dockerfile"}}}),
        (
            "images",
            {
                "context": "CONTEXT",
                "target": {"images": [{"image": "i"}], "registry": {"url": "127.0.0.1:1"}},
            },
        ),
    ],
)
def test_a_module_that_needs_the_docker_package_names_it(
    module: str, arguments: dict[str, object], bare: Path, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    given = {key: str(tmp_path) if value == "CONTEXT" else value for key, value in arguments.items()}
    result = run(bare, module, given, tmp_path)
    assert result["failed"]
    assert "Failed to import the required Python library (docker)" in result["msg"]
