# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The rooms of the engine stay apart: the contract in ``.importlinter`` is one that can be broken."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "plugins" / "module_utils"
ROOMS = sorted(path.parent for path in ENGINE.rglob("__init__.py"))
#: Beside the standard library, what the engine room may use: the docker package and what it brings.
LIBRARIES = {"docker", "requests", "urllib3"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The parts of the tree that the contract is about, under the names that an installation has."""
    collection = tmp_path / "ansible_collections" / "sodalite" / "image_builder"
    shutil.copytree(ROOT / "plugins", collection / "plugins")
    shutil.copytree(ROOT / "src" / "image_builder", tmp_path / "image_builder")
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


#: Runs import-linter in the working directory, without the folders in which the environment has the tree
#: itself: namespace packages of two folders are merged.
LINT = """
import sys
sys.path = [folder for folder in sys.path if folder not in sys.argv[1:]]
from importlinter.cli import lint_imports
sys.exit(lint_imports(cache_dir=None))
"""


def linted(folder: Path) -> subprocess.CompletedProcess[str]:
    trees = [entry for entry in sys.path if Path(entry, "ansible_collections/sodalite").exists()]
    return subprocess.run(
        [sys.executable, "-c", LINT, *trees, str(ROOT / "src")],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_rooms_stand_one_above_the_other(copy: Path) -> None:
    done = linted(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("oci/digest.py", "from ..registry import client"),
        ("document/faults.py", "from ..sources import tree"),
        ("dockerfile/stages.py", "from ..engine import find"),
        ("secret.py", "from . import process"),
        ("build/plan.py", "from ..machine import processes"),
        ("sources/locate.py", "import yaml"),
        ("registry/client.py", "from ansible.module_utils import basic"),
        ("operations/inject_bases.py", "import image_builder.cli"),
    ],
)
def test_an_arrow_that_points_up_turns_the_contract_red(copy: Path, room: str, line: str) -> None:
    path = copy / "ansible_collections/sodalite/image_builder/plugins/module_utils" / room
    path.write_text(f"{path.read_text(encoding='utf-8')}\n\n{line}\n", encoding="utf-8")
    done = linted(copy)
    assert done.returncode == 1, done.stdout
    assert "BROKEN" in done.stdout


def test_a_room_that_the_contract_does_not_name_turns_it_red(copy: Path) -> None:
    room = copy / "ansible_collections/sodalite/image_builder/plugins/module_utils/attic"
    room.mkdir()
    (room / "__init__.py").write_text('"""Nobody knows."""\n', encoding="utf-8")
    assert linted(copy).returncode == 1


@pytest.mark.parametrize("path", sorted(ENGINE.rglob("*.py")), ids=lambda path: str(path.relative_to(ENGINE)))
def test_the_engine_room_imports_no_other_library_than_the_docker_package_brings(path: Path) -> None:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    allowed = LIBRARIES | ({"ansible"} if path.name == "module_run.py" else set())
    assert found - set(sys.stdlib_module_names) <= allowed


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ENGINE)))
def test_a_room_says_in_one_line_what_lives_there(room: Path) -> None:
    # Without this file a stale installed module of the room's name would stand in its place.
    tree = ast.parse((room / "__init__.py").read_text(encoding="utf-8"))
    text = ast.get_docstring(tree)
    assert len(tree.body) == 1
    assert text is not None
    assert "\n" not in text


def test_every_folder_of_the_engine_room_is_a_room() -> None:
    assert {path.parent for path in ENGINE.rglob("*.py")} - {ENGINE} == set(ROOMS)


def test_unit_tests_mirror_the_rooms() -> None:
    tests = ROOT / "tests" / "unit" / "plugins" / "module_utils"
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")}
    assert folders <= {Path(), *(room.relative_to(ENGINE) for room in ROOMS)}
