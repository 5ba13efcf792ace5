# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A Dockerfile read from a file, up to a limit."""

from __future__ import annotations

from ..errors import DockerfileError

#: In bytes: a hundred times the longest that people write. BuildKit reads no line that is longer than 64 KiB.
LONGEST_DOCKERFILE = 4 << 20


def read_dockerfile(path: str, name: str) -> str:
    """The text of the Dockerfile at ``path``, line ends as they are; bytes that are no UTF-8 are surrogates.

    In errors it is called ``name``. Raises ``OSError``, and before more than the limit is read
    ``DockerfileError`` (``dockerfile_too_large``).
    """
    with open(path, "rb") as file:
        content = file.read(LONGEST_DOCKERFILE + 1)
    if len(content) > LONGEST_DOCKERFILE:
        raise DockerfileError(
            "dockerfile_too_large",
            f"{name} is larger than {LONGEST_DOCKERFILE >> 20} MiB, too large for a Dockerfile.",
            hint="Check that 'dockerfile' names the right file; copy data from files of the context.",
        )
    return content.decode("utf-8", "surrogateescape")
