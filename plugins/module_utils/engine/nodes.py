# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The nodes of a buildx builder, each asked by itself: asked for all, buildx waits long and names none.

A build waits for all of them, also for those that it does not need.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

from ..docker_config import docker_config_folder
from ..errors import EngineError
from ..process import run, side_by_side
from . import buildx
from .endpoint import Endpoint

#: How long a node has to answer. buildx itself gives 20 seconds to look, and minutes to build.
ANSWER_SECONDS = 8.0
# The driver whose nodes buildx does not start by itself when something is built there.
_STARTED_BY_OTHERS = "remote"


@dataclass(frozen=True)
class _Node:
    """A node. ``builder`` is as buildx keeps it (the ``NodeGroup`` of its ``store``), with it alone."""

    name: str
    endpoint: str
    builder: Mapping[str, Any]


def refuse_away(program: str, endpoint: Endpoint, builder: str) -> None:
    """Raise ``EngineError`` (``builder_unreachable``) that names each node of ``builder`` that is away."""
    nodes = _nodes(builder)
    asked = side_by_side([partial(_why_away, program, endpoint, node) for node in nodes])
    away = [(node, why) for node, why in zip(nodes, asked) if why]
    if not away:
        return
    first = away[0][0]
    told = "; ".join(f"{node.name} at {node.endpoint} ({why})" for node, why in away)
    what, do = (f"{len(away)} nodes", "do") if len(away) > 1 else ("A node", "does")
    raise EngineError(
        "builder_unreachable",
        f"{what} of the builder {builder} {do} not answer: {told}.",
        hint="Start it, or take it out with: "
        f"docker buildx create --name {builder} --leave --node {first.name}",
        retryable=True,
    )


def _nodes(builder: str) -> list[_Node]:
    """The nodes that buildx keeps for ``builder``; none where it keeps nothing, as of a Docker context."""
    state = os.environ.get("BUILDX_CONFIG") or os.path.join(docker_config_folder(), "buildx")
    try:
        # buildx itself takes names in any case.
        with open(os.path.join(state, "instances", os.path.basename(builder.lower())), "rb") as file:
            kept = json.load(file)
        return [
            _Node(str(node["Name"]), str(node["Endpoint"]), {**kept, "Nodes": [node]})
            for node in kept["Nodes"] or ()
        ]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return []  # buildx says by itself what is wrong with it


def _why_away(program: str, endpoint: Endpoint, node: _Node) -> Optional[str]:
    """Why a node cannot be built on, a clause; ``None`` where it can."""
    with tempfile.TemporaryDirectory() as state:
        os.mkdir(os.path.join(state, "instances"))
        with open(os.path.join(state, "instances", "alone"), "w", encoding="utf-8") as file:
            json.dump({**node.builder, "Name": "alone"}, file)
        try:
            told = run(
                [*buildx.command(program, endpoint), "inspect", "alone"],
                env={**buildx.environment(endpoint), "BUILDX_CONFIG": state},
                timeout=ANSWER_SECONDS,
            ).stdout
        except subprocess.TimeoutExpired:
            return f"no answer within {ANSWER_SECONDS:.0f} seconds"
    if error := re.search(r"^Error:\s*(.+)$", told, re.MULTILINE):
        return error.group(1).strip().rstrip(".")
    if node.builder.get("Driver") == _STARTED_BY_OTHERS and not re.search(
        r"^Status:\s*running$", told, re.MULTILINE
    ):
        return "it is not running"
    return None
