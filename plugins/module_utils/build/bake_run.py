# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One run of ``docker buildx bake`` for images of a plan, and what the registry holds afterwards."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Optional

from ..docker_config import docker_config_folder
from ..document.options import Options
from ..document.target import Image
from ..engine import buildx
from ..engine.find import Pushing, pushing
from ..errors import BuildError
from ..listener import HidingListener, Listener
from ..oci.manifest import Manifest
from ..oci.reference import Reference
from ..process import run
from ..registry.client import Registry
from ..registry.confirm import confirm, named_now
from ..registry.credentials import docker_config
from ..registry.push import check_push
from ..secret import Secret, redact
from .access import Access
from .annotations import describe
from .bake_file import HOST_NETWORK, Target, attestations, bake_file, secret_environment, secrets
from .buildkit_errors import build_failure
from .buildkit_progress import Outcome, Reader
from .carry_out import Step
from .input_hash import INPUT_HASH
from .made_from import MADE_FROM, MadeFrom
from .plan import Plan
from .planned import Head
from .unchanged import made_otherwise


class BuildxBaker:
    """Bakes images of ``plan`` (see ``Baker``), as a context manager.

    The files that buildx needs are in a directory of their own in ``folder``, a private one. None of
    them stays after the block. ``listener`` is told of each step, without any secret.
    """

    def __init__(
        self,
        plan: Plan,
        options: Options,
        access: Access,
        registry: Registry,
        folder: str,
        listener: Listener,
    ) -> None:
        self._source = plan.source
        self._dockerfile = plan.known.dockerfile
        self._engine = plan.engine
        self._planned = {image.head.name: image for image in plan.pending}
        self._options = options
        self._access = access
        self._registry = registry
        self._listener = listener
        self._directory = tempfile.TemporaryDirectory(dir=folder)
        self._folder = self._directory.name
        self._dockerfiles: dict[str, str] = {}
        self._looked: set[str] = set()
        self._before: dict[Reference, Optional[str]] = {}
        self._pushed: dict[str, str] = {}

    def __enter__(self) -> BuildxBaker:
        return self

    def __exit__(self, *raised: object) -> None:
        self._directory.cleanup()

    def check_push(self, image: Head) -> None:
        """Raise ``RegistryError`` where the registry would not take ``image``."""
        check_push(self._registry, image.image.references[0])

    def bake(self, name: str, images: Sequence[Head], step: Step, *, cache: bool = True) -> dict[str, float]:
        """Do ``step`` for all ``images`` in one run of buildx. Raises ``BuildError``."""
        targets = [self._target(f"image-{number}", image, step) for number, image in enumerate(images)]
        names = {target.key: target.image.name for target in targets}
        hidden = [*secrets(targets), *self._access.secrets]
        if step is not Step.BUILD:
            self._look_before(images)
        reader = Reader(names, HidingListener(self._listener, hidden))
        metadata = os.path.join(self._folder, f"{name}.metadata.json")
        file = self._write_json(f"{name}.json", bake_file(self._source.context, targets))
        allow = [HOST_NETWORK] if any(target.image.network == "host" for target in targets) else []
        try:
            result = run(
                self._argv(file, metadata, cache, allow),
                env={**self._environment, **secret_environment(targets)},
                cwd=self._folder,
                on_stderr_line=reader.feed,
            )
        finally:
            for target in targets:
                self._note(target.image, reader.pushed(target.key))
        outcome = reader.outcome(result.status)
        if result.status:
            raise self._explained(outcome, names, hidden)
        if step is not Step.BUILD:
            with open(metadata, encoding="utf-8") as content:
                # Beside the targets it may hold what else buildx has to tell, such as its warnings.
                told = json.load(content)
            for key, name in names.items():
                self._pushed[name] = told.get(key, {}).get("containerimage.digest", "")
        return {target.image.name: outcome.seconds(target.key) for target in targets}

    def pushed(self, image: Head) -> Optional[str]:
        """The digest that BuildKit has pushed under all names of ``image``, also in an ended bake."""
        return self._pushed.get(image.name)

    def confirm(self, image: Head) -> Manifest:
        """What the registry holds of ``image`` that was pushed. Raises ``RegistryError``."""
        references, digest = image.image.references, self._pushed[image.name]
        found = confirm(self._registry, references, digest, self._before, partial(made_otherwise, image))
        for line in found.warnings:
            self._listener.line(line)
        return found.manifest

    def _look_before(self, images: Sequence[Head]) -> None:
        """Find out what the names of ``images`` name before the first push."""
        unknown = [image for image in images if image.name not in self._looked]
        self._looked.update(image.name for image in unknown)
        references = [reference for image in unknown for reference in image.image.references]
        self._before.update(named_now(self._registry, references))

    def _note(self, image: Image, told: Mapping[str, str]) -> None:
        """Remember what BuildKit has told of pushing ``image``, once that is all of it."""
        pushed = {Reference.parse(reference): digest for reference, digest in told.items()}
        digests = {pushed.get(reference, "") for reference in image.references}
        if len(digests) == 1 and "" not in digests:
            self._pushed[image.name] = digests.pop()

    def _argv(self, file: str, metadata: str, cache: bool, allow: Sequence[str]) -> list[str]:
        builder = self._engine.builder
        return [
            *buildx.command(self._engine.buildx, self._engine.endpoint),
            "bake",
            *(["--builder", builder] if builder else []),
            "--file",
            file,
            "--metadata-file",
            metadata,
            "--progress",
            "rawjson",
            *([] if cache else ["--no-cache"]),
            *(word for entitlement in allow for word in ("--allow", entitlement)),
        ]

    def _explained(self, outcome: Outcome, names: dict[str, str], hidden: list[Secret]) -> BuildError:
        planned = {name: self._planned[name].head.platforms for name in names.values()}
        only = {name: str(platforms[0]) for name, platforms in planned.items() if len(platforms) == 1}
        error = build_failure(outcome, names, self._source.dockerfile_name, only)
        # BuildKit was given a copy with other words, of which the lines are the same.
        error.show(self._dockerfile)
        error.change_texts(lambda text: redact(text, hidden))
        return error

    def _target(self, key: str, image: Head, step: Step) -> Target:
        planned = self._planned[image.name]
        recipe = planned.recipe
        return Target(
            key=key,
            image=image.image,
            dockerfile=self._write_dockerfile(recipe.injection.text),
            stage=recipe.resolutions[0].target_name,
            platforms=image.platforms,
            contexts=recipe.injection.contexts,
            description=describe(self._source, planned),
            record={
                INPUT_HASH: image.input_hash,
                MADE_FROM: MadeFrom(self._source.revision, image.bases).to_text(),
            },
            attest=attestations(self._options),
            compression=self._options.compression,
            ssh={name: self._write_key(key) for name, key in image.image.ssh.items()},
            source_date_epoch=self._source.committed_at,
            emptied=recipe.emptied,
            push=step is not Step.BUILD,
            cached=step is Step.PUSH,
            engines_own=self._pushing.engines_own,
            kept=not self._pushing.engines_own and not self._pushing.rewrites_timestamps,
            rewrite_timestamps=self._rewrite_timestamps,
            build_args=recipe.build_args,
        )

    @cached_property
    def _pushing(self) -> Pushing:
        return pushing(self._engine)

    @cached_property
    def _rewrite_timestamps(self) -> bool:
        """Whether files get the commit's time; without a commit there is none to give them."""
        if not self._options.reproducible or not self._source.committed_at:
            return False
        if not self._pushing.rewrites_timestamps:
            self._listener.line(
                "this builder cannot give files the commit's time: another engine gives other digests"
            )
        return self._pushing.rewrites_timestamps

    @cached_property
    def _environment(self) -> dict[str, str]:
        """An own ``DOCKER_CONFIG``, and the user's contexts and builders where they are used."""
        user = docker_config_folder()
        own = os.path.join(self._folder, "docker")
        os.mkdir(own, 0o700)
        config = docker_config(self._access.logins, self._access.user_config)
        contexts = os.path.join(user, "contexts")
        if os.path.isdir(contexts):
            os.symlink(contexts, os.path.join(own, "contexts"))
        self._write_json(os.path.join("docker", "config.json"), config)
        state = os.environ.get("BUILDX_CONFIG") or os.path.join(user, "buildx")
        env = buildx.environment(self._engine.endpoint)
        for name in ("BUILDX_BUILDER", "BUILDX_BAKE_FILE", "SOURCE_DATE_EPOCH"):
            env.pop(name, None)
        return {
            **env,
            "DOCKER_CONFIG": own,
            "BUILDX_CONFIG": state if self._engine.builder else os.path.join(own, "buildx"),
            "BUILDX_BAKE_ENTITLEMENTS_FS": "0",
            # Of the metadata only digests are read. What else buildx asks the builder for takes a while.
            "BUILDX_METADATA_PROVENANCE": "disabled",
        }

    def _write_dockerfile(self, text: str) -> str:
        """The path of a Dockerfile with ``text``, beside the patterns of what stays out of the build."""
        path = self._dockerfiles.get(text)
        if path is None:
            folder = os.path.join(self._folder, str(len(self._dockerfiles)))
            os.mkdir(folder)
            path = self._dockerfiles[text] = os.path.join(folder, "Dockerfile")
            with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write(text)
            if self._source.dockerignore:
                shutil.copyfile(self._source.dockerignore, f"{path}.dockerignore")
        return path

    def _write_key(self, key: Optional[Secret]) -> str:
        """The path of a private ``key``, which buildx takes from files only; none for the user's agent."""
        if key is None:
            return ""
        handle, path = tempfile.mkstemp(dir=self._folder)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{key.reveal()}\n")
        return path

    def _write_json(self, name: str, content: Any) -> str:
        path = os.path.join(self._folder, name)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file)
        return path
