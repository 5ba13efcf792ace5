#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Ask a registry which tags it has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_tags_info
short_description: Ask a registry which tags it has
version_added: 1.0.0
author: SODALITE image-builder developers (@SODALITE-EU)
description:
  - Asks a registry, without credentials, for each of several tags.
options:
  registry:
    description: Host and port of the registry.
    type: str
    required: true
  scheme:
    description: How the registry is reached.
    type: str
    choices: [http, https]
    default: http
  references:
    description: Repositories with their tags, such as V(library/alpine:3.18).
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  platform:
    description: Any with Python.
    support: full
    platforms: posix
"""

EXAMPLES = r"""
- name: Ask for two base images
  sodalite.image_builder.registry_tags_info:
    registry: 127.0.0.1:5000
    references: [library/alpine:3.18, library/debian:bookworm]
"""

RETURN = r"""
digests:
  description: Digest of each reference that the registry has.
  returned: always
  type: dict
missing:
  description: References that the registry does not have.
  returned: always
  type: list
  elements: str
"""

import http.client
import re

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.machine import http_probe

# A registry answers 404 for a manifest of a type that is not accepted.
_ACCEPT = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)
_REFERENCE = re.compile(r"(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*):(?P<tag>\w[\w.-]{0,127})")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "registry": {"type": "str", "required": True},
            "scheme": {"type": "str", "choices": ["http", "https"], "default": "http"},
            "references": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    base = f"{module.params['scheme']}://{module.params['registry']}"
    digests, missing = {}, []
    for reference in module.params["references"]:
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            module.fail_json(
                msg=f"{reference!r} is no repository with a tag; write it like library/alpine:3.18"
            )
            return
        url = f"{base}/v2/{match['name']}/manifests/{match['tag']}"
        try:
            status, digest = http_probe.status(
                url, "HEAD", {"Accept": _ACCEPT}, header="Docker-Content-Digest"
            )
        except (OSError, http.client.HTTPException) as error:
            module.fail_json(msg=f"no registry answers at {base}: {error}; set one up with the role registry")
        if status == 404:
            missing.append(reference)
        elif status == 200:
            digests[reference] = digest
        else:
            module.fail_json(msg=f"the registry at {base} answered {status} when asked for {reference}")
    module.exit_json(changed=False, digests=digests, missing=missing)


if __name__ == "__main__":
    main()
