# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Documents that tests write themselves."""

from __future__ import annotations

from typing import Any

from tests.support.registry import Registry


def document(registry: Registry, source: dict[str, Any], *images: dict[str, Any]) -> dict[str, Any]:
    """A document that builds ``images`` from the repository ``source`` and pushes them to ``registry``."""
    return {
        "source": {"git_repo": source},
        "target": {"images": list(images), "registry": registry_parameters(registry)},
    }


def registry_parameters(registry: Registry) -> dict[str, Any]:
    """``target.registry`` for a registry."""
    account = {"username": registry.username, "password": registry.password}
    return {"url": registry.address, **(account if registry.username else {})}
