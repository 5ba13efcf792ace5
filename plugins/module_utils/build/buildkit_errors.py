# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""From what BuildKit says of a failed build to an error that a user can act on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Optional

from ..dockerfile.frontend import FRONTEND_HINT
from ..engine.find import SET_UP_HINT, is_not_there
from ..errors import BuildError, Place
from ..registry.confirm import LOST_HINT
from ..registry.push import IMMUTABLE_HINT, OCI_HINT
from ..text import without_colours
from .buildkit_progress import Outcome, Step

# What some registries answer for an immutable tag, too: older engines do not give their words.
_REFUSED_MANIFEST = r"PUT request to MANIFEST: 400"
# What a registry or the network to it says that may be gone later. A manifest is answered with 400 while the
# registry lacks one of its blobs: BuildKit leaves out what another image's push has begun. Newer engines give
# the registry's words in place of the status.
_PASSING = (
    r"connection refused|connection reset|broken pipe|use of closed network connection|no such host|"
    r"i/o timeout|Client\.Timeout|context deadline exceeded|TLS handshake|unexpected EOF|: EOF|GOAWAY|"
    rf"toomanyrequests|{_REFUSED_MANIFEST}|blob unknown to registry|429 Too Many|\b50[0-9] |"
    r"unexpected status from .*: 5\d\d"
)
_UNAUTHORIZED = (
    r"401 Unauthorized|authorization failed|authentication required|insufficient_scope|no basic auth"
)
_DENIED = r"403 Forbidden|(?<!permission )denied"
#: Pattern in BuildKit's message, code, hint, whether trying again can help. The first that fits counts.
_CAUSES = (
    (
        r"dockerfile parse error|unknown instruction|Dockerfile syntax|unknown flag",
        "dockerfile_syntax",
        "Correct this line of the Dockerfile.",
        False,
    ),
    (
        r"(?s)failed to calculate checksum.*: not found",
        "missing_in_context",
        "Check the paths of this line.",
        False,
    ),
    (
        r"unset ssh forward key|no SSH key|ssh forwarding",
        "ssh_not_available",
        "Give the image a key or the agent by ssh, under the id of the mount (default where it has none).",
        False,
    ),
    (
        r"entitlement \S+ is not allowed",
        "not_allowed",
        "Have those who run the builder allow it, or leave it out.",
        False,
    ),
    (
        r"network\.host is not allowed",
        "not_allowed",
        "Give the image 'network: host', or leave this option of the line out.",
        False,
    ),
    (
        r"security\.insecure is not allowed",
        "not_allowed",
        "Steps get no more rights: leave this option of the line out.",
        False,
    ),
    # The words of gRPC and of Docker's client for an engine that has gone, not those of a registry.
    (
        r"(?:\A|: |code = )Unavailable\b|error reading from server|Cannot connect to the Docker daemon|"
        r"failed to connect to the docker API|error during connect: ",
        "engine_lost",
        "See the engine's log, and run it again when the engine answers.",
        True,
    ),
    # The words of buildx for a node that it cannot reach, before it builds anything.
    (
        r"listing workers for|failed to list workers|failed to initialize builder|no valid drivers found",
        "builder_unreachable",
        "See which node of the builder does not answer with: docker buildx ls",
        True,
    ),
    (r"no space left on device", "disk_full", "Free space on the engine's disk, then run it again.", True),
    (
        r"exec format error",
        "platform_not_runnable",
        "Register the emulators with: ansible-playbook sodalite.image_builder.setup",
        False,
    ),
    (
        r"no match for platform in manifest",
        "base_lacks_platform",
        "Choose another base, or leave the platform out.",
        False,
    ),
    (
        r"did not complete successfully: exit code",
        "step_failed",
        "Correct this step of the Dockerfile.",
        False,
    ),
    # What the engine says that pushed, after BuildKit did, and looks the image up.
    (
        r"Error response from daemon: manifest unknown|"
        r"references to blobs and/or manifests are missing in your target registry",
        "push_lost",
        LOST_HINT,
        True,
    ),
    # Harbor answers 412, others 409; where the engine gives a registry's words, they say it themselves.
    (
        r"(?s)failed to push.*(?i:immutable|does not allow updating)|PUT request to MANIFEST: 4(?:09|12)\b",
        "tag_immutable",
        IMMUTABLE_HINT,
        False,
    ),
    (
        r"(?s)PUT request to MANIFEST: 415\b|failed to push.*manifest invalid",
        "push_refused",
        OCI_HINT,
        False,
    ),
    (
        rf"(?s)failed to resolve source metadata.*(?:{_UNAUTHORIZED}|{_DENIED})",
        "base_denied",
        "Log in to the registry of this image, or check its name.",
        False,
    ),
    (
        _UNAUTHORIZED,
        "push_unauthorized",
        "Check username and password of target.registry.",
        False,
    ),
    (_DENIED, "push_denied", "Ask for the right to push to this repository.", False),
    (
        rf"(?s)(?:failed to resolve source metadata|httpReadSeeker).*(?:{_PASSING})",
        "base_unreachable",
        "Run it again when the registry of the base image answers.",
        True,
    ),
    (
        _PASSING,
        "push_failed",
        "Run it again when the registry answers.",
        True,
    ),
    (
        r"unexpected status from (?:POST|PUT|PATCH) request to \S+ 4\d\d",
        "push_refused",
        "Check that the registry takes images of this name and size.",
        False,
    ),
    # What an ended bake can leave in BuildKit's cache, met by every later one that needs the same step.
    (
        r"snapshot \S+ does not exist",
        "step_lost",
        "Empty the engine's build cache with: docker buildx prune",
        True,
    ),
    (
        r"failed to resolve source metadata.*not found",
        "base_not_found",
        "Check the name and tag of this image.",
        False,
    ),
    (r"not found", "missing_in_context", "Check the paths of this line.", False),
)

