# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Finding a Docker Engine with buildx that can build for several platforms and push.

In this order: the engine that ``DOCKER_HOST`` or ``DOCKER_CONTEXT`` names, and no other; else that of the
current Docker context, or of the machine's own socket, where it suffices; and the private engine that the
role ``engine`` sets up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ..errors import EngineError
from ..oci.platform import Platform
from . import buildx as program
from . import emulation, nodes
from .ask import ask, has_containerd_store
from .buildx import version_numbers
from .endpoint import PRIVATE_NAME, Endpoint, naming_variable, own_endpoint, private_endpoint

#: The docker-container builder that the role ``engine`` makes on an engine with the classic store.
PRIVATE_BUILDER = PRIVATE_NAME
#: What to do where there is no engine.
SET_UP_HINT = "Set one up with: image-builder engine up (or: ansible-playbook sodalite.image_builder.setup)"
# What Docker's programs say of an engine that is not there, whichever it is.
_NOT_THERE = re.compile(r"(?i:is the docker daemon running|if the daemon is running)")
# What Debian's BuildKit does not list though it runs them.
_LEFT_OUT = ("linux/386", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7")
# BuildKit's ``rewrite-timestamp``, which Docker Engine has had since 26.
_REWRITING_BUILDKIT = (0, 13)
_REWRITING_ENGINE = (26, 0)


@dataclass(frozen=True)
class Engine:
    """A reachable engine: its endpoint, the program to drive it, and what it says of itself.

    ``builder`` is empty for the engine's own. ``info`` is the Engine API's ``GET /info``; ``native`` the
    platform that the builder runs without emulation (BuildKit's ``BUILDPLATFORM``).
    """

    endpoint: Endpoint
    buildx: str
    builder: str
    info: Mapping[str, Any]
    native: Platform

    @property
    def docker_host(self) -> str:
        """The engine's address as ``DOCKER_HOST`` has it."""
        return self.endpoint.url

    @property
    def version(self) -> str:
        """The engine's version, such as ``26.1.5``."""
        return str(self.info.get("ServerVersion", ""))


def find(builder: Optional[str] = None) -> Engine:
    """The engine to build with. ``builder`` is an existing buildx builder of the user.

    Raises ``EngineError`` that says what was tried, and ``ImportError`` without urllib3.
    """
    buildx = program.find()
    if buildx is None:
        raise EngineError(
            "no_engine",
            "No Docker Engine with buildx was found: the buildx plugin is missing.",
            hint=SET_UP_HINT,
        )
    failures: list[EngineError] = []
    for place in (own_endpoint, private_endpoint):
        try:
            endpoint = place()
            if endpoint is not None:
                return _with_builder(endpoint, ask(endpoint), buildx, builder)
        except EngineError as error:
            if error.code in ("builder_unusable", "builder_unreachable"):
                raise
            failures.append(error)
    raise EngineError(
        "no_engine",
        "No Docker Engine that can build several platforms was found: "
        + "; ".join(failure.message.rstrip(".") for failure in failures)
        + ".",
        hint=(failures[0].hint if len(failures) == 1 else "") or _other_engine_hint(),
    )


def _other_engine_hint() -> str:
    named = naming_variable()
    return f"Correct or unset {named}. {SET_UP_HINT}" if named else SET_UP_HINT


def _with_builder(endpoint: Endpoint, info: Mapping[str, Any], buildx: str, builder: Optional[str]) -> Engine:
    if builder is None and has_containerd_store(info):
        return Engine(endpoint, buildx, "", info, Platform.parse(f"{info['OSType']}/{info['Architecture']}"))
    if builder is not None:
        nodes.refuse_away(buildx, endpoint, builder)
    platforms, failure = program.platforms(buildx, endpoint, builder or PRIVATE_BUILDER)
    if platforms:
        return Engine(endpoint, buildx, builder or PRIVATE_BUILDER, info, platforms[0])
    if builder is not None:
        raise EngineError(
            "builder_unusable",
            f"The buildx builder {builder} cannot be used: {failure}.",
            hint=SET_UP_HINT if is_not_there(failure) else "List the builders with: docker buildx ls",
        )
    raise EngineError(
        "no_builder",
        f"{endpoint}: its image store holds one platform only, and it has no builder {PRIVATE_BUILDER}.",
    )


def is_not_there(said: str) -> bool:
    """Whether Docker's programs said by ``said`` that there is no engine."""
    return _NOT_THERE.search(said) is not None


def not_runnable(engine: Engine, wanted: Iterable[Platform]) -> dict[Platform, tuple[Platform, ...]]:
    """Those of ``wanted`` that the builder cannot run, each with what it says it can run.

    For an engine on this machine the kernel is asked too (see ``_LEFT_OUT``). Raises
    ``EngineError`` when the builder does not answer.
    """
    wanted = list(wanted)
    here = emulation.runnable(list(map(str, wanted))) if wanted and _is_local(engine) else []
    missing = [platform for platform in wanted if str(platform) not in here]
    if not missing:
        return {}
    found = _runnable(engine)
    return {platform: found for platform in missing if platform not in found}


def runnable(engine: Engine) -> tuple[Platform, ...]:
    """The platforms that the builder runs, emulated ones included. Raises ``EngineError``."""
    here = emulation.runnable(_LEFT_OUT) if _is_local(engine) else []
    return tuple(sorted({*_runnable(engine), *map(Platform.parse, here)}))


def _is_local(engine: Engine) -> bool:
    return engine.endpoint.is_local and not engine.builder


def _runnable(engine: Engine) -> tuple[Platform, ...]:
    found, failure = program.platforms(engine.buildx, engine.endpoint, engine.builder)
    if not found:
        hint = SET_UP_HINT if is_not_there(failure) else ""
        raise EngineError(
            "builder_unusable", f"The builder does not answer: {failure}.", hint=hint, retryable=True
        )
    return found


@dataclass(frozen=True)
class Pushing:
    """How a builder can push images.

    ``engines_own`` is whether it is the engine's own (buildx's driver ``docker``), with the containerd store;
    ``rewrites_timestamps`` whether it can give files of images that are not kept the commit's time.
    """

    engines_own: bool
    rewrites_timestamps: bool


def pushing(engine: Engine) -> Pushing:
    """How the builder can push images; what buildx does not tell of it counts as what it cannot."""
    told = ""
    if engine.builder:  # Without the containerd store there would be one.
        told = program.tell(engine.buildx, engine.endpoint, "inspect", engine.builder).stdout
        is_docker = re.search(r"^Driver:\s*docker$", told, re.MULTILINE) is not None
    if not engine.builder or (is_docker and has_containerd_store(engine.info)):
        return Pushing(True, version_numbers(engine.version) >= _REWRITING_ENGINE)
    found = re.findall(r"^BuildKit version:\s*(.+)$", told, re.MULTILINE)
    return Pushing(False, bool(found) and all(version_numbers(text) >= _REWRITING_BUILDKIT for text in found))
