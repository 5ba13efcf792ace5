# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A user's machine with a build context, from which images are built through the engine room's front door."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from ansible_collections.sodalite.image_builder.plugins.module_utils.build.result import Report
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_images
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Lines, Listener
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.build_images import (
    InFolder,
    InWorkspace,
    build_images,
)

from tests.support import leaks
from tests.support.engine import Engine
from tests.support.images import Image
from tests.support.registry import Registry

BOTH = ["linux/amd64", "linux/arm64"]
DOCKER_CONFIG = '{"auths": {"registry.example.org": {"auth": "bm9ib2R5OmFueXRoaW5n"}}}\n'


@dataclass
class Site:
    """A build context and a folder of the registry of its own; the bases there are made by ``base``."""

    engine: Engine
    folder: Path
    name: str = field(default_factory=lambda: f"tests/{uuid.uuid4().hex[:12]}")
    told: list[str] = field(default_factory=list)

    @property
    def context(self) -> Path:
        return self.folder / "context"

    def write(self, **files: str) -> None:
        """Write files of the context; ``_`` in a name stands for a dot."""
        self.context.mkdir(exist_ok=True)
        for name, text in files.items():
            (self.context / name.replace("_", ".")).write_text(text, encoding="utf-8")

    def repository(self, image: str) -> str:
        return f"{self.name}/{image}"

    def reference(self, image: str) -> str:
        """The image as a Dockerfile names it."""
        return f"{self.engine.registry}/{self.repository(image)}"

    def pushed(self, image: str, tag: str = "latest") -> Image:
        """What the registry holds."""
        return Image(self.engine, Registry(self.engine.registry), self.repository(image), tag)

    def base(self, name: str, mark: str) -> str:
        """Push a base image for both platforms with ``mark`` in the file /mark; gives its name."""
        folder = self.folder / f"base-{name}"
        folder.mkdir(exist_ok=True)
        (folder / "mark").write_text(mark, encoding="utf-8")
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY mark /mark\n", encoding="utf-8")
        wanted = {"image": name, "platforms": BOTH}
        assert self.build(wanted, context=folder).error is None
        return self.reference(name)

    def build(
        self,
        *images: dict[str, Any],
        context: Optional[Path] = None,
        workspace: Optional[str] = None,
        plan_only: bool = False,
        options: Optional[dict[str, Any]] = None,
        report: Optional[Callable[[str], None]] = None,
        listener: Optional[Listener] = None,
    ) -> Report:
        """Build ``images``, whose names are taken to lie in this site's folder.

        ``listener`` takes the place of ``report``, which gets lines alone.
        """
        wanted = [{**image, "image": self.repository(image["image"])} for image in images]
        raw = {"images": wanted, "registry": {"url": self.engine.registry}}
        target, checked, _ = accept_images(raw, options)
        place = InWorkspace(workspace) if workspace else InFolder(str(context or self.context))
        told = listener or Lines(report or self.told.append)
        return build_images(target, checked, place, told, plan_only=plan_only)

    def build_ok(self, *images: dict[str, Any]) -> list[dict[str, Any]]:
        """Build ``images``; gives their entries in the result."""
        made = self.build(*images)
        assert made.error is None, made.error
        return list(made.to_dict()["images"])

    def rebuilt(self, *images: dict[str, Any]) -> set[str]:
        """The names (without a tag) of those ``images`` that would be built now."""
        entries = self.build(*images, plan_only=True).to_dict()["images"]
        assert {entry["state"] for entry in entries} <= {"pending", "unchanged"}
        return {entry["image"].rpartition("/")[2] for entry in entries if entry["state"] == "pending"}


@contextmanager
def user_site(folder: Path, engine: Engine, machine: tuple[Path, Path]) -> Iterator[Site]:
    """A site on the user's ``machine``, which pushes to the registry of ``engine``.

    Afterwards nothing is left on the machine but what is remembered, and Docker's configuration is
    what it was.
    """
    home, tmp = machine
    config = home / ".docker" / "config.json"
    config.parent.mkdir()
    config.write_text(DOCKER_CONFIG, encoding="utf-8")
    leaks.remember_processes()
    yield Site(engine, folder)
    leaks.assert_nothing_left(tmp)
    # What is remembered of commits is to stay, and the locks; see ``sources/memory.py``, ``build/turns.py``.
    remembered = home / ".cache" / "image-builder"
    left = [path for path in home.rglob("*") if not path.is_dir() and remembered not in path.parents]
    assert left == [config]
    assert config.read_text(encoding="utf-8") == DOCKER_CONFIG


def states(report: Report) -> list[str]:
    return [result.state for result in report.results]
