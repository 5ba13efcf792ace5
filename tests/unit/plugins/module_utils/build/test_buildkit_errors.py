# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.buildkit_errors import (
    build_failure,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.buildkit_progress import (
    Outcome,
    Step,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.result import failed_together
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import BuildError, SourceError

NAMES = {"image-0": "team/app:1", "image-1": "team/app:2"}


def failure(message: str, *, log: tuple[str, ...] = (), place: str = "", **fields: Any) -> BuildError:
    """The error of a build in which a step of image-0 failed with ``message``."""
    step = Step("[team/app:1 linux/arm64 2/3] RUN make", "image-0", error=message)
    step.log.extend(log)
    text = f"{place}\nERROR: target image-0: failed to solve: {message}"
    return build_failure(Outcome({"a": step}, text), NAMES, "docker/Dockerfile", **fields)


# What BuildKit says, as recorded, and the code of it.
MESSAGES = [
    ("failed to list workers: DeadlineExceeded: context deadline exceeded", "builder_unreachable"),
    ("unset ssh forward key default", "ssh_not_available"),
    ("granting entitlement network.host is not allowed by build daemon configuration", "not_allowed"),
    (
        "failed to resolve source metadata for docker.io/x/nosuch:1: docker.io/x/nosuch:1: not found",
        "base_not_found",
    ),
    ("dockerfile parse error on line 2: unknown instruction: COPYY", "dockerfile_syntax"),
    ("dockerfile parse error on line 2: unknown flag: --lnk", "dockerfile_syntax"),
    ('process "/bin/sh -c make" did not complete successfully: exit code: 2', "step_failed"),
    ("failed to copy: write /var/lib/docker/x: no space left on device", "disk_full"),
    ("no match for platform in manifest: not found", "base_lacks_platform"),
    (
        "failed to push 127.0.0.1:1/x: failed to authorize: failed to fetch anonymous token: unexpected "
        "status from GET request to https://x/token: 401 Unauthorized",
        "push_unauthorized",
    ),
    ("failed to push x: push access denied: insufficient_scope: authorization failed", "push_unauthorized"),
    ("failed to push x: unexpected status from POST request to http://x/v2/: 403 Forbidden", "push_denied"),
    (
        'failed to push x: failed to do request: Head "http://x": dial tcp 1: connect: connection refused',
        "push_failed",
    ),
    ("failed to push x: dial tcp: lookup x on 127.0.0.11:53: no such host", "push_failed"),
    (
        "failed to push x: unexpected status from PUT request to http://x: 503 Service Unavailable",
        "push_failed",
    ),
    (
        "failed to push x: unexpected status from POST request to http://x: 429 Too Many Requests",
        "push_failed",
    ),
    ("failed to copy: unexpected EOF", "push_failed"),
    ("failed to push x: failed to copy: write tcp 1->2: write: broken pipe", "push_failed"),
    ('failed to push x: Put "http://x": context deadline exceeded (Client.Timeout exceeded)', "push_failed"),
    ("failed to push x: toomanyrequests: slow down", "push_failed"),
    (
        'failed to push x: failed commit on ref "manifest-sha256:1": unexpected status from PUT request to '
        "http://127.0.0.1:1/v2/x/manifests/latest: 400 Bad Request",
        "push_failed",
    ),
    ("failed to resolve source metadata for x/y:1: pull access denied, authorization failed", "base_denied"),
    # Words that users chose, or that mean something else here.
    ("dockerfile parse error on line 2: unknown instruction: Unavailable", "dockerfile_syntax"),
    ("error from sender: open key: permission denied", "build_failed"),
    (
        "failed to push x: unexpected status from PUT request to http://x/v2/denied/manifests/1: 503 Busy",
        "push_failed",
    ),
    (
        "failed to resolve source metadata for x/base:latest@sha256:1: unexpected status from HEAD request "
        "to http://x/v2/base/manifests/sha256:1: 429 Too Many Requests",
        "base_unreachable",
    ),
    (
        "failed to resolve source metadata for x/base:latest@sha256:1: failed to copy: read tcp 1->2: read: "
        "connection reset by peer",
        "base_unreachable",
    ),
    (
        'failed to push x: failed commit on ref "layer-sha256:1": unexpected status from PUT request to '
        "http://x/v2/x/blobs/uploads/1: 404 Not Found",
        "push_refused",
    ),
    (
        'failed to push x:1: failed commit on ref "manifest-sha256:1": unexpected status from PUT request to '
        "http://127.0.0.1:1/v2/x/manifests/1: 412 Precondition Failed",
        "tag_immutable",
    ),
    (
        "failed to push x:1: unexpected status from PUT request to https://r/v2/x/manifests/1: 409 Conflict",
        "tag_immutable",
    ),
    (
        "failed to push x:1: tag invalid: The image tag '1' already exists and cannot "
        "be overwritten because the tag is immutable.",
        "tag_immutable",
    ),
    ("failed to push x:1: denied: tag 1 is configured as Immutable", "tag_immutable"),
    (
        "failed to push x:1: unexpected status from PUT request to http://127.0.0.1:1/v2/x/manifests/1: "
        "415 Unsupported Media Type",
        "push_refused",
    ),
    ("failed to push x:1: manifest invalid: manifest invalid", "push_refused"),
    ("failed to push x: errors: unknown: blob unknown to registry", "push_failed"),
    ("Error response from daemon: manifest unknown: manifest unknown", "push_lost"),
    (
        "manifest list/index references to blobs and/or manifests are missing in your target registry: "
        "failed commit on ref: unexpected status from PUT request to http://x: 400 Bad Request",
        "push_lost",
    ),
    (
        "failed to commit a to b during finalize: failed to stat active key during commit: "
        "snapshot a does not exist: not found",
        "step_lost",
    ),
    ("Unavailable: error reading from server: EOF", "engine_lost"),
    ("failed to list workers: Unavailable: connection error: desc = x", "engine_lost"),
    (
        "Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?",
        "engine_lost",
    ),
    (
        "failed to connect to the docker API at unix:///x.sock; check if the path is correct and if the "
        "daemon is running: dial unix /x.sock: connect: no such file or directory",
        "engine_lost",
    ),
    ("something nobody has seen before", "build_failed"),
]


@pytest.mark.parametrize(("message", "code"), MESSAGES)
def test_each_cause_has_its_code(message: str, code: str) -> None:
    error = failure(message)
    assert (error.code, error.phase) == (code, "build")
    assert message in error.message


@pytest.mark.parametrize(("message", "code"), MESSAGES)
def test_each_known_cause_has_a_hint_and_only_passing_ones_can_be_tried_again(
    message: str, code: str
) -> None:
    error = failure(message)
    assert bool(error.hint) == (code != "build_failed")
    assert error.retryable == (
        code
        in (
            "base_unreachable",
            "builder_unreachable",
            "disk_full",
            "engine_lost",
            "push_failed",
            "push_lost",
            "step_lost",
        )
    )


@pytest.mark.parametrize(
    "said",
    [
        "Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?",
        "failed to connect to the docker API at unix:///x.sock; check if the path is correct and if the "
        "daemon is running: dial unix /x.sock: connect: no such file or directory",
    ],
)
def test_an_engine_that_is_not_there_is_told_with_how_to_set_one_up(said: str) -> None:
    assert "image-builder engine up" in failure(said).hint


@pytest.mark.parametrize(
    "command",
    [
        "echo no space left on device && exit 1",
        "tool --x || echo unknown flag",
        "curl https://x || echo 'connection refused'",
        "echo '401 Unauthorized: denied' && false",
        r"cat <<EOF\nno such host \"\"\nEOF\nexit 1",
    ],
)
def test_the_words_of_a_failed_command_are_not_taken_for_the_cause(command: str) -> None:
    assert (
        failure(f'process "/bin/sh -c {command}" did not complete successfully: exit code: 1').code
        == "step_failed"
    )


def test_a_foreign_program_without_an_emulator_is_the_cause_of_a_failed_step() -> None:
    message = 'process "/bin/sh -c make" did not complete successfully: exit code: 255'
    assert failure(message, log=("exec /bin/sh: exec format error",)).code == "platform_not_runnable"
    # A program that says so later is one of the Dockerfile's own.
    assert (
        failure(message, log=("./tool: exec format error", "make: *** [all] Error 1")).code == "step_failed"
    )


def test_the_error_names_image_platform_file_and_line_and_ends_with_the_last_output() -> None:
    error = failure(
        'process "/bin/sh -c make" did not complete successfully: exit code: 2',
        log=("cc: no input files", "make: *** [all] Error 1"),
        place="Dockerfile:7",
    )
    assert str(error) == (
        "image team/app:1, platform linux/arm64, docker/Dockerfile line 7: "
        'process "/bin/sh -c make" did not complete successfully: exit code: 2. '
        "Correct this step of the Dockerfile.\n"
        "Its last output was:\n"
        "  cc: no input files\n"
        "  make: *** [all] Error 1"
    )


@pytest.mark.parametrize(
    ("name", "code", "hint"),
    [
        (
            "resolve image config for docker-image://docker.io/docker/dockerfile:1-labs",
            "frontend_not_found",
            "syntax",
        ),
        ("docker-image://docker.io/docker/buildkit-syft-scanner:stable-1", "scanner_not_found", "sbom"),
        ("[internal] load metadata for docker.io/library/nosuch:1", "base_not_found", "name and tag"),
    ],
)
def test_what_is_not_found_is_told_by_what_it_was_needed_for(name: str, code: str, hint: str) -> None:
    message = "failed to resolve source metadata for docker.io/x/y:1: docker.io/x/y:1: not found"
    outcome = Outcome({"a": Step(name, "image-0", error=message)}, f"ERROR: failed to solve: {message}")
    error = build_failure(outcome, NAMES, "Dockerfile")
    assert error.code == code
    assert hint in error.hint


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("failed to load LLB: network.host is not allowed", "Give the image 'network: host'"),
        ("failed to load LLB: security.insecure is not allowed", "Steps get no more rights"),
        (
            "granting entitlement network.host is not allowed by build daemon configuration",
            "who run the builder",
        ),
    ],
)
def test_what_a_step_may_not_do_is_told_with_who_can_allow_it(message: str, hint: str) -> None:
    error = failure(message)
    assert error.code == "not_allowed"
    assert hint in error.hint


