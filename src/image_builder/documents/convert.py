# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Documents from JSON to YAML and back: data and its order stay, comments do not travel."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import ParameterError

from image_builder.documents.read import parse

Format = Literal["yaml", "json"]
_WIDTH = 110
_SUFFIXES: Mapping[str, Format] = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}


@dataclass(frozen=True)
class Conversion:
    """One file: its ``source``, the ``target`` beside it or elsewhere, and the target's ``text``."""

    source: Path
    target: Path
    text: str


def convert(paths: Sequence[Path], to: Format | None, output: Path | None) -> list[Conversion]:
    """Write each file of ``paths`` in the format ``to``, into ``output`` or beside it.

    Without ``to`` a file becomes the other format. Of a folder, all files of the other format
    than ``to`` (without it: JSON) are converted, with its folders under ``output``. Raises
    ``ParameterError`` with every fault, and then nothing was written; a file is never overwritten.
    """
    faults: list[str] = []
    found: dict[Path, Conversion] = {}
    for source, place in _files(paths, to, faults):
        wanted = to or ("yaml" if _SUFFIXES[source.suffix] == "json" else "json")
        target = (output / place if output else source).with_suffix(f".{wanted}")
        try:
            conversion = Conversion(source, target, _written(parse(source), wanted, source))
        except ParameterError as error:
            faults += error.faults
            continue
        if target in found:
            faults.append(f"{source}: becomes {target}, as {found[target].source} does")
        elif target.exists() and target.read_bytes() != conversion.text.encode():
            faults.append(f"{target}: exists, and is not overwritten; name another folder for the output")
        found[target] = conversion
    if faults:
        raise ParameterError(faults)
    for conversion in found.values():
        conversion.target.parent.mkdir(parents=True, exist_ok=True)
        if not conversion.target.exists():
            with conversion.target.open("x", encoding="utf-8") as file:
                file.write(conversion.text)
    return list(found.values())


def _files(paths: Sequence[Path], to: Format | None, faults: list[str]) -> list[tuple[Path, Path]]:
    """The files to convert, each with its place under the folder for the output."""
    found = []
    for path in paths:
        if path.is_dir():
            found += [
                (file, file.relative_to(path))
                for file in sorted(path.rglob("*"))
                if file.is_file() and _SUFFIXES.get(file.suffix, to or "yaml") != (to or "yaml")
            ]
        elif path.suffix not in _SUFFIXES:
            faults.append(f"{path}: the name ends in none of {', '.join(_SUFFIXES)}")
        elif _SUFFIXES[path.suffix] == to:
            faults.append(f"{path}: is {to} already")
        else:
            found.append((path, Path(path.name)))
    return found


def _written(document: Any, to: Format, source: Path) -> str:
    faults: list[str] = []
    _check(document, "", faults)
    if faults:
        raise ParameterError([f"{source}: {fault}" for fault in faults])
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if to == "yaml":
        # PyYAML reads an unusual line break that it wrote as it is as a space; escaped it stays.
        readable = not any(character in text for character in "\x85\u2028\u2029")
        text = yaml.safe_dump(
            document, sort_keys=False, allow_unicode=readable, explicit_start=True, width=_WIDTH
        )
    return text


def _check(value: Any, path: str, faults: list[str]) -> None:
    """What YAML knows and JSON does not must be written as text."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                faults.append(f"{path or 'the document'}: the key {key!r} is no text; quote it")
            _check(item, f"{path}.{key}".lstrip("."), faults)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check(item, f"{path}[{number}]", faults)
    elif isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            faults.append(f"{path or 'the document'}: has half of a character")
    elif not isinstance(value, (int, float, type(None))) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        faults.append(f"{path or 'the document'}: {value} has no form in JSON; quote it to make it text")
