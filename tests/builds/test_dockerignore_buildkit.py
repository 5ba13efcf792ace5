# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Which files of a context arrive, held against the BuildKit that gets them."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import SourceError
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.context_digest import (
    context_digest,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.dockerignore import (
    Ignore,
    find_ignore,
    read_ignore,
)
from hypothesis import example, given, note
from hypothesis import strategies as st

from tests.support import fuzz
from tests.support.engine import Engine

pytestmark = pytest.mark.engine

NAMES = ("a", "b", "ab", "a.c", ".a", "a*b")
WORDS = (
    *NAMES,
    *NAMES,
    "*",
    "**",
    "**",
    "?",
    "a*",
    "*b",
    "**b",
    "b**",
    "[ab]",
    "[^a]",
    "[a-b]?",
    r"a\*b",
    "[a*]",
    "[[:alpha:]]",
    "[a]|b",
    r"\a",
    r"\w",
    r"\D",
    r"?\b",
    r"\x61",
    r"\Q",
    r"\e",
    "[a",
    "?{2}",
    "^?",
    "..",
    ".",
)


@dataclass(frozen=True)
class Case:
    """The files of a context and the text of its ``.dockerignore``."""

    files: tuple[str, ...]
    text: str


@st.composite
def cases(draw: st.DrawFn) -> Case:
    paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join)
    files = draw(st.lists(paths, min_size=4, max_size=12, unique=True))
    # No path is a file and a folder too.
    files = [file for file in files if not any(other.startswith(f"{file}/") for other in files)]
    lines = []
    for _ in range(draw(st.integers(1, 5))):
        words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3))
        before = draw(st.sampled_from(("", "", "", "!", "!", "/", "! ", "#", " ", "./", "!/", "./!")))
        lines.append(before + "/".join(words) + draw(st.sampled_from(("", "", "", "/", " ", "\r", "/**"))))
    return Case(tuple(files), "\n".join(lines) + draw(st.sampled_from(("", "\n"))))


def copy(engine: Engine, context: Path, dockerfile: Path, output: Path) -> str:
    """Build ``dockerfile`` in ``context`` and write the image's files to ``output``. Returns the error."""
    argv = [engine.buildx, "build", "--provenance=false", f"--output=type=local,dest={output}"]
    done = subprocess.run(
        [*argv, "--file", str(dockerfile), str(context)],
        env={**os.environ, "DOCKER_HOST": engine.docker_host},
        capture_output=True,
        text=True,
    )
    return done.stderr if done.returncode else ""


@fuzz.examples(40)
@example(Case(("d/e", "d/f"), "d\n!d/e\nd"))
@example(Case(("xab", "ab", "a/xab", "a/ab/c"), "**ab"))
@example(Case(("xabc", "ab", "a/xab", "a/abc/c"), "**ab*"))
@example(Case(("a/b/c", "a/b/d", "a/e"), "\N{BOM}a\n!a/b\na/b/c"))
@example(Case(("!a", "a", "b"), "*\n./!a"))
@example(Case(("!a", "a", "b"), "*\n!!a"))
@example(Case(("a", "b", "7", "d"), r"\d"))
@example(Case(("a", "xxb", "c"), "[a]|b"))
@example(Case(("a", "ab", "abc"), "?{2}"))
@example(Case(("a", "a]", "b"), "[a*]"))
@example(Case(("a", "b"), "[a"))
@example(Case(("a", "b"), r"\Z"))
@given(case=cases())
def test_what_is_not_ignored_arrives(engine: Engine, case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        context, output = Path(folder, "context"), Path(folder, "output")
        for number, file in enumerate(case.files):
            path = context / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(number), encoding="utf-8")
            path.chmod(0o755 if number % 2 else 0o644)
        dockerfile = Path(folder, "Dockerfile")
        dockerfile.write_text("FROM scratch\nCOPY . /\n", encoding="utf-8")
        Path(f"{dockerfile}.dockerignore").write_bytes(case.text.encode())
        refusal = copy(engine, context, dockerfile, output)
        wrong = ""
        expected: set[str] = set()
        try:
            ignore = read_ignore(find_ignore(str(context), str(context), str(dockerfile)))
            expected = {file for file in case.files if not ignore.ignores(file)}
        except SourceError as error:
            wrong = str(error)
        if wrong:
            # Moby ends with a nil pointer where a second path is held against what Go cannot read.
            refused = re.search("illegal exclusion pattern|syntax error|nil pointer|crashed", refusal)
            assert refused, f"{wrong}: {refusal}"
            return
        assert not refusal
        arrived = {str(path.relative_to(output)) for path in output.rglob("*") if not path.is_dir()}
        note(f"{case}: {sorted(arrived)} arrived")
        assert expected == arrived
        # A file that an exception brought back and a later pattern ignores again, BuildKit sends empty.
        if all((output / file).stat().st_size for file in arrived):
            assert context_digest(str(context), ignore) == context_digest(str(output), Ignore())
