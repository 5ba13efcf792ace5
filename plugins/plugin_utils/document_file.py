# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Reading the file that a person gives: the document, in YAML or JSON, as data.

No data is made of a file before it is known to be small, and what reading it costs grows with its length.
"""

from __future__ import annotations

import codecs
import os

from ansible_collections.sodalite.image_builder.plugins.module_utils.document.faults import Faults
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import ParameterError

from .document_tree import Content, Place, Tree, Unreadable

__all__ = ["MOST_BYTES", "Content", "read_document"]

#: How large a file may be.
MOST_BYTES = 4 * 1024 * 1024
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_document(path: str) -> Content:
    """What the file ``path`` says; JSON where its name ends in ``.json``.

    Raises ``OSError``, or ``ParameterError``, whose faults begin with the file's name and repeat no value.
    """
    with open(path, "rb") as file:
        content = file.read(MOST_BYTES + 1)
    faults = Faults()
    name = os.fsencode(path).decode(errors="backslashreplace")
    try:
        tree = _tree(content, is_json=path.endswith(".json"))
        if not tree.twice:
            return tree.content()
        for fault in tree.twice:
            faults.add(name, fault)
    except Unreadable as error:
        faults.add(name, str(error))
    raise ParameterError(faults)


def _tree(content: bytes, *, is_json: bool) -> Tree:
    # What reads the one is not needed for the other.
    if is_json:
        from .document_json import read_json

        return read_json(_text(content, "JSON"))
    from .document_yaml import read_yaml

    return read_yaml(_text(content, "YAML"))


def _text(content: bytes, kind: str) -> str:
    if len(content) > MOST_BYTES:
        raise Unreadable(f"is larger than {MOST_BYTES // 1024 // 1024} MiB")
    encoding = "utf-16" if content.startswith(_WIDE) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start]
        place = Place(before.count(b"\n") + 1, len(before) - before.rfind(b"\n"))
        raise Unreadable(f"is not {kind}: a byte that is not UTF-8 text: {place}") from None
