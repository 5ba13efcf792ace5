# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Writing to registries: blobs, streamed from files, and manifests.

Source: OCI distribution specification 1.1, "Push".
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from dataclasses import replace
from typing import BinaryIO, Optional, cast
from urllib.parse import urlencode

from ..network.failure import Failure
from ..oci.reference import Reference
from .client import Registry, Repository

#: What to do about a registry that does not let a tag change, and one that takes no images of BuildKit.
IMMUTABLE_HINT = "Give another tag, or let those who run the registry allow this one to change."
OCI_HINT = (
    "The registry must take what the OCI image specification defines: indexes and manifests "
    "(application/vnd.oci.image.*.v1+json). Update it, or push to another one."
)
# How long the upload of a blob may take: so many seconds, and as long as at this speed (bytes in a second).
_LEAST_SECONDS, _SLOWEST = 120.0, 16384
_ACTIONS = "pull,push"
_IMMUTABLE = re.compile(r"immutable|does not allow updating", re.IGNORECASE)
_NO_OCI = re.compile(r"manifest.?invalid|media.?type|schema version", re.IGNORECASE)


def check_push(registry: Registry, reference: Reference) -> None:
    """Raise ``RegistryError`` if the repository of ``reference`` cannot be pushed to now.

    An upload is begun and cancelled; no image comes of it.
    """
    registry.ask("push to", reference, _check_push, actions=_ACTIONS)


def push_blob(
    registry: Registry, reference: Reference, digest: str, path: str, other: Optional[str] = None
) -> None:
    """Store the file ``path`` as the blob ``digest`` of the repository, unless it is there.

    ``other`` is a repository of the same registry that has it; a registry that can takes it from
    there. Raises ``RegistryError``, also where the content is not that of the digest.
    """

    def push(repository: Repository) -> None:
        if repository.send("HEAD", f"blobs/{digest}", passing=(404,)).status == 200:
            return
        query = "?" + urlencode({"mount": digest, "from": other}) if other else ""
        begun = repository.send("POST", f"blobs/uploads/{query}")
        if begun.status == 201:
            return
        location = begun.headers.get("Location", "")
        if not location:
            raise Failure("registry_error", f"{begun.endpoint.host} does not say where to upload to")
        place = repository.lead(begun, location)
        signed = ("&" if "?" in place.target else "?") + urlencode({"digest": digest})
        with open(path, "rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            file = cast(BinaryIO, _Upload(opened, begun.endpoint.host, _LEAST_SECONDS + size / _SLOWEST))
            headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
            place = replace(place, target=place.target + signed)
            repository.send_to("PUT", place, headers=headers, body=file)

    registry.ask("push to", reference, push, actions=_ACTIONS)


def push_manifest(
    registry: Registry, reference: Reference, media_type: str, body: bytes, digest: Optional[str] = None
) -> None:
    """Store a manifest or index under the tag of ``reference``, or by its ``digest`` alone.

    Raises ``RegistryError``; ``tag_immutable`` for a tag that the registry does not let change.
    """
    name = digest or reference.tag or "latest"
    headers = {"Content-Type": media_type}

    def push(repository: Repository) -> None:
        try:
            repository.send("PUT", f"manifests/{name}", headers=headers, body=body)
        except Failure as failure:
            raise _manifest_refused(failure) from None

    registry.ask("push to", reference, push, actions=_ACTIONS)


class _Upload:
    """A file that is sent until ``seconds`` have passed, however steadily its server takes it in."""

    def __init__(self, file: BinaryIO, host: str, seconds: float) -> None:
        self._file = file
        self._host = host
        self._until = time.monotonic() + seconds

    def seek(self, place: int) -> int:
        return self._file.seek(place)

    def read(self, size: int = -1) -> bytes:
        if time.monotonic() > self._until:
            raise Failure(
                "too_long", f"{self._host} takes in too slowly what is sent", hint="Try again later."
            )
        return self._file.read(size)


def _manifest_refused(failure: Failure) -> Failure:
    """What the refusal of a manifest, by its status and the registry's words, means to the user."""
    status = failure.status
    if status in (409, 412) or (status in (400, 403) and _IMMUTABLE.search(failure.what)):
        return replace(failure, code="tag_immutable", hint=IMMUTABLE_HINT)
    if status == 415 or (status == 400 and _NO_OCI.search(failure.what)):
        return replace(failure, hint=OCI_HINT)
    return failure


def _check_push(repository: Repository) -> None:
    response = repository.send("POST", "blobs/uploads/", passing=(404, 405))
    if response.status in (404, 405):
        raise Failure(
            "registry_denied",
            f"{repository.endpoint.host} takes no images for {repository.name}",
            hint="Create the repository in the registry first, or correct the image's name.",
            status=response.status,
        )
    location = response.headers.get("Location", "")
    # Where the upload cannot be cancelled the registry forgets it by itself.
    with suppress(Failure):
        if location:
            repository.send_to("DELETE", repository.lead(response, location))