def test_programs_get_the_last_output_as_a_list_without_colours() -> None:
    error = failure(
        'process "/bin/sh -c make" did not complete successfully: exit code: 2',
        log=("\x1b[31mcc: no input files\x1b[0m", "\x1b]0;title\x07"),
    )
    assert error.to_dict()["output"] == ["cc: no input files", "\\x1b]0;title\\x07"]
    assert "\x1b" not in str(error)


def test_secrets_are_taken_out_of_the_last_output_too() -> None:
    error = failure('process "x" did not complete successfully: exit code: 2', log=("the word is secret",))
    error.change_texts(lambda text: text.replace("secret", "***"))
    assert error.to_dict()["output"] == ["the word is ***"]


def test_without_a_guilty_step_the_image_is_known_only_if_there_is_one() -> None:
    outcome = Outcome({}, "ERROR: failed to push")
    assert build_failure(outcome, NAMES, "Dockerfile").image is None
    assert build_failure(outcome, {"image-1": "team/app:2"}, "Dockerfile").image == "team/app:2"


def test_without_a_location_there_is_neither_file_nor_line() -> None:
    error = failure("something")
    assert (error.file, error.line) == (None, None)


def test_of_several_failed_steps_the_one_that_is_told_of_is_to_blame() -> None:
    one = Step("[team/app:1] exporting to image", "image-0", error="failed to push team/app:1: EOF")
    two = Step("[team/app:2] exporting to image", "image-1", error="failed to push team/app:2: 403 Forbidden")
    outcome = Outcome({"a": one, "b": two}, f"ERROR: failed to solve: {two.error}")
    error = build_failure(outcome, NAMES, "Dockerfile")
    assert (error.image, error.code) == ("team/app:2", "push_denied")


