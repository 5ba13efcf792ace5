# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Writing to registries: blobs, streamed from files, and manifests.

Source: OCI distribution specification 1.1, "Push".
"""

from __future__ import annotations

import os
from typing import Optional
from urllib.parse import urlencode

from ..oci.reference import Reference
from .client import Registry, Send
from .transport import Failure


def push_blob(
    registry: Registry, reference: Reference, digest: str, path: str, other: Optional[str] = None
) -> None:
    """Store the file ``path`` as the blob ``digest`` of the repository, unless it is there.

    ``other`` is a repository of the same registry that has it; a registry that can takes it from
    there. Raises ``RegistryError``, also where the content is not that of the digest.
    """

    def push(send: Send) -> None:
        if send("HEAD", f"blobs/{digest}", passing=(404,)).status == 200:
            return
        query = "?" + urlencode({"mount": digest, "from": other}) if other else ""
        begun = send("POST", f"blobs/uploads/{query}")
        if begun.status == 201:
            return
        location = begun.headers.get("Location", "")
        if not location:
            raise Failure("registry_error", f"{begun.endpoint.host} does not say where to upload to")
        location += ("&" if "?" in location else "?") + urlencode({"digest": digest})
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
            send("PUT", location, headers=headers, body=file)

    registry.write("push to", reference, push)


def push_manifest(
    registry: Registry, reference: Reference, media_type: str, body: bytes, digest: Optional[str] = None
) -> None:
    """Store a manifest or index under the tag of ``reference``, or by its ``digest`` alone.

    Raises ``RegistryError``.
    """
    name = digest or reference.tag or "latest"
    registry.write(
        "push to",
        reference,
        lambda send: send("PUT", f"manifests/{name}", headers={"Content-Type": media_type}, body=body),
    )
