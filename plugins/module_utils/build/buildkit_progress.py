# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""BuildKit's own account of a build: steps as they go, and what the failed one said.

The format is buildx's ``--progress=rawjson``: a stream of JSON objects on standard error
(pretty-printed by older buildx, one a line by newer), with the error as plain text at the end.
No library reads it, so it is read here.
"""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional

from ..listener import Event, Listener
from ..output import Kept

_LONGEST_LINE = 16_384
_LOG_LINES = 15
# BuildKit's own form: the builder's platform, and after an arrow the image's where that is another.
_PLATFORM = re.compile(r"(?P<os>[a-z]\w*)/(?P<rest>[\w/]+)(?:->(?P<to>[\w/]+))?(?: |\Z)")
_STEP = re.compile(r"\[(?P<place>[^\]]*)\]\s*(?P<text>.*)", re.DOTALL)
# One for each tag. It is told as completed when it has failed as well: the step tells that.
_PUSHING = re.compile(r"pushing manifest for (?P<reference>\S+)@(?P<digest>sha256:[0-9a-f]{64})\Z")
# Which of them stand there, and in which order, differs from one buildx to the next.
_BEFORE_MESSAGE = re.compile(
    r"\A(?:target \S+: |failed to (?:build|solve|run Build function): |rpc error: code = \w+ desc = )*"
)
# The most characters of a JSON object that has not come to its end.
_MOST_IN_OBJECT = 8 * 1024 * 1024
_LOCATION = re.compile(r"^(?P<file>\S+):(?P<line>\d+)$", re.MULTILINE)


@dataclass
class Step:
    """One vertex of BuildKit's graph. ``target`` is the bake target, where the build has several.

    ``pushing`` are the digests that it pushes, or has pushed, by reference.
    """

    name: str
    target: str = ""
    started: Optional[datetime] = None
    completed: Optional[datetime] = None
    cached: bool = False
    error: str = ""
    log: deque[str] = field(default_factory=lambda: deque(maxlen=_LOG_LINES))
    in_line: bool = False
    pushing: dict[str, str] = field(default_factory=dict)

    @property
    def cancelled(self) -> bool:
        """Whether another step's failure, and not its own, ended it."""
        return "context canceled" in self.error