# BuildKit names its own snapshot where the user wants to know the path.
_NOT_FOUND = re.compile(
    r'failed to (?:calculate checksum|compute cache key)\b.*?("[^"]*"): not found', re.DOTALL
)
# What BuildKit quotes, commands, paths and addresses, is the user's text and tells no cause.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_ADDRESS = re.compile(r"https?://[^\s\":]+(?::\d+[^\s\":]*)?")
# Pattern of a step's name, code, hint: what BuildKit needs beside base images.
_LOOKED_FOR = (
    (
        r"resolve image config for docker-image://",
        "frontend_not_found",
        FRONTEND_HINT,
    ),
    (
        r"docker-image://\S*scanner",
        "scanner_not_found",
        "It is the image that makes the bill of materials: leave options.sbom out, or have it at hand.",
    ),
)
_NOT_HAD = ("build_failed", "base_not_found", "base_denied", "base_unreachable", "missing_in_context")
# A step that reads what the Dockerfile names, not one that pushes.
_READING = re.compile(r"(?:\[[^\]]*\] )?(?:ADD |https?://)")
# A word of its own among those before the step's number; a name of an image or a stage can look alike.
_STEP_PLATFORM = re.compile(
    r"\[(?:[^\]\s]*\s+)*?((?:linux|windows|darwin|freebsd)/\w+(?:/\w+)?)(?:->[^\]\s]*)?\s"
)
# What the kernel's refusal to start a step's shell or program reads like, in the step's own output.
_NOT_STARTED = re.compile(r"exec \S+: exec format error\Z")


# An upload's address is made for one request and can hold a signature.
_QUERY = re.compile(r"(https?://[^\s\"?]+)\?[^\s\"]*[^\s\":]")


def build_failure(
    outcome: Outcome,
    names: Mapping[str, str],
    dockerfile: str,
    only: Mapping[str, str] = MappingProxyType({}),
) -> BuildError:
    """The error of one build.

    ``names`` maps bake targets to images, ``dockerfile`` is what the user calls the file. ``only`` maps the
    images that are built for one platform to it: BuildKit names platforms where there are several.
    """
    step = outcome.failed
    message = outcome.message or (step.error if step else "") or "BuildKit ended without a message"
    message = _QUERY.sub(r"\1", message)
    code, hint, retryable = "build_failed", "", False
    cause = "\n".join((_without_texts(message, names), *filter(_NOT_STARTED.match, step.log if step else ())))
    for pattern, candidate, advice, again in _CAUSES:
        if re.search(pattern, cause):
            code, hint, retryable = candidate, advice, again
            break
    if code == "push_failed" and re.search(_REFUSED_MANIFEST, cause):
        hint = f"Run it again; if it stays so, the registry may not let this tag change. {IMMUTABLE_HINT}"
    if code == "push_failed" and step is not None and _READING.match(step.name):
        code, hint = "source_unreachable", "Run it again when the address of this line answers."
    # What the step that failed looked for, if not a base image.
    for pattern, candidate, advice in _LOOKED_FOR:
        if step is not None and code in _NOT_HAD and re.search(pattern, step.name):
            code, hint = code if retryable else candidate, advice
    text = _NOT_FOUND.sub(r"\1 is not in the build context", message).rstrip(".") + "."
    if code == "engine_lost":
        hint = f"Start it, and run it again. {SET_UP_HINT}" if is_not_there(cause) else hint
        step = None  # whichever it was, it is not to blame
        text = f"The engine was lost during the build: {text}"
    image = names.get(step.target) if step else None
    if code == "push_lost" and len(names) > 1:
        image = None  # The engine ends all its pushes with the text of one.
    if image is None and len(names) == 1:
        image = next(iter(names.values()))
    platform = _platform(step) or (only.get(image) if step and image else None)
    line = outcome.line
    error = BuildError(
        code,
        text,
        hint=hint,
        place=Place(image=image, platform=platform, file=dockerfile if line else None, line=line),
        retryable=retryable,
    )
    # What a push prints are BuildKit's own tries, each with the whole address.
    if step is not None and not code.startswith("push_"):
        error.output = tuple(without_colours("\n".join(step.log)).split("\n")) if step.log else ()
    return error


def _without_texts(message: str, names: Mapping[str, str]) -> str:
    """``message`` without what users chose: nothing in it is to be taken for a cause."""
    for reference in names.values():
        message = message.replace(reference, "IMAGE").replace(reference.rpartition(":")[0], "IMAGE")
    return _ADDRESS.sub(
        lambda address: "MANIFEST" if "/manifests/" in address[0] else "ADDRESS",
        _QUOTED.sub('"TEXT"', message),
    )


def _platform(step: Optional[Step]) -> Optional[str]:
    match = _STEP_PLATFORM.match(step.name) if step else None
    return match.group(1) if match else None
