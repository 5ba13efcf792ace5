# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What is built: a source in its place, and its name in the errors of images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Callable, Optional, TypeVar, Union

from ..dockerfile.file import read_dockerfile
from ..document.target import Image
from ..errors import BuilderError, Cancelled
from ..sources.context_digest import context_digest
from ..sources.tree import Known
from .planned import Unplannable

_T = TypeVar("_T")


@dataclass(frozen=True)
class BuildInput:
    """A source ready to build: absolute paths of the context and the Dockerfile, and where they come from.

    ``dockerfile_name`` is what the user calls the Dockerfile. ``revision`` and ``url``
    may be empty; ``committed_at`` is in Unix seconds, 0 for no time. What is ``known`` of it is not read
    again; without the paths it can be planned, not built. ``dockerignore`` is as in a ``SourceTree``.
    """

    context: str
    dockerfile: str
    dockerfile_name: str
    revision: str = ""
    committed_at: int = 0
    url: str = ""
    dockerignore: str = ""
    known: Optional[Known] = None

    def read_dockerfile(self) -> str:
        """The text of the Dockerfile. Raises ``OSError`` and ``DockerfileError``."""
        if self.known:
            return self.known.dockerfile
        return read_dockerfile(self.dockerfile, self.dockerfile_name)

    def read_context(self) -> str:
        """The digest of what reaches the build (see ``context_digest``). Raises ``OSError``."""
        if self.known:
            return self.known.context_digest
        from ..sources.dockerignore import read_ignore

        return context_digest(self.context, read_ignore(self.dockerignore))


@contextmanager
def located(source: BuildInput, image: Optional[Image] = None) -> Iterator[None]:
    """Add the image, and the Dockerfile's name and lines, to the errors of the block."""
    try:
        yield
    except BuilderError as error:
        if image is not None and error.image is None:
            error.image = image.name
        if error.line is not None and error.file is None:
            error.file = source.dockerfile_name
            error.show(source.read_dockerfile())
        raise


def or_unplannable(source: BuildInput, image: Image, call: Callable[[], _T]) -> Union[_T, Unplannable]:
    """What ``call`` gives, or where it fails, an image that cannot be built."""
    try:
        with located(source, image):
            return call()
    except Cancelled:
        raise
    except BuilderError as error:
        return Unplannable.of(image, error)