@dataclass(frozen=True)
class Outcome:
    """How a build ended: its ``steps`` by digest, and the plain ``error`` text, empty on success."""

    steps: Mapping[str, Step]
    error: str

    def seconds(self, target: str) -> float:
        """From the start of the build until the last step of ``target`` ended."""
        starts = [step.started for step in self.steps.values() if step.started]
        ends = [step.completed for step in self.steps.values() if step.completed and step.target == target]
        return (max(ends) - min(starts)).total_seconds() if ends else 0.0

    @property
    def failed(self) -> Optional[Step]:
        """The step whose failure ended the build, if one was to blame.

        Where several failed, it is the one that the error text tells of.
        """
        failed = [step for step in self.steps.values() if step.error and not step.cancelled]
        return next((step for step in failed if step.error in self.error), failed[0] if failed else None)

    @property
    def line(self) -> Optional[int]:
        """The line of the Dockerfile that BuildKit points at."""
        location = _LOCATION.search(self.error)
        return int(location.group("line")) if location else None

    @property
    def message(self) -> str:
        """BuildKit's sentence, without what every one of them starts with."""
        said = self.error.splitlines()
        for number, line in reversed(list(enumerate(said))):
            if line.startswith("ERROR: "):
                text = line[len("ERROR: ") :]
                if text.endswith("errors:"):
                    # A registry's answer of several errors, each on a line of its own.
                    text += " " + "; ".join(dict.fromkeys(filter(None, map(str.strip, said[number + 1 :]))))
                return _BEFORE_MESSAGE.sub("", text).strip()
        lines = [line for line in self.error.splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""


class Reader:
    """Reads the stream line by line and tells ``listener`` of each step that starts and ends.

    ``names`` maps bake targets to what people call those images. Of a step that several images share there
    is an event for each of them.
    """

    def __init__(self, names: Mapping[str, str], listener: Listener) -> None:
        self._names = names
        self._listener = listener
        self._steps: dict[str, Step] = {}
        self._announced: set[str] = set()
        self._shown: set[tuple[str, Event]] = set()
        self._text = Kept()
        self._object: list[str] = []
        self._object_size = 0

    def feed(self, line: str) -> None:
        """Take one line of standard error."""
        if self._object or line.startswith("{"):
            self._object.append(line)
            self._object_size += len(line)
            if line.startswith("}") or (len(self._object) == 1 and line.endswith("}")):
                self._take("\n".join(self._object))
                self._object, self._object_size = [], 0
            elif self._object_size > _MOST_IN_OBJECT:
                self._give_up_object()
        elif line.strip():
            self._keep(line)

    def pushed(self, target: str) -> dict[str, str]:
        """The digests that were pushed of ``target`` so far, by reference (``registry/repository:tag``)."""
        found: dict[str, str] = {}
        for step in list(self._steps.values()):
            if step.target == target and step.completed and not step.error:
                found.update(step.pushing)
        return found

    def outcome(self, status: int) -> Outcome:
        """The end of the build, whose exit status was ``status``."""
        self._give_up_object()
        return Outcome(self._steps, self._text.text().removesuffix("\n") if status else "")

    def _give_up_object(self) -> None:
        """Take an object that never ended for what it is, text."""
        for line in self._object:
            self._keep(line)
        self._object, self._object_size = [], 0

    def _keep(self, text: str) -> None:
        """Keep ``text``, or what there is room for, as a part of the error."""
        self._text.add(f"{text}\n".encode("utf-8", "replace"))

    def _take(self, text: str) -> None:
        try:
            event = json.loads(text)
        except ValueError:
            self._keep(text)
            return
        for vertex in event.get("vertexes") or ():
            self._vertex(vertex)
        for status in event.get("statuses") or ():
            step = self._steps.get(status.get("vertex", ""))
            pushing = _PUSHING.match(status.get("id", ""))
            if step is not None and pushing is not None:
                step.pushing[pushing["reference"]] = pushing["digest"]
        for log in event.get("logs") or ():
            step = self._steps.get(log.get("vertex", ""))
            if step is not None:
                data = base64.b64decode(log.get("data") or "").decode("utf-8", "replace")
                _append(step, data)

    def _vertex(self, vertex: Mapping[str, Any]) -> None:
        digest = vertex["digest"]
        step = self._steps.get(digest)
        name = vertex.get("name", "")
        if step is None:
            step = self._steps[digest] = Step(self._readable(name), self._parse(name)[0])
        step.cached = step.cached or bool(vertex.get("cached"))
        step.error = vertex.get("error") or step.error
        started, completed = vertex.get("started"), vertex.get("completed")
        seconds = 0.0
        if started and completed:
            step.started = step.started or _time(started)
            step.completed = _time(completed)
            seconds = (step.completed - _time(started)).total_seconds()
        if not started or self._is_internal(step):
            return
        lines = []
        if digest not in self._announced:
            self._announced.add(digest)
            lines.append(step.name)
        if seconds >= 1 and not step.error:
            lines.append(f"{step.name}, done in {seconds:.1f} s")
        event = self._event(step, self._parse(name), seconds if completed else None)
        if event is not None and (digest, event) not in self._shown:
            # BuildKit repeats itself.
            self._shown.add((digest, event))
            self._listener.event(event)
        for line in lines:
            self._listener.event(Event("", "", "started", line=line))

    def _event(self, step: Step, place: tuple[str, str, str], seconds: Optional[float]) -> Optional[Event]:
        """What rows show of a step, if it belongs to one image; ``seconds`` are those of one that ended."""
        target, where, text = place
        if target not in self._names or step.cancelled:
            return None
        platform = _PLATFORM.match(where)
        if platform is not None:
            where = where[platform.end() :]
        return Event(
            self._names[target],
            f"{platform['os']}/{platform['to'] or platform['rest']}" if platform else "",
            "started" if seconds is None else "failed" if step.error else "done",
            _one_line(f"{where} {text}"),
            seconds or 0.0,
        )

    def _parse(self, name: str) -> tuple[str, str, str]:
        """The bake target of a step, its place in the build without that, and what it does."""
        match = _STEP.match(name)
        place, text = match.group("place", "text") if match else ("", name)
        first, _, rest = place.partition(" ")
        if first in self._names:
            return first, rest, text
        return next(iter(self._names)) if len(self._names) == 1 else "", place, text

    def _readable(self, name: str) -> str:
        """The step's name with the image's own name in the target's place."""
        target, place, text = self._parse(name)
        if not _STEP.match(name):
            return _one_line(name)
        return _one_line(f"[{' '.join(filter(None, (self._names.get(target), place)))}] {text}")

    @staticmethod
    def _is_internal(step: Step) -> bool:
        return bool(re.match(r"\[[^\]]*\b(?:internal\]|context [^\]]+\]|auth\])", step.name))


def _append(step: Step, data: str) -> None:
    """Add ``data`` to the step's log. What was printed in parts, such as a password, is one line again."""
    if step.in_line and step.log and len(step.log[-1]) < _LONGEST_LINE:
        data = step.log.pop() + data
    lines = data.splitlines()
    step.in_line = bool(lines) and lines[-1].strip() != "" and not data.endswith(("\n", "\r"))
    step.log.extend(line for line in lines if line.strip())


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 160 else line[:159] + "…"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(re.sub(r"\.(\d{1,6})\d*", _microseconds, text).replace("Z", "+00:00"))


def _microseconds(match: re.Match[str]) -> str:
    return "." + match.group(1).ljust(6, "0")
