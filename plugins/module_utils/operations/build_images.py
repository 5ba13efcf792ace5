# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The images of one request: plan, build, report. What every door calls."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Optional, Union

from ..build.access import Access
from ..build.bake_run import BuildxBaker
from ..build.carry_out import carry_out
from ..build.plan import BuildInput, Plan, make_plan
from ..build.planned import unplannable
from ..build.result import ImageResult, Report, refuse_if_none
from ..build.stored_image import ImagePush
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
from ..sources.dockerignore import find_ignore, read_ignore
from ..sources.memory import remember
from ..sources.snapshot import snapshot
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
        tree: Optional[SourceTree] = None
        if isinstance(place, InWorkspace):
            home = stack.enter_context(Workspace.open(place.workspace))
            tree = read_source(home)
            input_ = _fetched(tree)
        else:
            home = stack.enter_context(Workspace.create())
            input_ = _local(place)
        stack.enter_context(time_limit(options.limit, tree.seconds if tree else 0.0))
        ready_made = tree is not None and tree.image
        engine = _engine(options.builder, needed=not ready_made)
        access = Access.of(target.registry, target.secrets, policy)
        # In this order, so that an interrupt closes the connections that the pool's threads wait for.
        pool = stack.enter_context(ThreadPoolExecutor(_PARALLEL_REQUESTS))
        registry = stack.enter_context(access.registry(engine, options.retry_for))
        turns = stack.enter_context(Turns())
        references = [reference for image in target.images for reference in image.references]
        try:
            if ready_made:
                push = ImagePush(home, target.images, options, registry)
                if not plan_only:
                    turns.take(references, listener)
                results = push.plan() if plan_only else push.carry_out(listener)
            else:
                listener.line("resolving base images")
                assert engine is not None
                plan = make_plan(input_, target.images, options, engine, registry, pool)
                _check_any(plan)
                if plan.pending and not plan_only and turns.take(references, listener):
                    plan = make_plan(input_, target.images, options, engine, registry, pool)
                    _check_any(plan)
                if plan.pending and not plan_only:
                    if isinstance(place, InWorkspace) and input_.known:
                        tree = fetch_again(place.source, input_.revision, home, listener, policy)
                        input_ = _fetched(tree)
                    elif not input_.context.startswith(os.path.join(home.path, "")):
                        input_ = _snapshot(input_, home)
                if input_ is not plan.source and plan.holds_for(input_):
                    plan = replace(plan, source=input_)
                elif input_ is not plan.source:
                    plan = make_plan(input_, target.images, options, engine, registry, pool)
                    _check_any(plan)
                if tree and tree.memory and not input_.known:
                    remember(tree.memory, plan.known)
                if plan_only:
                    results = list(map(ImageResult.planned, plan.images))
                else:
                    folder = home.directory("build")
                    with BuildxBaker(plan, options, access, registry, folder, listener) as baker:
                        results = carry_out(plan.images, options, baker, listener)
        except BuilderError as error:
            if isinstance(place, InWorkspace) and not isinstance(error, Cancelled):
                home.hand_on()
            raise
        if isinstance(place, InWorkspace):
            home.hand_on()
    hide((result.error for result in results if result.error), secrets)
    return Report(tuple(results), input_.revision)


def _check_any(plan: Plan) -> None:
    """Raise the images' error where none of them can be built."""
    refuse_if_none(unplannable(plan.images), len(plan.images))


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
    copy, ignore = home.directory("snapshot"), ""
    if source.dockerignore:
        ignore = os.path.join(home.path, "snapshot.dockerignore")
        shutil.copyfile(source.dockerignore, ignore)
    snapshot(source.context, read_ignore(ignore), copy)
    return replace(source, context=copy, dockerignore=ignore)


def _local(place: InFolder) -> BuildInput:
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
