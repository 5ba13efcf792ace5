# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Reads the document as data, so that no text in it is a template, and no key of it a variable.

Ansible templates a variable's text wherever it is used, and what ``-e @FILE`` reads are variables: a
``{{ lookup('pipe', …) }}`` of a document would run, and its key ``ansible_connection`` steer Ansible.
This plugin reads the file that the variable ``document`` names, or else takes the document's parts from
the play's variables before templating. It checks the whole, reads its secrets, and hands it on
as a result, which Ansible never templates.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_document
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.argument_spec import (
    KEYS,
    PARTS,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.document import Document
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.left_out import (
    without_left_out,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import (
    BuilderError,
    ParameterError,
    from_os_error,
)
from ansible_collections.sodalite.image_builder.plugins.plugin_utils.document_file import (
    Content,
    read_document,
)
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
        try:
            given = _given(task_vars or {}, self._templar.template)
            # What was never built must be removable however wrong its document is.
            if self._task.args.get("deleting") and not _deletes_images(given.data):
                result.update(changed=False, references=[])
                return result
            result.update(_handed_on(accept_document(given.data, written=given.written)))
        except (BuilderError, OSError) as error:
            told = from_os_error(error, "parameters") if isinstance(error, OSError) else error
            result.update(failed=True, msg=str(told), error=told.to_dict())
            fail_readably(self._task.name, result)
            write_result(result)
        return result


def _given(variables: Mapping[str, Any], template: Callable[[Any], Any]) -> Content:
    """The document of a play with these ``variables``. Raises ``ParameterError`` or ``OSError``.

    The path of a file is the playbook's, and may be a ``template``, as that of any other task.
    """
    parts = {name: _plain(variables[name]) for name in KEYS if name in variables}
    path = _plain(template(variables.get("document")))
    if path is None:
        return Content({name: parts.get(name) for name in KEYS})
    if not isinstance(path, str):
        raise ParameterError(["document: expected the path of a file, such as -e document=inputs/hello.yaml"])
    if parts:
        raise ParameterError(
            [f"{name}: is a variable of the play, beside the file document={path}" for name in parts]
        )
    content = read_document(os.path.expanduser(path))
    if not isinstance(content.data, dict):
        raise ParameterError([f"{path}: expected a mapping with source and target"])
    return content


def _handed_on(document: Document) -> dict[str, Any]:
    """The result, for the modules."""
    parts = {name: without_left_out(document.raw.get(name) or {}, spec) for name, spec in PARTS.items()}
    return {
        "changed": False,
        "_ansible_no_log": True,
        **parts,
        "options": {**parts["options"], "timeout": document.options.limit},
        "custom_workdir": document.custom_workdir,
        "references": [str(name) for image in document.target.images for name in image.references],
    }


def _deletes_images(document: Mapping[str, Any]) -> bool:
    options = document.get("options")
    return isinstance(options, dict) and options.get("delete_images") is True


def _plain(value: Any) -> Any:
    """``value`` without Ansible's tags, which would mark its text as a template to trust.

    Dates and keys that are numbers stay what they are, so that the checks see them.
    """
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, datetime.date):
        return datetime.date(value.year, value.month, value.day)
    return json.loads(json.dumps(value, default=str))
