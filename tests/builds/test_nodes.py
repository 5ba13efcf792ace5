# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Builders of several nodes, of which some are away."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import EngineError

from tests.builds.site import Site
from tests.support.buildkit_nodes import buildkit_node, silent_node
from tests.support.engine import Engine

pytestmark = pytest.mark.engine


@pytest.fixture
def node(engine: Engine) -> Iterator[str]:
    """The address of a node that builds."""
    with buildkit_node(engine.docker_host) as address:
        yield address


@pytest.fixture
def builder(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Makes a builder of the nodes at two addresses; gives its name."""
    # Beside the user's home folder, which is looked at afterwards.
    monkeypatch.setenv("BUILDX_CONFIG", str(tmp_path / "buildx"))

    def make(*addresses: str) -> str:
        for number, address in enumerate(addresses):
            argv = [engine.buildx, "create", "--name", "pair", "--driver", "remote", address]
            subprocess.run([*argv, *(["--append"] if number else [])], check=True, capture_output=True)
        return "pair"

    return make


def test_a_builder_whose_nodes_all_answer_builds(
    site: Site, builder: Callable[..., str], node: str, engine: Engine
) -> None:
    with buildkit_node(engine.docker_host) as other:
        site.write(Dockerfile="FROM scratch\nCOPY mark /mark\n", mark="built")
        made = site.build({"image": "one"}, options={"builder": builder(node, other)})
    assert made.error is None, made.error
    assert list(site.pushed("one").platforms()) == ["linux/amd64"]


@pytest.mark.parametrize("away", [nullcontext, silent_node], ids=["gone", "silent"])
def test_a_node_that_is_away_is_named_before_anything_is_built(
    site: Site,
    builder: Callable[..., str],
    node: str,
    engine: Engine,
    away: Callable[[str], AbstractContextManager[object]],
) -> None:
    site.write(Dockerfile="FROM scratch\nCOPY mark /mark\n", mark="built")
    with buildkit_node(engine.docker_host) as other:
        name = builder(node, other)
    with away(other), pytest.raises(EngineError) as raised:
        site.build({"image": "one"}, options={"builder": name})
    error = raised.value
    assert (error.code, error.retryable) == ("builder_unreachable", True)
    assert error.message.startswith(f"A node of the builder pair does not answer: pair1 at {other} (")
    assert "docker buildx create --name pair --leave --node pair1" in error.hint
    assert site.told == []
