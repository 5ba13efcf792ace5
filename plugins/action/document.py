# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Reads the document from the play's variables as data, so that no text in it is a template.

Ansible templates a variable's text wherever it is used. Documents are not trusted: a
``{{ lookup('pipe', …) }}`` in one would run. This plugin takes the variables before
templating, checks the whole document, reads its secrets, and hands it on as a result,
which Ansible never templates.
"""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_document
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.document import KEYS
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import BuilderError
from ansible_collections.sodalite.image_builder.plugins.plugin_utils.module_action import (
    fail_readably,
    write_result,
)


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller only; there is no module behind it."""

    _VALID_ARGS: frozenset[str] = frozenset({"deleting"})
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """The result, not logged: ``source``, ``target``, ``options``, ``custom_workdir``, ``references``."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        raw = {name: _plain((task_vars or {}).get(name)) for name in KEYS}
        # What was never built must be removable however wrong its document is.
        if self._task.args.get("deleting") and not _deletes_images(raw["options"]):
            result.update(changed=False, references=[])
            return result
        try:
            document = accept_document(raw)
        except BuilderError as error:
            result.update(failed=True, msg=str(error), error=error.to_dict())
            fail_readably(self._task.name, result)
            write_result(result)
            return result
        result.update(
            changed=False,
            _ansible_no_log=True,
            source=document.raw["source"],
            target=document.raw["target"],
            options=raw["options"] or {},
            custom_workdir=document.custom_workdir,
            references=[str(name) for image in document.target.images for name in image.references],
        )
        return result


def _deletes_images(options: Any) -> bool:
    return isinstance(options, dict) and options.get("delete_images") is True


def _plain(value: Any) -> Any:
    """``value`` without Ansible's tags, which would mark its text as a template to trust.

    A date, as YAML reads an unquoted ``2026-01-31``, is the text that was written.
    """
    return json.loads(json.dumps(value, default=str))
