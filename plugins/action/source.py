# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Runs the module ``source``, showing its progress and its error."""

from __future__ import annotations

from ansible_collections.sodalite.image_builder.plugins.plugin_utils.module_action import ModuleAction


class ActionModule(ModuleAction):
    """See ``ModuleAction``."""