def test_whose_push_was_lost_is_not_told_by_the_step() -> None:
    assert failure("Error response from daemon: manifest unknown: manifest unknown").image is None


def test_the_address_of_an_upload_is_told_without_its_signature() -> None:
    put = "PUT request to https://x/v2/a/blobs/uploads/1?_state=s3cr3t%3D%3D&digest=sha256%3A00: 429 Too Many"
    assert "uploads/1: 429 Too Many" in failure(f"failed to push: unexpected status from {put}").message
    put = (
        'failed to do request: Put "https://x/uploads/1?_state=s3cr3t&digest=sha256%3A00": read tcp 1: reset'
    )
    assert 'Put "https://x/uploads/1": read tcp 1' in failure(put).message


def test_what_a_push_printed_is_left_out() -> None:
    retries = ("error: failed to copy: EOF", "retrying in 1s")
    assert "last output" not in str(failure("failed to push x: unexpected EOF", log=retries))


@pytest.mark.parametrize("path", ["access-denied.html", "errors/503 page.html", "403 Forbidden"])
def test_a_missing_path_is_told_as_such_whatever_its_words(path: str) -> None:
    error = failure(f'failed to calculate checksum of ref a::b: "/{path}": not found')
    assert (error.code, error.retryable) == ("missing_in_context", False)


def test_a_push_that_stays_refused_may_be_one_of_an_immutable_tag() -> None:
    error = failure(
        "failed to push team/app:1: failed commit on ref: unexpected status from PUT request to "
        "https://ecr.test/v2/team/app/manifests/1: 400 Bad Request"
    )
    assert (error.code, error.retryable) == ("push_failed", True)
    assert "another tag" in error.hint


@pytest.mark.parametrize("command", ["chattr +i immutable", "echo manifest invalid; false"])
def test_the_words_of_a_step_do_not_make_a_tag_immutable(command: str) -> None:
    error = failure(f'process "/bin/sh -c {command}" did not complete successfully: exit code: 1')
    assert error.code == "step_failed"


