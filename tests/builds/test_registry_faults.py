# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What becomes of a build whose registry fails: for a while, for ever, silently, or after the push.

The engine's BuildKit pushes through a proxy to a real registry. The faults concern the repository
``bad`` only: ``good``, of the same request, has to come out right in every case.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.input_hash import INPUT_HASH
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.result import Report
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_source
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import Cancelled, RegistryError
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Event, Lines, Listener
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.fetch_source import (
    fetch_source,
    remove_source,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.process import cancellable

from tests.builds.site import BOTH, Site, states, user_site
from tests.support.engine import Engine
from tests.support.faulty_proxy import (
    Befall,
    Exchange,
    FaultyProxy,
    answer,
    faulty_proxy,
    hang,
    lack_blobs,
    lose,
    lose_platform,
    move_on,
    reset,
    swallow,
)
from tests.support.images import Image
from tests.support.registry import Registry, registry
from tests.unit.registries import RunningRegistry

pytestmark = [pytest.mark.engine, pytest.mark.each_engine]

OWN = r"(?=.*image-builder$)"
ENGINES = r"(?!.*image-builder$)"
BEGIN = r"^POST \S+/bad/blobs/uploads/ "
PUT_BLOB = r"^PUT \S+/bad/blobs/"
PUT_TAG = r"^PUT \S+/bad/manifests/latest "
GOOD: dict[str, Any] = {"image": "good", "platforms": BOTH}
BAD: dict[str, Any] = {"image": "bad", "platforms": BOTH, "labels": {"another": "image"}}


@dataclass
class FaultySite(Site):
    """A site with ``proxy`` before its registry."""

    proxy: FaultyProxy = field(kw_only=True)

    def held(self, image: str) -> Image:
        """What the registry behind the proxy holds."""
        return Image(self.engine, self.proxy.behind, self.repository(image))

    def is_held(self, image: str) -> bool:
        """Whether the registry has anything of the image."""
        return self.repository(image) in self.proxy.behind.repositories()

    def build_both(self, listener: Optional[Listener] = None, **options: Any) -> Report:
        return self.build(GOOD, BAD, options=options, listener=listener)

    def assert_complete(self, image: str) -> None:
        """Assert that the image stands in the registry, with each platform's manifest."""
        platforms = self.held(image).platforms()
        assert set(platforms) == set(BOTH)
        for digest in platforms.values():
            self.held(image).manifest(digest)

    def assert_only_bad_failed(self, made: Report, code: str, *, retryable: bool) -> None:
        """Assert that ``bad`` failed with ``code`` and that ``good`` is as it should be."""
        assert states(made) == ["success", "failed"], made.error
        error = made.results[1].error
        assert error is not None
        assert (error.code, error.retryable) == (code, retryable), error
        assert error.image == f"{self.reference('bad')}:latest"
        assert error.hint
        # The address of an upload can be a signed one.
        assert "_state" not in str(error)
        self.assert_complete("good")

    def assert_next_run_builds_bad_alone(self) -> None:
        """Assert that, with the fault gone, a run builds what failed and nothing else."""
        self.proxy.heal()
        made = self.build_both()
        assert states(made) == ["unchanged", "success"], made.error
        self.assert_complete("bad")
        assert states(self.build_both()) == ["unchanged", "unchanged"]


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture
def site(
    tmp_path: Path, engine: Engine, behind: Registry, machine: tuple[Path, Path]
) -> Iterator[FaultySite]:
    with (
        faulty_proxy(behind) as proxy,
        user_site(tmp_path, replace(engine, registry=proxy.address), machine) as plain,
    ):
        made = FaultySite(plain.engine, plain.folder, proxy=proxy)
        # Content that the engine has pushed to no other repository, or it would be mounted from there.
        made.write(Dockerfile="FROM scratch\nCOPY app /\n", app=uuid.uuid4().hex * 4096)
        yield made


@pytest.mark.parametrize(
    ("requests", "befall"),
    [
        pytest.param(PUT_BLOB, answer(429), id="429"),
        pytest.param(PUT_TAG, answer(500), id="500"),
        pytest.param(PUT_BLOB, reset, id="reset"),
    ],
)
def test_a_fault_that_lasts_costs_its_image_alone(site: FaultySite, requests: str, befall: Befall) -> None:
    site.proxy.fault(requests, befall)
    site.assert_only_bad_failed(site.build_both(retry_for=0.5), "push_failed", retryable=True)
    site.assert_next_run_builds_bad_alone()


@pytest.mark.parametrize(
    ("requests", "befall"),
    [
        pytest.param(PUT_BLOB, answer(429, Retry_After="1"), id="429"),
        pytest.param(BEGIN + ENGINES, answer(503), id="503"),
        # What another image's push has begun and not ended; newer engines tell it in the registry's words.
        pytest.param(PUT_TAG, lack_blobs(1), id="blob unknown"),
        pytest.param(PUT_TAG, lack_blobs(2), id="blobs unknown"),
    ],
)
def test_a_fault_that_outlasts_buildkit_and_passes_costs_nothing(
    site: FaultySite, requests: str, befall: Befall
) -> None:
    site.proxy.fault(requests, befall)

    def report(line: str) -> None:
        site.told.append(line)
        if line.startswith("trying again"):
            site.proxy.heal()

    made = site.build(GOOD, BAD, report=report)
    assert states(made) == ["success", "success"], made.error
    assert any(line.startswith("trying again") for line in site.told)
    site.assert_complete("good")
    site.assert_complete("bad")
    assert made.to_dict()["images"][1]["digest"] == site.held("bad").digest


@pytest.mark.parametrize(
    ("status", "code"), [(401, "push_unauthorized"), (403, "push_denied"), (404, "push_refused")]
)
def test_a_refused_push_is_not_tried_again(site: FaultySite, status: int, code: str) -> None:
    site.proxy.fault(PUT_BLOB, answer(status))
    site.assert_only_bad_failed(site.build_both(), code, retryable=False)
    assert not any(line.startswith("trying again") for line in site.told)
    site.assert_next_run_builds_bad_alone()


@pytest.mark.parametrize("status", [401, 403])
def test_an_image_that_the_registry_would_not_take_is_not_built_and_the_others_are(
    site: FaultySite, status: int
) -> None:
    site.proxy.fault(BEGIN, answer(status))
    made = site.build_both()
    code = "registry_unauthorized" if status == 401 else "registry_denied"
    site.assert_only_bad_failed(made, code, retryable=False)
    assert site.proxy.count(BEGIN) == 1
    assert site.proxy.count(r" \S+/bad/" + ENGINES) == 0
    site.assert_next_run_builds_bad_alone()


def test_with_stop_nothing_is_built_when_the_registry_would_not_take_one_image(site: FaultySite) -> None:
    site.proxy.fault(BEGIN, answer(403))
    made = site.build_both(on_failure="stop")
    assert states(made) == ["cancelled", "failed"]
    assert not site.is_held("good")


def test_a_registry_that_is_busy_before_the_build_is_waited_for(site: FaultySite) -> None:
    site.proxy.fault(BEGIN + OWN, answer(503), times=2)
    site.proxy.fault(r"^GET \S+/bad/manifests/" + OWN, answer(429, Retry_After="1"), times=1)
    site.proxy.fault(r"^GET \S+/good/manifests/" + OWN, reset, times=1)
    made = site.build_both()
    assert states(made) == ["success", "success"], made.error
    assert site.proxy.count(BEGIN + OWN) == 3


def test_a_registry_that_stays_busy_before_the_build_costs_that_image_alone(site: FaultySite) -> None:
    site.proxy.fault(BEGIN + OWN, answer(503))
    site.assert_only_bad_failed(site.build_both(retry_for=0.5), "registry_error", retryable=True)
    site.assert_next_run_builds_bad_alone()


@pytest.mark.parametrize("requests", [PUT_BLOB, BEGIN + OWN], ids=["BuildKit", "own request"])
def test_a_registry_that_never_answers_is_left_at_the_time_limit(site: FaultySite, requests: str) -> None:
    assert site.build(GOOD).error is None

    def hang_until_the_limit(exchange: Exchange) -> None:
        # The limit is brought forward, so that it is not over before the registry is asked.
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        hang(exchange)

    site.proxy.fault(requests, hang_until_the_limit)
    with cancellable():
        made = site.build_both(timeout=300)
    assert made.error is not None
    assert made.error.code == "timeout"
    assert states(made) == ["unchanged", "cancelled"]
    deadline = time.monotonic() + 20
    while not site.proxy.abandoned:
        assert time.monotonic() < deadline, "the engine still waits for the registry"
        time.sleep(0.1)
    site.assert_next_run_builds_bad_alone()


@pytest.mark.parametrize("befall", [swallow, lose, lose_platform])
def test_a_manifest_that_is_lost_after_the_push_is_noticed(site: FaultySite, befall: Befall) -> None:
    site.proxy.fault(PUT_TAG, befall)
    site.assert_only_bad_failed(site.build_both(), "push_lost", retryable=True)
    site.assert_next_run_builds_bad_alone()


def test_a_tag_that_another_push_moves_on_at_once_is_told_of_and_costs_nothing(site: FaultySite) -> None:
    site.proxy.fault(PUT_TAG, move_on, times=1)
    made = site.build_both()
    assert states(made) == ["success", "success"], made.error
    entry = made.to_dict()["images"][1]
    theirs = site.held("bad").digest
    assert entry["digest"] != theirs
    ours = replace(site.held("bad"), tag=entry["digest"])
    assert ours.annotations[INPUT_HASH] == entry["input_hash"]
    assert {platform["platform"]: platform["digest"] for platform in entry["platforms"]} == ours.platforms()
    told = f"warning: {site.reference('bad')}:latest was moved on to {theirs} after this push"
    assert site.told.count(told) == 1


class Watching(Lines):
    """Does something once an image has been pushed, while the others are not."""

    def __init__(self, image: str, act: Callable[[], object]) -> None:
        super().__init__(lambda line: None)
        self._image, self._act = image, act

    def event(self, event: Event) -> None:
        if (event.image, event.state, event.text) == (self._image, "done", "exporting to image"):
            self._act()


@pytest.mark.parametrize("end", ["time limit", "SIGTERM"])
def test_what_was_pushed_before_the_end_of_an_interrupted_build_is_reported(
    site: FaultySite, end: str
) -> None:
    site.proxy.fault(PUT_TAG, hang)

    def act() -> None:
        if end == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            signal.setitimer(signal.ITIMER_REAL, 0.001)

    with cancellable():
        made = site.build_both(listener=Watching(f"{site.reference('good')}:latest", act), timeout=300)
    assert isinstance(made.error, Cancelled)
    assert made.error.code == ("cancelled" if end == "SIGTERM" else "timeout")
    assert states(made) == ["success", "cancelled"]
    good, bad = made.to_dict()["images"]
    assert good["digest"] == site.held("good").digest
    assert (good["changed"], bad["changed"], bad["digest"], bad["error"]) == (True, False, "", None)
    site.assert_next_run_builds_bad_alone()


def test_an_image_that_lost_a_platform_later_is_built_anew(site: FaultySite) -> None:
    assert site.build_both().error is None
    address = site.proxy.behind.address
    digest = site.held("bad").platforms()["linux/arm64"]
    status, _, _ = RunningRegistry(address).call("DELETE", f"{site.repository('bad')}/manifests/{digest}")
    assert status == 202
    planned = site.build(GOOD, BAD, plan_only=True)
    assert states(planned) == ["unchanged", "pending"]
    assert "linux/arm64" in planned.results[1].head.reason
    site.assert_next_run_builds_bad_alone()


class TestArchives:
    """An image that an archive holds, which the product pushes by itself."""

    @pytest.fixture
    def workspace(self, site: FaultySite) -> Iterator[str]:
        archive = site.folder / "image.tar"
        argv = [site.engine.buildx, "build", f"--platform={','.join(BOTH)}", "--provenance=false"]
        argv += [f"--output=type=oci,dest={archive}", str(site.context)]
        own = {**os.environ, "DOCKER_CONFIG": str(site.folder / "docker")}
        subprocess.run(argv, env=own, check=True, capture_output=True)
        source, _ = accept_source({"tar": {"path": str(archive)}})
        made = fetch_source(source, None, Lines(site.told.append)).workspace
        yield made
        remove_source(made)

    def test_a_fault_that_passes_costs_nothing(self, site: FaultySite, workspace: str) -> None:
        site.proxy.fault(PUT_BLOB, reset, times=1)
        site.proxy.fault(PUT_BLOB, answer(500), times=1)
        site.proxy.fault(PUT_TAG, answer(429, Retry_After="1"), times=1)
        made = site.build({"image": "bad"}, workspace=workspace)
        assert states(made) == ["success"], made.error
        site.assert_complete("bad")

    def test_a_manifest_that_is_lost_costs_its_image_alone(self, site: FaultySite, workspace: str) -> None:
        both = {"image": "good"}, {"image": "bad"}
        site.proxy.fault(PUT_TAG, swallow)
        site.assert_only_bad_failed(site.build(*both, workspace=workspace), "push_lost", retryable=True)
        site.proxy.heal()
        assert states(site.build(*both, workspace=workspace)) == ["unchanged", "success"]
        site.assert_complete("bad")


class TestBases:
    """A base image that only the registry behind the proxy has."""

    @pytest.fixture
    def base(self, site: FaultySite) -> str:
        repository, client = site.repository("base"), RunningRegistry(site.proxy.behind.address)
        entries = [
            {
                "digest": client.push_image(repository, platform=platform, salt=site.name),
                "platform": platform,
            }
            for platform in ({"os": "linux", "architecture": name} for name in ("amd64", "arm64"))
        ]
        client.push_index(repository, "latest", entries)
        site.write(Dockerfile=f"FROM {site.reference('base')}\nCOPY app /\n")
        return r"/base/(manifests|blobs)/\S+ "

    @pytest.mark.parametrize(
        "befall", [answer(429, Retry_After="1"), answer(500), reset], ids=["429", "500", "reset"]
    )
    def test_a_base_whose_registry_fails_for_a_while_is_found(
        self, site: FaultySite, base: str, befall: Befall
    ) -> None:
        site.proxy.fault(base + OWN, befall, times=2)
        made = site.build(GOOD)
        assert states(made) == ["success"], made.error

    def test_a_base_whose_registry_stays_busy_is_named(self, site: FaultySite, base: str) -> None:
        site.proxy.fault(base + OWN, answer(500))
        with pytest.raises(RegistryError) as raised:
            site.build_both(retry_for=0.5)
        error = raised.value
        assert (error.code, error.status, error.retryable, error.line) == ("registry_error", 500, True, 1)
        assert site.reference("base") in str(error)
        site.proxy.heal()
        assert states(site.build_both()) == ["success", "success"]

    @pytest.mark.parametrize("befall", [answer(429), reset], ids=["429", "reset"])
    def test_a_base_that_buildkit_cannot_read_for_a_while_costs_nothing(
        self, site: FaultySite, base: str, befall: Befall
    ) -> None:
        site.proxy.fault(base + ENGINES, befall)
        error = site.build(GOOD, options={"retry_for": 0.5}).error
        assert error is not None
        assert (error.code, error.retryable, error.line) == ("base_unreachable", True, 1)
        site.proxy.heal()
        assert states(site.build(GOOD)) == ["success"]
