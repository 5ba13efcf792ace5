# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The images of one request: plan, build, report. What every door calls."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Optional, Union

from ..build.access import Access
from ..build.build_input import BuildInput
from ..build.carry_out import carry_out
from ..build.lookup import Outside
from ..build.plan import Plan, make_plan
from ..build.planned import unplannable
from ..build.result import ImageResult, Report, Results, refuse_if_none
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

if TYPE_CHECKING:
    from ..build.stored_image import ImagePush

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
    that ``policy`` allows; BuildKit is not bound by it. What ends a build that had begun is in its report,
    beside what is known of each image by then. Raises ``BuilderError`` where nothing could be built.
    """
    secrets = secrets_in((target, place.source if isinstance(place, InWorkspace) else None))
    listener = HidingListener(GuardedListener(listener), secrets)
    results = Results()
    stopped: Optional[BuilderError] = None
    try:
        with hiding(secrets), _opened(target, options, place, listener, policy, results) as request:
            if plan_only:
                request.plan()
            else:
                request.build()
    except BuilderError as error:
        if plan_only or not results.all:
            raise
        stopped = error
    hide((result.error for result in results.all if result.error), secrets)
    return Report(results.all, results.revision, stopped)


@contextmanager
def _opened(
    target: Target,
    options: Options,
    place: Union[InWorkspace, InFolder],
    listener: Listener,
    policy: Policy,
    results: Results,
) -> Iterator[_Request]:
    """The request, with all that it needs open, for at most its time limit."""
    with ExitStack() as stack:
        home = stack.enter_context(_home(place))
        tree: Optional[SourceTree] = None
        if isinstance(place, InWorkspace):
            tree = read_source(home)
            source = _fetched(tree)
        else:
            source = _local(place)
        results.revision = source.revision
        stack.enter_context(time_limit(options.limit, tree.seconds if tree else 0.0))
        engine = _engine(options.builder, needed=not (tree and tree.image))
        access = Access.of(target.registry, target.secrets, policy)
        # In this order, so that an interrupt closes the connections that the pool's threads wait for.
        pool = stack.enter_context(ThreadPoolExecutor(_PARALLEL_REQUESTS))
        registry = stack.enter_context(access.registry(engine, options.retry_for))
        turns = stack.enter_context(Turns())
        yield _Request(
            target=target,
            options=options,
            place=place,
            source=source,
            tree=tree,
            home=home,
            listener=listener,
            policy=policy,
            access=access,
            engine=engine,
            registry=registry,
            pool=pool,
            turns=turns,
            results=results,
        )


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
    """What is asked for, and what is open while it is done.

    ``source`` is in ``tree`` if it was fetched. ``results`` has what is known of each image at any time.
    """

    target: Target
    options: Options
    place: Union[InWorkspace, InFolder]
    source: BuildInput
    tree: Optional[SourceTree]
    home: Workspace
    listener: Listener
    policy: Policy
    access: Access
    engine: Optional[Engine]
    registry: Registry
    pool: Executor
    turns: Turns
    results: Results

    def plan(self) -> None:
        """Find out what would be done with each image."""
        if self._archive is not None:
            planned = self._archive.plan()
        else:
            plan = self._plan(self._begin())
            _remember(plan, self.tree)
            planned = list(map(ImageResult.planned, plan.images))
        for result in planned:
            self.results.add(result)

    def build(self) -> None:
        """Build the images and push them, or push the image that an archive holds."""
        if self._archive is not None:
            self._take_turn()
            self._archive.carry_out(self.listener, self.results)
            return
        source, tree = self._begin(), self.tree
        plan = self._plan(source)
        if plan.pending and self._take_turn():
            plan = self._plan(source)
        self.results.begin(plan.images)
        if plan.pending:
            source, tree = self._kept()
            if source is not plan.source and plan.holds_for(source):
                plan = replace(plan, source=source)
            elif source is not plan.source:
                plan = self._plan(source)
                self.results.begin(plan.images)
        _remember(plan, tree)
        if not plan.pending:
            carry_out(self.results, self.options, None, self.listener)
            return
        # Not before something is built: it brings along a lot.
        from ..build.bake_run import BuildxBaker

        folder = self.home.directory("build")
        with BuildxBaker(plan, self.options, self.access, self.registry, folder, self.listener) as baker:
            carry_out(self.results, self.options, baker, self.listener)

    @cached_property
    def _archive(self) -> Optional[ImagePush]:
        """The push of the image that an archive holds, if it holds one."""
        if self.tree is None or not self.tree.image:
            return None
        from ..build.stored_image import ImagePush

        return ImagePush(self.home, self.target.images, self.options, self.registry)

    def _begin(self) -> BuildInput:
        """The source that the first plan is made for."""
        self.listener.line("resolving base images")
        return _timed(self.source) if self._is_the_users else self.source

    @property
    def _is_the_users(self) -> bool:
        """Whether the source is a folder of the user's, used where it is."""
        inside = os.path.join(self.home.path, "")
        return not self.source.known and not self.source.context.startswith(inside)

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

    def _kept(self) -> tuple[BuildInput, Optional[SourceTree]]:
        """The source where nobody changes it: fetched if it is not yet, a folder copied."""
        if isinstance(self.place, InWorkspace) and self.source.known:
            revision = self.source.revision
            tree = fetch_again(self.place.source, revision, self.home, self.listener, self.policy)
            return _fetched(tree), tree
        if self._is_the_users:
            return _snapshot(self.source, self.home), self.tree
        return self.source, self.tree


def _remember(plan: Plan, tree: Optional[SourceTree]) -> None:
    """Keep what the next plan of a fetched commit needs, unless that is where it came from."""
    if tree and tree.memory and not plan.source.known:
        remember(tree.memory, plan.known)


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
