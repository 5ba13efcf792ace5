# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a benchmark answers: values measured in turns, their ratios, and the aims they are held against."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Aim:
    """A limit for ``found``, the greatest allowed value or, with ``at_least``, the smallest."""

    what: str
    found: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the value keeps to the limit."""
        return self.found >= self.limit if self.at_least else self.found <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """For the results file."""
        bound = "at least" if self.at_least else "at most"
        return {"what": self.what, "found": round(self.found, 3), bound: self.limit, "met": self.met}


@dataclass(frozen=True)
class Answer:
    """The answer to one question.

    ``settings`` say what was built. ``measured`` has for each way its values in ``unit``, one for each
    round. ``ratios`` are of medians, without a unit.
    """

    settings: Mapping[str, Any]
    measured: Mapping[str, list[float]]
    ratios: Mapping[str, float]
    aims: tuple[Aim, ...] = ()
    unit: str = "s"
    medians: Mapping[str, float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "medians", medians(self.measured))

    def to_dict(self) -> dict[str, Any]:
        """For the results file."""
        return {
            "settings": dict(self.settings),
            "unit": self.unit,
            "measured": {way: [round(v, 3) for v in values] for way, values in self.measured.items()},
            "medians": {way: round(value, 3) for way, value in self.medians.items()},
            "ratios": {what: round(value, 3) for what, value in self.ratios.items()},
            "aims": [aim.to_dict() for aim in self.aims],
        }

    def table(self) -> str:
        """For people: medians with their range, ratios, aims; a line each."""
        lines = [
            f"  {way:44}{self.medians[way]:>9.2f} {self.unit}  ({min(values):.2f} to {max(values):.2f})"
            for way, values in self.measured.items()
        ]
        lines += [f"  {what:44}{value:>9.2f}" for what, value in self.ratios.items()]
        for aim in self.aims:
            bound = "at least" if aim.at_least else "at most"
            verdict = "met" if aim.met else "MISSED"
            lines.append(f"  aim: {aim.what} {bound} {aim.limit:g}: {aim.found:.2f}, {verdict}")
        return "\n".join(lines)


def medians(measured: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each way's values."""
    return {way: statistics.median(values) for way, values in measured.items()}


def timed(
    ways: Mapping[str, Callable[[str], object]],
    rounds: int,
    before: Callable[[str], object] = lambda name: None,
) -> dict[str, list[float]]:
    """The seconds of each way, one value for each round.

    The ways take turns, so that what slows the machine down for a while slows them all. Each, and
    ``before`` it, outside of the time, is called with a name of way and round that no other call gets.
    """
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, call in ways.items():
            name = f"{way.replace(' ', '-')}-{number}"
            before(name)
            started = time.monotonic()
            call(name)
            seconds[way].append(time.monotonic() - started)
            print(f"  round {number + 1}: {way} {seconds[way][-1]:.2f} s", flush=True)
    return seconds
