# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The whole document, checked: source, target, options, and the folder for workspaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ..secret import SecretReference
from .options import Options
from .source import Source
from .target import Target


@dataclass(frozen=True)
class Document:
    """A document without a fault, as ``check_document`` makes it.

    Its secrets are ``SecretReference`` until ``resolve`` reads them. ``custom_workdir`` is the absolute path
    of the folder for workspaces, ``None`` for the machine's own. ``raw`` is what was written, for handing
    on to another process. ``secrets`` and ``powers`` (those of ``Faults``) are what it asks of the machine
    that reads it.
    """

    source: Source
    target: Target
    options: Options = field(default_factory=Options)
    custom_workdir: Optional[str] = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    secrets: tuple[SecretReference, ...] = field(default=(), repr=False, compare=False)
    powers: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)

    def masked(self) -> dict[str, Any]:
        """What was written, for showing: a mask where a secret is text; ``{env: NAME}`` stays readable."""
        shown = {secret.path: secret.shown() for secret in self.secrets}
        return {name: with_values(item, shown, name) for name, item in self.raw.items()}


def with_values(raw: Any, values: Mapping[str, Any], path: str) -> Any:
    """A copy of ``raw``, which stands at ``path``, with ``values`` at their paths in the document."""
    if path in values:
        return values[path]
    if isinstance(raw, Mapping):
        return {key: with_values(item, values, f"{path}.{key}") for key, item in raw.items()}
    if isinstance(raw, (list, tuple)):
        return [with_values(item, values, f"{path}[{number}]") for number, item in enumerate(raw)]
    return raw
