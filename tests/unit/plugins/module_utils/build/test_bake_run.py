# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One run of buildx, in whose place a script stands that does what no test can make buildx do."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.access import Access
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.bake_run import BuildxBaker
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.build_input import BuildInput
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.carry_out import Step
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.lookup import Outside
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.plan import make_plan
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.planned import Head
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.options import Options
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.target import (
    Image,
    RegistryAccount,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine.endpoint import Endpoint
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine.find import Engine
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import BuildError, Cancelled
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import (
    SILENT,
    Event,
    Lines,
    Listener,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.process import cancellable
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry import client
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret

STEP = {
    "vertexes": [
        {
            "digest": "sha256:1",
            "name": "[1/1] COPY hunter2 /",
            "started": "2026-01-01T00:00:00Z",
        }
    ]
}


@contextmanager
def baker(
    folder: Path,
    script: str,
    listener: Listener,
    dockerfile: str = "FROM scratch\nCOPY . /\n",
    **image: object,
) -> Iterator[tuple[BuildxBaker, list[Head]]]:
    """A baker whose buildx is ``script``, and the one image to bake; bakes only build."""
    context, own, buildx = folder / "context", folder / "own", folder / "buildx"
    for made in (context, own):
        made.mkdir()
    (context / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    buildx.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    buildx.chmod(0o755)
    engine = Engine(Endpoint("unix:///nowhere"), str(buildx), "", {}, Platform.parse("linux/amd64"))
    options = Options(rebuild="always")
    wanted = Image((Reference.parse("localhost:1/a:latest"),), **image)  # type: ignore[arg-type]
    access = Access.of(RegistryAccount("localhost:1"))
    input_ = BuildInput(str(context), str(context / "Dockerfile"), "Dockerfile")
    with access.registry(None) as registry, ThreadPoolExecutor(1) as pool:
        plan = make_plan(input_, [wanted], options, engine, Outside(registry, pool))
        with BuildxBaker(plan, options, access, registry, str(own), listener) as made_baker:
            yield made_baker, [image.head for image in plan.images]
    assert list(own.iterdir()) == []


def test_what_the_listener_raises_ends_buildx_however_much_that_has_to_say(tmp_path: Path) -> None:
    class Broken(Lines):
        def event(self, event: Event) -> None:
            raise ZeroDivisionError("the database is gone")

    id_file = tmp_path / "id"
    script = f"echo $$ > {id_file}; while :; do echo '{json.dumps(STEP)}' >&2; done"
    with baker(tmp_path, script, Broken(print)) as (made, images):
        with pytest.raises(ZeroDivisionError, match="the database is gone"):
            made.bake("all", images, Step.BUILD)
        with pytest.raises(ProcessLookupError):
            os.kill(int(id_file.read_text(encoding="utf-8")), 0)


def test_secrets_are_hidden_in_steps_and_in_the_error(tmp_path: Path) -> None:
    told: list[str] = []
    script = f"echo '{json.dumps(STEP)}' >&2; echo 'ERROR: no hunter2 here' >&2; exit 1"
    hidden = {"password": Secret("hunter2")}
    with (
        baker(tmp_path, script, Lines(told.append), secrets=hidden) as (made, images),
        pytest.raises(BuildError) as raised,
    ):
        made.bake("all", images, Step.BUILD)
    assert "hunter2" not in str(raised.value)
    assert "********" in raised.value.message
    assert told == ["[localhost:1/a:latest 1/1] COPY ******** /"]


def test_the_lines_of_a_failed_step_are_those_of_the_user_without_secrets(tmp_path: Path) -> None:
    dockerfile = "FROM scratch\n\nCOPY hunter2 /\n"
    script = "printf 'Dockerfile:3\\nERROR: no\\n' >&2; exit 1"
    hidden = {"password": Secret("hunter2")}
    with (
        baker(tmp_path, script, SILENT, dockerfile, secrets=hidden) as (made, images),
        pytest.raises(BuildError) as raised,
    ):
        made.bake("all", images, Step.BUILD)
    assert raised.value.to_dict()["excerpt"] == [
        "  1 | FROM scratch",
        "  2 |",
        "> 3 | COPY ******** /",
    ]


@pytest.mark.parametrize(("cache", "option"), [(True, False), (False, True)])
def test_a_bake_without_the_cache_says_so(tmp_path: Path, cache: bool, option: bool) -> None:
    arguments = tmp_path / "arguments"
    with baker(tmp_path, f'echo "$@" > {arguments}', SILENT) as (made, images):
        baked = made.bake("all", images, Step.BUILD, cache=cache)
    assert ("--no-cache" in arguments.read_text(encoding="utf-8").split()) is option
    assert list(baked) == ["localhost:1/a:latest"]
    assert made.pushed(images[0]) is None


def test_what_buildx_tells_beside_its_targets_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_CONNECT_RETRY_SECONDS", 0)
    told = json.dumps({"image-0": {"containerimage.digest": "sha256:1"}, "buildx.build.warnings": [{}]})
    script = f'while [ "$1" != --metadata-file ]; do shift; done; echo \'{told}\' > "$2"'
    with baker(tmp_path, script, SILENT) as (made, images):
        made.bake("all", images, Step.BUILD_AND_PUSH)
        assert made.pushed(images[0]) == "sha256:1"


@pytest.mark.parametrize("tag", ["latest", "of-another-name"])
@pytest.mark.parametrize("end", ["exit 1", "sleep 600"], ids=["a failure", "an interrupt"])
def test_what_was_pushed_under_all_names_before_the_end_of_a_bake_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, tag: str
) -> None:
    monkeypatch.setattr(client, "_CONNECT_RETRY_SECONDS", 0)
    digest = f"sha256:{'1' * 64}"
    pushing = {"vertex": "sha256:9", "id": f"pushing manifest for localhost:1/a:{tag}@{digest}"}
    step = {"digest": "sha256:9", "name": "exporting to image", "started": "2026-01-01T00:00:00Z"}
    done = {**step, "completed": "2026-01-01T00:00:01Z"}
    events = [{"vertexes": [step]}, {"vertexes": [done], "statuses": [pushing]}]
    said = "; ".join(f"echo '{json.dumps(event)}' >&2" for event in events)

    class Interrupting(Lines):
        def event(self, event: Event) -> None:
            if event.state == "done" and end.startswith("sleep"):
                os.kill(os.getpid(), signal.SIGTERM)

    ended = Cancelled if end.startswith("sleep") else BuildError
    with (
        baker(tmp_path, f"{said}; {end}", Interrupting(print)) as (made, images),
        cancellable(),
    ):
        with pytest.raises(ended):
            made.bake("all", images, Step.BUILD_AND_PUSH)
        assert made.pushed(images[0]) == (digest if tag == "latest" else None)
