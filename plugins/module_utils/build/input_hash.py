# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What an image is made from, as one digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ..sources.context_digest import DIGEST_VERSION

if TYPE_CHECKING:  # Every command that prints anything takes ``INPUT_HASH`` from here.
    from ..document.options import Options
    from ..document.target import Image
    from ..oci.platform import Platform

#: The annotation of a pushed index (or of a single manifest) that holds the input hash.
INPUT_HASH = "eu.sodalite.image-builder.input-hash"
# Raised when equal inputs are hashed in another way, so that nothing is compared with an old hash.
_VERSION = 2


@dataclass(frozen=True)
class Inputs:
    """All that decides what is in an image, and so whether it must be built again.

    Of ``image`` count build arguments, labels, annotations, and what its steps see of the builder; secrets
    do not, as in BuildKit's cache. Of ``options`` count attestations and compression. ``context`` is the
    digest of what reaches the build (see ``context_digest``), ``dockerfile`` the user's own text.
    ``target`` is the name of the target stage as ``Resolution`` has it, however the document names it.
    ``bases`` are, for each, its stage, the platform of the image, and its digest for that platform alone,
    so that its other platforms can move without a rebuild. So are ``other_images``, which COPY --from and
    RUN --mount read, with the platform of the image, in the order of ``Resolution.images``. ``builder`` is
    the buildx builder, empty for the engine's own. ``fetched`` is what servers say of what ADD fetches, as
    far as they tell, with the platform of the image. ``frontend`` is the digest of the image that reads the
    Dockerfile, empty for BuildKit's own. ``source_date_epoch`` counts where the Dockerfile reads it (in
    Unix seconds), else it is ``None``.

    Neither the clock, nor the names of the image and its bases, nor the order of its platforms count.
    """

    image: Image
    options: Options
    context: str
    dockerfile: str
    target: Optional[str]
    bases: tuple[tuple[int, Platform, str], ...]
    other_images: tuple[tuple[Platform, str], ...]
    platforms: tuple[Platform, ...]
    builder: str
    fetched: tuple[tuple[Platform, str], ...] = ()
    frontend: str = ""
    source_date_epoch: Optional[int] = None

    def digest(self) -> str:
        """The input hash: ``sha256:`` and 64 digits."""
        return _hash(
            {
                "version": _VERSION,
                "context": [DIGEST_VERSION, self.context],
                "dockerfile": self.dockerfile,
                "bases": sorted([stage, str(platform), digest] for stage, platform, digest in self.bases),
                "other_images": [
                    [str(platform), digest]
                    for platform, digest in sorted(self.other_images, key=lambda image: str(image[0]))
                ],
                "platforms": sorted(map(str, self.platforms)),
                "build_args": dict(self.image.build_args),
                "target": self.target,
                "labels": dict(self.image.labels),
                "annotations": dict(self.image.annotations),
                "builder": self.builder,
                "attestations": [self.options.provenance, self.options.sbom],
                # Left out where nobody asks for it, so that images of before are known again.
                **({"reproducible": True} if self.options.reproducible else {}),
                **_given("network", self.image.network.replace("default", "")),
                **_given("add_hosts", dict(self.image.add_hosts)),
                **_given("shm_size", self.image.shm_size),
                **_given("ulimits", dict(self.image.ulimits)),
                **_given("fetched", sorted([str(platform), state] for platform, state in self.fetched)),
                **_given("compression", self._compression()),
                **_given("frontend", self.frontend),
                **_given("source_date_epoch", self.source_date_epoch),
            }
        )

    def _compression(self) -> Optional[list[Any]]:
        wanted = self.options.compression
        return None if wanted is None else [wanted.type, wanted.level]


def _given(name: str, value: Any) -> dict[str, Any]:
    return {} if value in (None, "", 0, {}, []) else {name: value}


def _hash(inputs: dict[str, Any]) -> str:
    text = json.dumps(inputs, sort_keys=True, ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
