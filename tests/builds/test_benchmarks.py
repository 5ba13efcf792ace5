# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The benchmarks work and write what they say; how fast anything is, only a run of its own tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, main

pytestmark = pytest.mark.engine

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_writes_what_it_measured_and_on_what(
    tmp_path: Path, machine: tuple[Path, Path], name: str
) -> None:
    main([name, "--small", "--rounds=1", f"--output={tmp_path}"])
    check(json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8")), name)
    assert list(machine[1].iterdir()) == []


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_the_results_that_are_kept_say_what_they_were_measured_on(file: Path) -> None:
    assert file.stem in BENCHMARKS
    check(json.loads(file.read_text(encoding="utf-8")), file.stem)


def check(found: dict, name: str) -> None:
    """Assert that ``found`` is a whole file of results."""
    assert found["benchmark"] == name
    assert found["settings"]
    assert len({len(values) for values in found["measured"].values()}) == 1
    assert found["medians"].keys() == found["measured"].keys()
    assert found["ratios"] or found["aims"]
    for aim in found["aims"]:
        assert aim["met"] == (
            aim["found"] >= aim["at least"] if "at least" in aim else aim["found"] <= aim["at most"]
        )
    wanted = {"image-builder", "Python", "Docker Engine", "buildx", "BuildKit", "registry", "git"}
    wanted |= {"ansible-core", "opera", "kernel", "CPUs"}
    assert wanted <= found["versions"].keys()
    assert "unknown" not in found["versions"].values()
