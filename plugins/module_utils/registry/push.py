# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Writing to registries: blobs, streamed from files, and manifests.

Source: OCI distribution specification 1.1, "Push".
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import Optional
from urllib.parse import urlencode

from ..network.failure import Failure
from ..oci.reference import Reference
from .client import Registry, Repository

_ACTIONS = "pull,push"


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
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
            place = replace(place, target=place.target + signed)
            repository.send_to("PUT", place, headers=headers, body=file)

    registry.ask("push to", reference, push, actions=_ACTIONS)


def push_manifest(
    registry: Registry, reference: Reference, media_type: str, body: bytes, digest: Optional[str] = None
) -> None:
    """Store a manifest or index under the tag of ``reference``, or by its ``digest`` alone.

    Raises ``RegistryError``.
    """
    name = digest or reference.tag or "latest"
    headers = {"Content-Type": media_type}

    def push(repository: Repository) -> None:
        repository.send("PUT", f"manifests/{name}", headers=headers, body=body)

    registry.ask("push to", reference, push, actions=_ACTIONS)


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
