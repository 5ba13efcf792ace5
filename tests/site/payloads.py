# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The documents that users already send, with hosts and credentials of the tests and nothing else changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Optional

from tests.site.registry import Registry

FOLDER = Path(__file__).parents[1] / "conformance" / "payloads"

#: The payloads whose source is a git repository.
GIT = ("git", "git_image_variants", "git_options", "multi_arch", "multi_arch_image_variants")

#: The payloads whose source is a Dockerfile by itself.
DOCKERFILE = ("dockerfile", "dockerfile_build_context", "dockerfile_subdir_context")

Account = tuple[Any, Any]


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


def payload(
    name: str,
    *,
    git: str,
    registry: Registry,
    account: Optional[Account] = None,
    files: str = "",
    files_account: Optional[Account] = None,
) -> dict[str, Any]:
    """The payload ``name``; ``git`` and ``files`` are URLs of folders with its repositories and Dockerfiles.

    ``account`` and ``files_account`` are the username and the password of those servers, for
    payloads that give one.
    """
    made = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    for kind, source in made["source"].items():
        folder, login = (files, files_account) if kind == "dockerfile" else (git, account)
        parts = 2 if kind == "dockerfile" else 1
        source["url"] = "/".join([folder.rstrip("/"), *source["url"].split("/")[-parts:]])
        if "username" in source:
            assert login is not None, f"{name} needs an account of the server of its {kind}"
            source["username"], source["password"] = login
    made["target"]["registry"].update(
        {"url": registry.address, "username": registry.username, "password": registry.password}
    )
    return dict(made)
