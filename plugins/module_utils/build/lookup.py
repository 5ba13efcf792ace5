# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What registries say of the images that a plan reads, and servers of what ADD fetches."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Callable, Optional, TypeVar, Union

from ..dockerfile.overrides import Base
from ..dockerfile.remote_adds import Remote
from ..errors import RegistryError
from ..oci.manifest import ImageConfig, Manifest
from ..oci.platform import Platform
from ..oci.reference import Reference
from ..policy import PERMISSIVE, Policy
from ..registry import read
from ..registry.client import Registry
from . import quiet_bases

_T = TypeVar("_T")

# What a registry says, or does not, of an image that only the engine's own store has.
_MAY_BE_ELSEWHERE = ("manifest_unknown", "registry_unauthorized", "registry_denied", "registry_unreachable")
_REGISTRIES_HINT = (
    "Images that a build reads come from registries, not from an engine's own store: push one there first."
)


@dataclass(frozen=True)
class Outside:
    """Who is asked: registries, several at a time in ``pool``, and the servers that ``policy`` allows."""

    registry: Registry
    pool: Executor
    policy: Policy = PERMISSIVE


class Lookup:
    """The manifests of images, and the configs of bases, each asked for once and all at the same time.

    What was not asked for is not there; what a registry refused is raised where it is wanted, with the
    ``line`` that wants it.
    """

    def __init__(self, outside: Outside) -> None:
        self._registry = outside.registry
        self._pool = outside.pool
        self._policy = outside.policy
        self._manifests: dict[Reference, Union[Manifest, RegistryError]] = {}
        self._configs: dict[Reference, Union[ImageConfig, RegistryError]] = {}
        self._states: dict[tuple[str, str], str] = {}
        self._quiet = quiet_bases.recall()

    def ask(self, references: Iterable[Reference]) -> None:
        """Ask for the manifests of ``references``."""
        self._ask(read.manifest, self._manifests, references)

    def ask_configs(self, bases: Iterable[Base]) -> None:
        """Ask for the configs of ``bases``, whose manifests were asked for."""
        pinned = map(self._pinned, bases)
        self._ask(read.config, self._configs, [reference for reference in pinned if reference])
        quiet = (
            image.digest
            for image, config in self._configs.items()
            if image.digest and isinstance(config, ImageConfig) and not (config.triggers or config.labels)
        )
        self._quiet = quiet_bases.remember(quiet, self._quiet)

    def ask_telling_configs(self, bases: Iterable[Base]) -> None:
        """Ask for the configs of those ``bases`` that are not known to have neither ONBUILD nor labels."""
        pinned = ((base, self._pinned(base)) for base in bases)
        self.ask_configs(base for base, image in pinned if image and image.digest not in self._quiet)

    def ask_servers(self, remotes: Iterable[Remote], source: str) -> None:
        """Ask what stands at the addresses of ``remotes`` now, which the source at ``source`` names."""
        named = dict.fromkeys((remote.url, remote.version) for remote in remotes if remote.url)
        if not named:
            return
        from ..sources.remote_state import commits, file_states, reachable_from

        policy = reachable_from(source, self._policy)
        files = file_states([url for url, version in named if not version], policy)
        self._states.update({(url, ""): state for url, state in files.items()})
        self._states.update(commits([each for each in named if each[1]], policy))

    def state(self, remote: Remote) -> str:
        """What its server says of what an ADD fetches, empty where nobody can tell."""
        return self._states.get((remote.url, remote.version), "")

    def manifest(self, reference: Reference, line: Optional[int]) -> Manifest:
        """What ``reference`` names. Raises ``RegistryError``."""
        return _told(self._manifests[reference], line)

    def config(self, base: Base) -> ImageConfig:
        """What was asked for of the config of a base, if it has one for its platform.

        Raises ``RegistryError``.
        """
        pinned = self._pinned(base)
        return _told(self._configs[pinned], base.line) if pinned in self._configs else ImageConfig()

    def digest(self, base: Base) -> str:
        """The digest for one platform, so that a base's other platforms can move without a rebuild."""
        return digest_for(base.stage_platform, self.manifest(base.reference, base.line))

    def _ask(
        self,
        call: Callable[[Registry, Reference], _T],
        answers: dict[Reference, Union[_T, RegistryError]],
        references: Iterable[Reference],
    ) -> None:
        unknown = sorted(set(references) - set(answers), key=str)
        answers.update(zip(unknown, self._pool.map(partial(_answer, call, self._registry), unknown)))

    def _pinned(self, base: Base) -> Optional[Reference]:
        """The image of the base for its platform; ``None`` where there is none."""
        manifest = self._manifests[base.reference]
        if isinstance(manifest, RegistryError):
            return None
        platform = fitting(manifest, base.stage_platform)
        return None if platform is None else base.reference.with_digest(manifest.platforms[platform])


def digest_for(platform: Platform, manifest: Manifest) -> str:
    """What BuildKit takes of an image for ``platform``, or all of it where that is for BuildKit to refuse."""
    found = fitting(manifest, platform)
    return manifest.digest if found is None else manifest.platforms[found]


def fitting(manifest: Manifest, wanted: Platform) -> Optional[Platform]:
    """The platform of an image that BuildKit takes for the one that is ``wanted``."""
    return next((platform for platform in wanted.fitting if platform in manifest.platforms), None)


def _answer(
    call: Callable[[Registry, Reference], _T], registry: Registry, reference: Reference
) -> Union[_T, RegistryError]:
    try:
        return call(registry, reference)
    except RegistryError as error:
        return error


def _told(answer: Union[_T, RegistryError], line: Optional[int]) -> _T:
    if not isinstance(answer, RegistryError):
        return answer
    # Each image has an error of its own, with its own place.
    error = answer.copy()
    error.line = line
    if error.code in _MAY_BE_ELSEWHERE:
        error.hint = f"{error.hint} {_REGISTRIES_HINT}".lstrip()
    raise error
