# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Several builds of one tag on one engine, started together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.input_hash import INPUT_HASH

from tests.builds.site import Site

pytestmark = [pytest.mark.engine, pytest.mark.each_engine]

BUILD = """
import json, sys
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_images
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.build_images import (
    InFolder,
    build_images,
)
context, image, registry = sys.argv[1:]
raw = {"images": [{"image": image}], "registry": {"url": registry}}
target, options, _ = accept_images(raw, {"retry_for": 0.1})
report = build_images(target, options, InFolder(context), SILENT)
assert report.error is None, report.error
print(json.dumps(report.to_dict()["images"][0]))
"""


def documents(site: Site, number: int) -> list[Path]:
    """Four build contexts, two of which are equal."""
    made = []
    for name, text in (("a", "1"), ("b", "1"), ("c", "2"), ("d", "3")):
        folder = site.folder / f"{name}{number}"
        folder.mkdir()
        (folder / "app").write_text(f"{text} of round {number}\n", encoding="utf-8")
        (folder / "Dockerfile").write_text("FROM alpine\nCOPY app /app\n", encoding="utf-8")
        made.append(folder)
    return made


def built_together(site: Site, contexts: list[Path]) -> list[dict[str, Any]]:
    argv = [sys.executable, "-c", BUILD]
    rest = [site.repository("app"), site.engine.registry]
    running = [
        subprocess.Popen(
            [*argv, str(context), *rest], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for context in contexts
    ]
    ended = [(process.communicate(timeout=300), process.returncode) for process in running]
    assert [status for _, status in ended] == [0] * len(contexts), [said[1] for said, _ in ended]
    return [json.loads(said[0]) for said, _ in ended]


@pytest.mark.parametrize("rounds", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_each_build_of_one_tag_reports_what_it_built(site: Site, rounds: int) -> None:
    for number in range(rounds):
        results = built_together(site, documents(site, number))
        assert {result["state"] for result in results} <= {"success", "unchanged"}
        for result in results:
            held = site.pushed("app", result["digest"])
            assert held.annotations[INPUT_HASH] == result["input_hash"]
        assert len({result["input_hash"] for result in results}) == 3
        assert site.pushed("app").digest in {result["digest"] for result in results}


def test_equal_builds_that_are_started_together_share_one(site: Site) -> None:
    context = documents(site, 0)[0]
    results = built_together(site, [context] * 4)
    assert sorted(result["state"] for result in results) == ["success", *["unchanged"] * 3]
    assert {result["digest"] for result in results} == {site.pushed("app").digest}
