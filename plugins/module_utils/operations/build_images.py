# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The images of one request: plan, build, report. What every door calls."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Optional, Union

from ..build.access import Access
from ..build.carry_out import carry_out
from ..build.lookup import Outside
from ..build.plan import BuildInput, Plan, make_plan
from ..build.planned import unplannable
from ..build.result import ImageResult, Report, refuse_if_none
from ..build.turns import Turns
from ..document.options import Options
from ..document.secrets import secrets_in
from ..document.source import Source
from ..document.target import Target
from ..engine import find as engines
from ..engine.find import Engine
from ..errors import BuilderError, Cancelled, EngineError, SourceError
from ..listener import HidingListener, Listener
from ..policy import PERMISSIVE, Policy
from ..process import time_limit
from ..registry.client import Registry
from ..sources.context_digest import newest_time
from ..sources.memory import remember
from ..sources.tree import SourceTree
from ..sources.workspace import Workspace
from .fetch_source import fetch_again, read_source
from .guarded_listener import GuardedListener
from .hidden import hide, hiding

_PARALLEL_REQUESTS = 8


@dataclass(frozen=True)
class InWorkspace:
    """The path of a ``workspace`` that ``fetch_source`` made; if it did so lazily, of this ``source``."""

    workspace: str
    source: Optional[Source] = None


@dataclass(frozen=True)
class InFolder:
    """A folder of this machine as build context, and the path of the Dockerfile inside it."""

    context: str
    dockerfile: str = "Dockerfile"


def build_images(
    target: Target,
    options: Options,
    place: Union[InWorkspace, InFolder],
    listener: Listener,
    *,
    plan_only: bool = False,
    policy: Policy = PERMISSIVE,
) -> Report:
    """Build, or only plan, the images of ``target`` from what lies at ``place``.

    A workspace is handed on to a later step, unless the build is cancelled: then it is removed, since
    no later step comes. ``listener`` is told what goes on. This process connects to no address but those
    that ``policy`` allows; BuildKit is not bound by it. Raises ``BuilderError`` where nothing could be built.
    """
    secrets = secrets_in((target, place.source if isinstance(place, InWorkspace) else None))
    listener = HidingListener(GuardedListener(listener), secrets)
    with hiding(secrets), ExitStack() as stack:
        home = stack.enter_context(_home(place))
        tree: Optional[SourceTree] = None
        if isinstance(place, InWorkspace):
            tree = read_source(home)
            source = _fetched(tree)
        else:
            source = _local(place)
        stack.enter_context(time_limit(options.limit, tree.seconds if tree else 0.0))
        ready_made = tree is not None and tree.image
        engine = _engine(options.builder, needed=not ready_made)
        access = Access.of(target.registry, target.secrets, policy)
        # In this order, so that an interrupt closes the connections that the pool's threads wait for.
        pool = stack.enter_context(ThreadPoolExecutor(_PARALLEL_REQUESTS))
        registry = stack.enter_context(access.registry(engine, options.retry_for))
        turns = stack.enter_context(Turns())
        request = _Request(
            target, options, place, home, listener, policy, access, engine, registry, pool, turns
        )
        results = request.push(plan_only) if ready_made else request.build(source, tree, plan_only)
    hide((result.error for result in results if result.error), secrets)
    return Report(tuple(results), source.revision)


@contextmanager
def _home(place: Union[InWorkspace, InFolder]) -> Iterator[Workspace]:
    """The workspace of the request; one that was handed on is so again, unless the build is cancelled."""
    if isinstance(place, InFolder):
        with Workspace.create() as home:
            yield home
        return
    with Workspace.open(place.workspace) as home:
        try:
            yield home
        except BuilderError as error:
            if not isinstance(error, Cancelled):
                home.hand_on()
            raise
        home.hand_on()


