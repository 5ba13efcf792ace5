# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Text in a bake file, held against the bake that reads it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.bake_file import Target, bake_file
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.target import Image
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import fuzz
from tests.support.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.each_engine]

PIECES = (
    "$",
    "%",
    "{",
    "}",
    "$${",
    "%%{",
    "${HOME}",
    "%{if true}x%{endif}",
    "${",
    "%{",
    "~",
    '"',
    "\\",
    "\n",
    "é",
    "a b",
)
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
NAMES = st.from_regex(r"[a-z${}%]{1,6}", fullmatch=True)


# An argument that begins a template: it tells whether bake prints text as a bake file has it.
PROBE = ("PROBE", "${")


def printed(engine: Engine, image: Image) -> dict[str, Any]:
    """The target of ``image`` as bake understands its bake file."""
    target = Target(
        key="image-0",
        image=replace(image, build_args={**image.build_args, PROBE[0]: PROBE[1]}),
        dockerfile="/d/Dockerfile",
        stage=None,
        platforms=(Platform("linux", "amd64"),),
        contexts={"base": "x"},
        description={},
        record={},
        attest=(),
        source_date_epoch=7,
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bake.json")
        file.write_text(json.dumps(bake_file("/context", [target])), encoding="utf-8")
        done = subprocess.run(
            [engine.buildx, "bake", "--file", str(file), "--print", "--progress=quiet"],
            env={**os.environ, "DOCKER_HOST": engine.docker_host},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)["target"]["image-0"]
    escaped = content["args"].pop(PROBE[0]) != PROBE[1]
    return _unescaped(content) if escaped else content


def _unescaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unescaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unescaped(item) for item in value]
    return value.replace("$${", "${").replace("%%{", "%{") if isinstance(value, str) else value


@fuzz.examples(30)
@example({"a": "${HOME}"}, {"${HOME}": "%{x}"}, {"%{x}": "$${a}"})
@given(
    arguments=st.dictionaries(st.from_regex(r"[A-Z]{1,3}", fullmatch=True), TEXTS, max_size=4),
    labels=st.dictionaries(NAMES, TEXTS, max_size=4),
    annotations=st.dictionaries(NAMES, TEXTS, max_size=4),
)
def test_no_text_of_a_document_is_a_template_to_bake(
    engine: Engine, arguments: dict[str, str], labels: dict[str, str], annotations: dict[str, str]
) -> None:
    reference = Reference.parse("registry.example.com/team/app:1")
    image = Image((reference,), build_args=arguments, labels=labels, annotations=annotations)
    content = printed(engine, image)
    assert content["args"] == {"SOURCE_DATE_EPOCH": "7", **arguments}
    assert content.get("labels", {}) == labels
    expected = {f"manifest:{key}={value}" for key, value in annotations.items()}
    assert set(content.get("annotations", ())) == expected
