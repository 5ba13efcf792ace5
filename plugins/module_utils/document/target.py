# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The target of a document, as checked: what to build and where to push it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Optional, Union, get_args

from ..oci.platform import Platform
from ..oci.reference import Reference
from ..secret import Secret

Network = Literal["default", "none", "host"]
#: The values of ``network``, the default first.
NETWORKS: tuple[Network, ...] = get_args(Network)


@dataclass(frozen=True)
class Cache:
    """Where a build cache is kept, by BuildKit's ``type`` of it.

    ``place`` is the reference of a ``registry``, the folder of ``local``, the scope of ``gha`` (empty for the
    usual one), and empty for ``inline``, inside the image.
    """

    place: str
    mode: Literal["min", "max"] = "min"
    type: Literal["registry", "inline", "local", "gha"] = "registry"


@dataclass(frozen=True)
class Image:
    """One image (a variant). ``references`` are its full names, the first one leads.

    ``platforms`` is empty where the builder's own platform is meant. ``secrets`` maps the ``id`` of a ``RUN
    --mount=type=secret`` to its text, ``ssh`` that of a ``RUN --mount=type=ssh`` to a private key, or to
    ``None`` for the agent of the user who builds.
    ``contexts`` are the images that the Dockerfile means by names.

    Of its steps ``network`` is the one they have, ``add_hosts`` the addresses of further names there,
    ``shm_size`` the bytes of their /dev/shm (0: the builder's own), ``ulimits`` limits as ``soft:hard``.
    ``no_cache_filter`` has the lower-case names of the stages that are built without the build cache.
    """

    references: tuple[Reference, ...]
    base: Optional[Override] = None
    platforms: tuple[Platform, ...] = ()
    build_args: Mapping[str, str] = field(default_factory=dict)
    target: Optional[str] = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    pull: bool = False
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    ssh: Mapping[str, Optional[Secret]] = field(default_factory=dict)
    contexts: Mapping[str, Reference] = field(default_factory=dict)
    cache_from: tuple[Cache, ...] = ()
    cache_to: tuple[Cache, ...] = ()
    network: Network = "default"
    add_hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shm_size: int = 0
    ulimits: Mapping[str, str] = field(default_factory=dict)
    no_cache_filter: tuple[str, ...] = ()

    @property
    def hidden(self) -> tuple[Secret, ...]:
        """Its secrets and keys, to keep them out of errors and results."""
        keys = [key for key in self.ssh.values() if key is not None]
        return (*self.secrets.values(), *keys)

    @property
    def name(self) -> str:
        """The leading reference as text: what results and errors call this image."""
        return str(self.references[0])


@dataclass(frozen=True)
class RegistryAccount:
    """The registry that images are pushed to: ``host[:port]``, and who pushes."""

    host: str
    username: Optional[str] = None
    password: Optional[Secret] = None


@dataclass(frozen=True)
class Target:
    """The images of a request and the registry they go to."""

    images: tuple[Image, ...]
    registry: RegistryAccount

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret of the target, to keep them out of errors and results."""
        found = [secret for image in self.images for secret in image.hidden]
        if self.registry.password is not None:
            found.append(self.registry.password)
        return tuple(found)


Override = Union[str, Mapping[str, Union[str, Mapping[str, str]]]]