@dataclass(frozen=True)
class _Request:
    """What is asked for, and what is open while it is done."""

    target: Target
    options: Options
    place: Union[InWorkspace, InFolder]
    home: Workspace
    listener: Listener
    policy: Policy
    access: Access
    engine: Optional[Engine]
    registry: Registry
    pool: Executor
    turns: Turns

    def push(self, plan_only: bool) -> list[ImageResult]:
        """Push the image that an archive holds."""
        from ..build.stored_image import ImagePush

        push = ImagePush(self.home, self.target.images, self.options, self.registry)
        if plan_only:
            return push.plan()
        self._take_turn()
        return push.carry_out(self.listener)

    def build(self, source: BuildInput, tree: Optional[SourceTree], plan_only: bool) -> list[ImageResult]:
        """Build the images of ``source``, which is in ``tree`` if it was fetched."""
        self.listener.line("resolving base images")
        if self._is_the_users(source):
            source = _timed(source)
        plan = self._plan(source)
        if plan.pending and not plan_only:
            if self._take_turn():
                plan = self._plan(source)
            if plan.pending:
                source, tree = self._kept(source, tree)
        if source is not plan.source:
            plan = replace(plan, source=source) if plan.holds_for(source) else self._plan(source)
        if tree and tree.memory and not source.known:
            remember(tree.memory, plan.known)
        if plan_only:
            return list(map(ImageResult.planned, plan.images))
        if not plan.pending:
            return carry_out(plan.images, self.options, None, self.listener)
        # Not before something is built: it brings along a lot.
        from ..build.bake_run import BuildxBaker

        folder = self.home.directory("build")
        with BuildxBaker(plan, self.options, self.access, self.registry, folder, self.listener) as baker:
            return carry_out(plan.images, self.options, baker, self.listener)

    def _is_the_users(self, source: BuildInput) -> bool:
        """Whether ``source`` is a folder of the user's, used where it is."""
        return not source.known and not source.context.startswith(os.path.join(self.home.path, ""))

    def _take_turn(self) -> bool:
        """Wait for other builds of the same tags; whether a plan from before can be out of date."""
        references = [reference for image in self.target.images for reference in image.references]
        return self.turns.take(references, self.listener)

    def _plan(self, source: BuildInput) -> Plan:
        """The plan for ``source``; the images' error where none of them can be built."""
        assert self.engine is not None
        outside = Outside(self.registry, self.pool, self.policy)
        plan = make_plan(source, self.target.images, self.options, self.engine, outside)
        refuse_if_none(unplannable(plan.images), len(plan.images))
        return plan

    def _kept(
        self, source: BuildInput, tree: Optional[SourceTree]
    ) -> tuple[BuildInput, Optional[SourceTree]]:
        """The same source where nobody changes it: fetched if it is not yet, a folder copied."""
        if isinstance(self.place, InWorkspace) and source.known:
            tree = fetch_again(self.place.source, source.revision, self.home, self.listener, self.policy)
            source = _fetched(tree)
        elif self._is_the_users(source):
            source = _snapshot(source, self.home)
        return source, tree


def _engine(builder: Optional[str], *, needed: bool) -> Optional[Engine]:
    """The engine; where nothing is built, only its settings for registries count, if there is one."""
    try:
        return engines.find(builder)
    except EngineError:
        if needed:
            raise
        return None


def _fetched(tree: SourceTree) -> BuildInput:
    return BuildInput(
        tree.context,
        tree.dockerfile,
        tree.dockerfile_name,
        tree.revision,
        tree.committed_at,
        tree.url,
        tree.dockerignore,
        tree.known,
    )


def _snapshot(source: BuildInput, home: Workspace) -> BuildInput:
    """The same source, what of its folder reaches the build copied into ``home``, where nobody changes it."""
    from ..sources.dockerignore import read_ignore
    from ..sources.snapshot import snapshot

    copy, ignore = home.directory("snapshot"), ""
    if source.dockerignore:
        ignore = os.path.join(home.path, "snapshot.dockerignore")
        shutil.copyfile(source.dockerignore, ignore)
    snapshot(source.context, read_ignore(ignore), copy)
    return _timed(replace(source, context=copy, dockerignore=ignore))


def _timed(source: BuildInput) -> BuildInput:
    """The same source, a folder, with the time of the newest of its files."""
    from ..sources.dockerignore import read_ignore

    return replace(source, committed_at=newest_time(source.context, read_ignore(source.dockerignore)))


def _local(place: InFolder) -> BuildInput:
    from ..sources.dockerignore import find_ignore

    context = os.path.realpath(place.context)
    dockerfile = os.path.realpath(os.path.join(context, place.dockerfile))
    if not os.path.isdir(context):
        raise SourceError("no_context", f"There is no folder {context}.", hint="Check context.")
    if not os.path.isfile(dockerfile):
        raise SourceError(
            "no_dockerfile", f"There is no Dockerfile at {dockerfile}.", hint="Check dockerfile."
        )
    ignore = find_ignore(context, context, os.path.normpath(os.path.join(context, place.dockerfile)))
    return BuildInput(context, dockerfile, place.dockerfile, dockerignore=ignore)
