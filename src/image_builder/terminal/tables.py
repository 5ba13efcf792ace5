# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a person sees of a build: its steps as they go, and what came of it or would come."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.sodalite.image_builder.plugins.module_utils.build.input_hash import INPUT_HASH
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.plan_text import (
    STATES,
    describe_image,
    short,
    why_failed,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.text import (
    printable_data,
    printable_lines,
)
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_STYLES = {
    "pending": "yellow",
    "success": "green",
    "unchanged": "cyan",
    "failed": "red",
    "cancelled": "yellow",
}
_REPRODUCIBLE = "with options.reproducible, the same for a commit on any engine of this version"
_NOT_REPRODUCIBLE = (
    "differ from another engine's, which takes Docker Engine 26 or newer, or BuildKit 0.13 or newer"
)
_WIDEST = 10_000
_HEADINGS = ("Image", "Tag", "Platforms", "Digest", "Base", "Time", "State")


class Steps:
    """Prints steps as they come, each with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = time.monotonic()

    def __call__(self, line: str) -> None:
        """Print one step. Its text is never taken for markup."""
        print_text(self._console, Text(f"{time.monotonic() - self._begun:6.1f} s  {printable_lines(line)}"))


def print_text(console: Console, text: Text) -> None:
    """Print ``text`` broken between words on a terminal, each line below its begin, else as it is."""
    if not console.is_terminal:
        console.print(text, soft_wrap=True)
        return
    for line in text.split("\n", allow_blank=True):
        indent = len(line.plain) - len(line.plain.lstrip(" "))
        console.print(Padding(line[indent:], (0, 0, 0, indent)))


def show_images(console: Console, images: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of a result's images (see the module ``images``), with why some failed.

    Below stands each one's reference by digest. Where a table would be wider than the terminal, the images
    stand below one another.
    """
    images = printable_data(images)
    rows = [_cells(image) for image in images]
    unbounded = console.options.update(width=_WIDEST)
    console.print()
    for space in (1, 0):
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, space, 0, 0))
        for heading in _HEADINGS:
            table.add_column(heading, no_wrap=True)
        for row in rows:
            table.add_row(*row)
        if console.measure(table, options=unbounded).maximum <= console.width:
            console.print(table)
            break
    else:
        for row in rows:
            name, tag, *rest = row
            console.print(Text.assemble((f"{name}:{tag}", "bold")), soft_wrap=True)
            console.print(_aligned(zip(_HEADINGS[2:], rest, strict=True)), soft_wrap=True)
    for image in images:
        if reason := why_failed(image):
            line = Text.assemble((f"{image['image']}:{image['tag']}", "bold"), " failed: ", reason)
            console.print(line, no_wrap=True, overflow="ellipsis", crop=console.is_terminal)
    console.print()
    for image in images:
        if image["digest"]:
            # Whole and on one line, to be copied.
            pinned = f"{image['registry']}/{image['image']}@{image['digest']}"
            console.print(Text(f"{image['tag']}: {pinned}"), soft_wrap=True)


def show_plan(console: Console, images: Sequence[Mapping[str, Any]]) -> None:
    """Print what would be done with each image of a planned result, why, and on which base images."""
    for image in printable_data(images):
        heading, *lines = describe_image(image)
        word = STATES[image["state"]]
        print_text(
            console,
            Text.assemble(
                (image["reference"], "bold"),
                ": ",
                (word, _STYLES[image["state"]]),
                heading.removeprefix(f"{image['reference']}: {word}"),
            ),
        )
        for line in lines:
            console.print(Text(line), soft_wrap=True)


def show_manifest(console: Console, found: Mapping[str, Any]) -> None:
    """Print what a registry holds for a reference (see the module ``registry_image_info``)."""
    found = printable_data(found)
    annotations = dict(found["annotations"])
    console.print(Text(found["reference"], "bold"), soft_wrap=True)
    rows = [("digest", found["digest"]), ("type", found["media_type"])]
    if INPUT_HASH in annotations:
        rows.append(("input hash", annotations.pop(INPUT_HASH)))
    console.print(_aligned(rows), soft_wrap=True)
    parts = (
        ("platforms", [(entry["platform"], entry["digest"]) for entry in found["platforms"]]),
        ("attestations", [(_platform_of(found, about), own) for about, own in found["attestations"].items()]),
        ("annotations", sorted(annotations.items())),
    )
    for heading, part in parts:
        if part:
            console.print(heading)
            console.print(_aligned(part), soft_wrap=True)


def _platform_of(found: Mapping[str, Any], digest: str) -> str:
    platforms = {entry["digest"]: entry["platform"] for entry in found["platforms"]}
    return str(platforms.get(digest, digest))


def _cells(image: Mapping[str, Any]) -> list[Text]:
    return [
        Text(image["image"]),
        Text(image["tag"]),
        Text("\n".join(entry["platform"] for entry in image["platforms"])),
        Text(short(image["digest"])),
        Text("\n".join(_bases(image["bases"]))),
        Text(f"{image['seconds']:.1f} s"),
        Text(STATES[image["state"]], _STYLES[image["state"]]),
    ]


def _bases(bases: Sequence[Mapping[str, Any]]) -> list[str]:
    """The base references as people write them, each once whatever the number of platforms."""
    return list(dict.fromkeys(Reference.parse(base["reference"]).familiar for base in bases))


def _aligned(rows: Iterable[Sequence[str | Text]]) -> Text:
    """Rows in columns of their own widths, indented, however narrow the terminal is."""
    cells = [[Text(", ".join(str(cell).splitlines())) for cell in row] for row in rows]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        for cell, width in zip(row[:-1], widths, strict=False):
            cell.pad_right(width - cell.cell_len)
        line = Text("  ").append_text(Text("  ").join(row))
        line.rstrip()
        lines.append(line)
    return Text("\n").join(lines)


def show_engine(console: Console, found: Mapping[str, Any]) -> None:
    """Print which engine was found and what it can do (see ``image-builder engine status --json``)."""
    found = printable_data(found)
    rows = [
        ("engine", f"Docker Engine {found['version']}"),
        ("endpoint", found["docker_host"]),
        ("builder", found["builder"] or "the engine's own"),
        ("buildx", found["buildx"]),
        ("native", found["native"]),
        ("platforms", " ".join(found["platforms"])),
        ("digests", _REPRODUCIBLE if found["rewrites_timestamps"] else _NOT_REPRODUCIBLE),
    ]
    console.print(_aligned(rows), soft_wrap=True)