def test_the_name_of_an_image_is_no_cause() -> None:
    message = "failed to push team/denied:1: dial tcp 1: connect: connection refused"
    step = Step("[team/denied:1] exporting to image", "image-0", error=message)
    error = build_failure(
        Outcome({"a": step}, f"ERROR: {message}"), {"image-0": "team/denied:1"}, "Dockerfile"
    )
    assert error.code == "push_failed"


def test_an_address_that_a_step_reads_is_not_the_registry() -> None:
    message = 'Get "https://files.example.org/x": dial tcp: lookup files.example.org: no such host'
    step = Step("[team/app:1 2/3] ADD https://files.example.org/x /", "image-0", error=message)
    error = build_failure(Outcome({"a": step}, f"ERROR: {message}"), NAMES, "Dockerfile")
    assert (error.code, error.retryable) == ("source_unreachable", True)


def test_one_cause_of_many_images_is_told_once() -> None:
    lost = [BuildError("engine_lost", "The engine was lost.", retryable=True) for _ in range(3)]
    assert str(failed_together(lost)).count("The engine was lost") == 1


def test_silence_is_explained_too() -> None:
    assert build_failure(Outcome({}, ""), NAMES, "Dockerfile").message == "BuildKit ended without a message."


def test_one_failure_is_itself_and_several_are_told_together() -> None:
    one, two = failure("one"), failure("two")
    assert failed_together([one]) is one
    both = failed_together([one, two])
    assert both.message.startswith("2 images failed. (1) image team/app:1")
    assert "(2) image team/app:1, platform linux/arm64: two." in both.message
    assert not both.retryable


def test_images_that_fail_alike_are_told_in_one_sentence_and_their_output_once() -> None:
    one, two, other = failure("x", log=("a", "b")), failure("x", log=("a", "b")), failure("y", log=("c",))
    two.image = "team/app:2"
    both = failed_together([one, two])
    assert both.message == "2 images failed. (1) image team/app:1, team/app:2, platform linux/arm64: x."
    assert str(both).splitlines() == [
        "2 images failed: image team/app:1, team/app:2, platform linux/arm64: x.",
        "Its last output was:",
        "  a",
        "  b",
    ]
    assert both.to_dict()["output"] == ["a", "b"]
    assert failed_together([one, two, other]).to_dict()["output"] == ["(1) a", "(1) b", "(2) c"]


def test_lines_that_several_failures_are_about_are_shown_once() -> None:
    one, two, other = (failure(text, log=(text,), place="Dockerfile:1") for text in "xyz")
    for error in (one, two):
        error.show("RUN secret")
    other.show("RUN other")
    both = failed_together([one, two, other])
    both.change_texts(lambda text: text.replace("secret", "***"))
    place = "image team/app:1, platform linux/arm64, docker/Dockerfile line 1"
    assert str(both).splitlines() == [
        "3 images failed.",
        f"(1) {place}: x.",
        "  > 1 | RUN ***",
        "Its last output was:",
        "  x",
        f"(2) {place}: y.",
        "Its last output was:",
        "  y",
        f"(3) {place}: z.",
        "  > 1 | RUN other",
        "Its last output was:",
        "  z",
    ]
    assert both.to_dict()["excerpt"] == ["(1) > 1 | RUN ***", "(2) > 1 | RUN ***", "(3) > 1 | RUN other"]


def test_trying_again_helps_only_if_it_helps_all() -> None:
    passing, lasting = SourceError("a", "x.", retryable=True), SourceError("b", "y.")
    assert failed_together([passing, passing]).retryable
    assert not failed_together([passing, lasting]).retryable


def test_a_missing_path_is_named_without_the_builders_internals() -> None:
    error = failure(
        'failed to compute cache key: failed to calculate checksum of ref x::y: "/a b": not found'
    )
    assert error.message == '"/a b" is not in the build context.'
    assert error.code == "missing_in_context"


@pytest.mark.parametrize(
    ("name", "platform"),
    [
        ("[team/app:1 linux/arm64 2/3] RUN make", "linux/arm64"),
        ("[team/app:1 linux/amd64->arm64 build 2/3] RUN make", "linux/amd64"),
        ("[team/app:1 linux/arm/v7 linux/x 2/3] RUN make", "linux/arm/v7"),
        ("[host/linux/app:1 2/3] RUN make linux/386 ", "linux/s390x"),
        ("exporting to image", "linux/s390x"),
    ],
)
def test_the_platform_of_a_failure_is_the_steps_or_the_images_only_one(name: str, platform: str) -> None:
    outcome = Outcome({"a": Step(name, "image-0", error="it broke")}, "ERROR: it broke")
    only = {"team/app:1": "linux/s390x"}
    assert build_failure(outcome, NAMES, "Dockerfile", only).platform == platform
    unknown = build_failure(outcome, NAMES, "Dockerfile").platform
    assert unknown == (None if platform == "linux/s390x" else platform)
