# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A plan, or what became of it, as text that people read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

#: What people call the states of results.
STATES = {
    "pending": "to build",
    "success": "built",
    "unchanged": "unchanged",
    "failed": "failed",
    "cancelled": "not built",
}
#: How much of a digest people compare.
SHORT_DIGEST = 12
# The command itself, which can be long, stands in the excerpt of the Dockerfile.
_STEP_ENDED = re.compile(r'\Aprocess ".*" did not complete successfully: ')


def describe_image(image: Mapping[str, Any]) -> list[str]:
    """Lines about an image of a result (see ``ImageResult.to_dict``).

    The first says what is done and why, the others for which platforms, and what its stages
    stand on, with the platforms where a base does not serve all.
    """
    platforms = [entry["platform"] for entry in image["platforms"]]
    return [
        f"{image['reference']}: {STATES[image['state']]}, {image['reason']}",
        *([f"  for {', '.join(platforms)}"] if platforms else []),
        *_aligned([_base(base, platforms) for base in _by_platform(image["bases"])]),
    ]


def why_failed(image: Mapping[str, Any]) -> str:
    """Why an image of a result failed, in a few words; empty where it did not."""
    error = image["error"]
    if error is None:
        return ""
    line = f"line {error['line']}" if error["line"] else ""
    place = ", ".join(filter(None, (error["platform"], error["file"] and f"{error['file']} {line}".rstrip())))
    said = _STEP_ENDED.sub("", " ".join(error["message"].split())).rstrip(".")
    return f"{place}: {said}" if place else said


def short(digest: str) -> str:
    """As much of ``digest`` as people compare."""
    return digest.partition(":")[2][:SHORT_DIGEST]


def _by_platform(bases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The bases of each stage in the Dockerfile's order, with the ``platforms`` that share one."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for base in sorted(bases, key=lambda base: int(base["stage"])):
        key = (base["stage"], base["original"], base["reference"], base["digest"])
        found.setdefault(key, {**base, "platforms": []})["platforms"].append(base["platform"])
    return list(found.values())


def _base(base: Mapping[str, Any], platforms: Sequence[str]) -> tuple[str, ...]:
    return (
        f"line {base['line']}",
        f"stage {base['stage_name'] or base['stage']}",
        base["reference"] + (f" (for {base['original']})" if base["overridden"] else ""),
        short(base["digest"]),
        "" if base["platforms"] == platforms else ", ".join(base["platforms"]),
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
