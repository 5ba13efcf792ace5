# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Where the collection is installed: the service template, playbooks, and samples stand in it."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.sodalite.image_builder.plugins.module_utils import errors

#: The root of the collection, which is the TOSCA service root too.
ROOT = Path(errors.__file__).parents[2]
