# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The policy of building, with a baker that has no engine, and a clock that the pauses move."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.carry_out import (
    Step,
    carry_out,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.planned import (
    Head,
    Planned,
    PlannedImage,
    Recipe,
    Unplannable,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.result import (
    ImageResult,
    Results,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.rewrite import Injection
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.options import Options
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.target import Image
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import (
    BuilderError,
    BuildError,
    Cancelled,
    DockerfileError,
    Place,
    RegistryError,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Event
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.manifest import Manifest
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.process import pause

AMD64 = Platform.parse("linux/amd64")


def name(image: str) -> str:
    return f"registry.example/{image}:latest"


def pending(*images: str) -> list[PlannedImage]:
    """Planned images of these short names, to be built."""
    return [
        Planned(
            Head(Image((Reference.parse(name(image)),)), (AMD64,), f"hash-{image}", reason="it is new"),
            Recipe((), Injection("", {})),
        )
        for image in images
    ]


def short(image: Head) -> str:
    return image.image.references[0].repository


def manifest(image: str) -> Manifest:
    return Manifest(Reference.parse(name(image)), f"sha256:{image}", "", {}, {AMD64: f"sha256:{image}-amd64"})


def failure(code: str = "step_failed", blamed: Optional[str] = None) -> BuildError:
    return BuildError(code, f"It ended with {code}.", place=Place(image=name(blamed) if blamed else None))


#: What one bake does: which images, what of the two steps, whether with the cache.
Bake = tuple[tuple[str, ...], Step, bool]


@dataclass
class Baker:
    """Bakes nothing, and fails as ``plan`` says: how each bake of the same images ends, in turn.

    ``refusing`` and ``lost`` are errors of the registry before and after the bake. ``pushed_anyway`` are
    images that an ended bake pushed all the same.
    """

    plan: Mapping[tuple[str, ...], Sequence[Optional[Exception]]] = field(default_factory=dict)
    refusing: Mapping[str, Exception] = field(default_factory=dict)
    lost: Mapping[str, RegistryError] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    pushed_anyway: Sequence[str] = ()
    bakes: list[Bake] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    failures: dict[tuple[str, ...], Iterator[Optional[Exception]]] = field(default_factory=dict)

    def check_push(self, image: Head) -> None:
        self.asked.append(short(image))
        if short(image) in self.refusing:
            raise self.refusing[short(image)]

    def bake(self, name: str, images: Sequence[Head], step: Step, *, cache: bool = True) -> dict[str, float]:
        key = tuple(map(short, images))
        self.bakes.append((key, step, cache))
        self.names.append(name)
        error = next(self.failures.setdefault(key, iter(self.plan.get(key, ()))), None)
        if error is not None:
            raise error
        if step is not Step.BUILD:
            self.done.update(key)
        return {image.name: 1.5 for image in images}

    def pushed(self, image: Head) -> Optional[str]:
        done = short(image) in {*self.done, *self.pushed_anyway}
        return f"sha256:{short(image)}" if done else None

    def confirm(self, image: Head) -> Manifest:
        if short(image) in self.lost:
            raise self.lost[short(image)]
        return manifest(short(image))


@dataclass
class Heard:
    """A listener that remembers."""

    lines: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def line(self, text: str) -> None:
        self.lines.append(text)

    def event(self, event: Event) -> None:
        self.events.append(event)

    def last_states(self) -> dict[str, str]:
        """The last state that was told of each image as a whole."""
        return {event.image: event.state for event in self.events if event.image and not event.platform}


@dataclass
class Clock:
    """Moved by the pauses alone."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def build(
    baker: Baker,
    images: Sequence[PlannedImage],
    *,
    on_failure: str = "continue",
    clock: Optional[Clock] = None,
    heard: Optional[Heard] = None,
    retry_for: float = 60.0,
    wait: Optional[Callable[[float], object]] = None,
    results: Optional[Results] = None,
) -> list[ImageResult]:
    clock = clock or Clock()
    options = Options(on_failure=on_failure, retry_for=retry_for)
    results = results or Results()
    results.begin(images)
    carry_out(results, options, baker, heard or Heard(), wait=wait or clock.wait, clock=clock)
    return list(results.all)


def states(results: Sequence[ImageResult]) -> dict[str, str]:
    return {short(result.head): result.state for result in results}


BOTH, BUILD, PUSH = Step.BUILD_AND_PUSH, Step.BUILD, Step.PUSH


def test_all_images_are_one_bake_with_what_the_registry_then_holds_as_results() -> None:
    baker, heard = Baker(), Heard()
    results = build(baker, pending("a", "b"), heard=heard)
    assert baker.bakes == [(("a", "b"), BOTH, True)]
    assert [(r.state, r.manifest, r.seconds, r.error) for r in results] == [
        ("success", manifest("a"), 1.5, None),
        ("success", manifest("b"), 1.5, None),
    ]
    assert heard.last_states() == {name("a"): "success", name("b"): "success"}
    assert f"{name('a')} pushed as sha256:a" in heard.lines


@pytest.mark.parametrize("on_failure", ["continue", "stop", "atomic"])
def test_an_empty_plan_is_done_without_a_bake(on_failure: str) -> None:
    baker = Baker()
    assert build(baker, [], on_failure=on_failure) == []
    assert (baker.bakes, baker.asked) == ([], [])


def test_what_the_plan_has_ended_already_is_not_baked_and_keeps_its_place() -> None:
    held = Planned(
        Head(Image((Reference.parse(name("b")),)), (AMD64,), state="unchanged", manifest=manifest("b")),
        Recipe((), Injection("", {})),
    )
    wrong = Unplannable.of(
        Image((Reference.parse(name("c")),)), DockerfileError("base_lacks_platform", "It has none.")
    )
    first, last = pending("a", "d")
    baker = Baker()
    results = build(baker, [first, held, wrong, last])
    assert list(states(results).items()) == [
        ("a", "success"),
        ("b", "unchanged"),
        ("c", "failed"),
        ("d", "success"),
    ]
    assert results[1].manifest == manifest("b")
    assert results[2].error is wrong.error
    assert baker.bakes == [(("a", "d"), BOTH, True)]


@pytest.mark.parametrize("on_failure", ["stop", "atomic"])
def test_where_an_image_cannot_be_planned_none_is_built_unless_the_others_go_on(on_failure: str) -> None:
    wrong = Unplannable.of(
        Image((Reference.parse(name("a")),)), DockerfileError("base_lacks_platform", "It has none.")
    )
    baker = Baker()
    assert states(build(baker, [wrong, *pending("b")], on_failure=on_failure)) == {
        "a": "failed",
        "b": "cancelled",
    }
    assert (baker.bakes, baker.asked) == ([], [])


def test_many_images_are_baked_in_portions_of_twenty_in_order() -> None:
    names = [f"i{number}" for number in range(45)]
    baker = Baker()
    results = build(baker, pending(*names))
    assert [short(result.head) for result in results] == names
    assert [bake[0] for bake in baker.bakes] == [
        tuple(names[:20]),
        tuple(names[20:40]),
        tuple(names[40:]),
    ]


def test_a_portion_that_fails_does_not_keep_the_next_from_being_built() -> None:
    names = [f"i{number}" for number in range(21)]
    baker = Baker({tuple(names[:20]): [failure(blamed="i0")]})
    results = states(build(baker, pending(*names)))
    assert [image for image, state in results.items() if state != "success"] == ["i0"]


def test_a_portion_that_fails_ends_the_build_where_it_is_to_stop() -> None:
    names = [f"i{number}" for number in range(21)]
    baker = Baker({tuple(names[:20]): [failure(blamed="i0")]})
    results = states(build(baker, pending(*names), on_failure="stop"))
    assert results == {**dict.fromkeys(names, "cancelled"), "i0": "failed"}
    assert len(baker.bakes) == 1


def test_atomic_builds_all_portions_before_it_pushes_the_first() -> None:
    names = [f"i{number}" for number in range(21)]
    baker = Baker()
    results = build(baker, pending(*names), on_failure="atomic")
    portions = [tuple(names[:20]), tuple(names[20:])]
    assert baker.bakes == [(p, step, True) for step in (BUILD, PUSH) for p in portions]
    assert {result.state for result in results} == {"success"}
    assert {result.seconds for result in results} == {3.0}


def test_atomic_pushes_nothing_where_one_image_cannot_be_built() -> None:
    names = [f"i{number}" for number in range(21)]
    baker = Baker({("i20",): [failure(blamed="i20")]})
    results = states(build(baker, pending(*names), on_failure="atomic"))
    assert [step for _, step, _ in baker.bakes] == [BUILD, BUILD]
    assert results == {**dict.fromkeys(names, "cancelled"), "i20": "failed"}


def test_atomic_blames_all_images_for_a_failure_that_is_nobodys() -> None:
    baker = Baker({("a", "b"): [failure()]})
    assert states(build(baker, pending("a", "b"), on_failure="atomic")) == {"a": "failed", "b": "failed"}


def test_atomic_with_one_image_is_one_bake() -> None:
    baker = Baker()
    build(baker, pending("a"), on_failure="atomic")
    assert baker.bakes == [(("a",), BOTH, True)]


def test_atomic_does_not_build_by_itself_what_could_not_be_pushed_together() -> None:
    baker = Baker({("a", "b"): [None, failure("push_denied", "a")]})
    assert states(build(baker, pending("a", "b"), on_failure="atomic")) == {"a": "failed", "b": "cancelled"}
    assert [step for _, step, _ in baker.bakes] == [BUILD, PUSH]


def test_stop_cancels_the_others_and_tells_so() -> None:
    baker, heard = Baker({("a", "b", "c"): [failure(blamed="b")]}), Heard()
    results = build(baker, pending("a", "b", "c"), on_failure="stop", heard=heard)
    assert states(results) == {"a": "cancelled", "b": "failed", "c": "cancelled"}
    assert [result.error and result.error.code for result in results] == [None, "step_failed", None]
    assert len(baker.bakes) == 1
    assert heard.last_states() == {name("a"): "cancelled", name("b"): "failed", name("c"): "cancelled"}


@pytest.mark.parametrize("blamed", ["b", None])
def test_what_was_pushed_before_anothers_failure_ended_the_bake_is_a_success(blamed: Optional[str]) -> None:
    baker = Baker({("a", "b", "c"): [failure(blamed=blamed)]}, pushed_anyway=["c"])
    results = build(baker, pending("a", "b", "c"), on_failure="stop")
    assert states(results) == {"a": "cancelled" if blamed else "failed", "b": "failed", "c": "success"}
    assert results[2].manifest == manifest("c")


def test_continue_builds_those_not_to_blame_once_more_each_by_itself() -> None:
    error = failure(blamed="b")
    baker = Baker({("a", "b", "c"): [error], ("c",): [failure(blamed="c")]})
    results = build(baker, pending("a", "b", "c"))
    assert baker.bakes[0] == (("a", "b", "c"), BOTH, True)
    assert sorted(bake[0] for bake in baker.bakes[1:]) == [("a",), ("c",)]
    assert {bake[1:] for bake in baker.bakes[1:]} == {(BOTH, True)}
    assert list(states(results).items()) == [("a", "success"), ("b", "failed"), ("c", "failed")]
    assert results[1].error is error


def test_continue_builds_every_image_by_itself_where_nobody_is_to_blame() -> None:
    baker, heard = Baker({("a", "b"): [failure()], ("b",): [failure(blamed="b")]}), Heard()
    assert states(build(baker, pending("a", "b"), heard=heard)) == {"a": "success", "b": "failed"}
    assert sorted(bake[0] for bake in baker.bakes[1:]) == [("a",), ("b",)]
    assert heard.last_states() == {name("a"): "success", name("b"): "failed"}


def test_bakes_at_the_same_time_have_names_of_their_own() -> None:
    names = [f"i{number}" for number in range(5)]
    baker = Baker({tuple(names): [failure()]})
    build(baker, pending(*names))
    assert len(set(baker.names[1:])) == len(names)


def test_images_by_themselves_are_built_at_the_same_time() -> None:
    # Each waits for all others: one after the other, they would wait until the barrier breaks.
    barrier = threading.Barrier(3)

    class Meeting(Baker):
        def bake(
            self, name: str, images: Sequence[Head], step: Step, *, cache: bool = True
        ) -> dict[str, float]:
            if len(images) == 1:
                barrier.wait(20)
            return super().bake(name, images, step, cache=cache)

    baker = Meeting({("a", "b", "c"): [failure()]})
    assert set(states(build(baker, pending("a", "b", "c"))).values()) == {"success"}


def test_a_single_image_that_fails_is_not_built_once_more() -> None:
    baker = Baker({("a",): [failure()]})
    assert states(build(baker, pending("a"))) == {"a": "failed"}
    assert len(baker.bakes) == 1


@pytest.mark.parametrize("on_failure", ["continue", "stop"])
def test_after_a_lost_engine_nothing_is_tried_by_itself(on_failure: str) -> None:
    baker = Baker({("a", "b"): [failure("engine_lost")]}, pushed_anyway=["b"])
    results = build(baker, pending("a", "b"), on_failure=on_failure)
    assert states(results) == {"a": "failed", "b": "success"}
    assert len(baker.bakes) == 1


def test_a_lost_step_is_asked_once_without_the_cache() -> None:
    baker = Baker({("a", "b"): [failure("step_lost", "a")]})
    assert set(states(build(baker, pending("a", "b"))).values()) == {"success"}
    assert baker.bakes == [(("a", "b"), BOTH, True), (("a", "b"), BOTH, False)]


def test_a_step_that_stays_lost_is_not_asked_for_ever() -> None:
    clock = Clock()
    baker = Baker({("a",): [failure("step_lost"), failure("step_lost")]})
    assert states(build(baker, pending("a"), clock=clock)) == {"a": "failed"}
    assert [cache for _, _, cache in baker.bakes] == [True, False]
    assert clock.pauses == []


@pytest.mark.parametrize("code", ["push_failed", "base_unreachable"])
def test_what_may_pass_is_tried_again_with_growing_pauses(code: str) -> None:
    clock, heard = Clock(), Heard()
    baker = Baker({("a", "b"): [failure(code, "a"), failure(code, "a")]})
    assert set(states(build(baker, pending("a", "b"), clock=clock, heard=heard)).values()) == {"success"}
    assert clock.pauses == [2, 4]
    assert [line for line in heard.lines if line.startswith("trying again in 2 s: ")]
    assert heard.last_states() == {name("a"): "success", name("b"): "success"}


def test_what_does_not_pass_is_given_up_when_retry_for_is_over() -> None:
    clock = Clock()
    baker = Baker({("a",): [failure("push_failed", "a")] * 20})
    results = build(baker, pending("a"), clock=clock, retry_for=60)
    assert states(results) == {"a": "failed"}
    assert clock.pauses == [2, 4, 8, 16, 20, 10]
    assert results[0].error is not None
    assert results[0].error.code == "push_failed"


def test_what_cannot_pass_is_not_waited_for() -> None:
    clock = Clock()
    build(Baker({("a",): [failure("push_denied", "a")]}), pending("a"), clock=clock)
    assert clock.pauses == []


def test_what_was_waited_for_together_is_not_waited_for_once_more() -> None:
    clock = Clock()
    together = [failure("push_failed")] * 20
    baker = Baker({("a", "b"): together, ("a",): together, ("b",): together})
    assert states(build(baker, pending("a", "b"), clock=clock, retry_for=60)) == {
        "a": "failed",
        "b": "failed",
    }
    assert sum(clock.pauses) == 60
    assert [bake[0] for bake in baker.bakes].count(("a",)) == 1


def test_after_another_failure_each_image_may_be_waited_for_anew() -> None:
    clock = Clock()
    together = [failure("push_failed"), failure(blamed="b")]
    baker = Baker({("a", "b"): together, ("a",): [failure("push_failed")] * 2})
    assert states(build(baker, pending("a", "b"), clock=clock)) == {"a": "success", "b": "failed"}
    assert clock.pauses == [2, 2, 4]


def test_an_image_that_the_registry_does_not_hold_afterwards_has_failed() -> None:
    lost = RegistryError("push_lost", "The registry holds nothing.")
    results = build(Baker(lost={"a": lost}), pending("a", "b"))
    assert states(results) == {"a": "failed", "b": "success"}
    assert results[0].error is lost
    assert lost.image == name("a")


@pytest.mark.parametrize(
    ("on_failure", "others"), [("continue", "success"), ("stop", "cancelled"), ("atomic", "cancelled")]
)
def test_an_image_that_the_registry_refuses_is_not_built(on_failure: str, others: str) -> None:
    baker, heard = Baker(refusing={"b": RegistryError("registry_denied", "No.", status=403)}), Heard()
    results = build(baker, pending("a", "b", "c"), on_failure=on_failure, heard=heard)
    assert list(states(results).items()) == [("a", others), ("b", "failed"), ("c", others)]
    assert results[1].error is not None
    assert results[1].error.image == name("b")
    assert sorted(baker.asked) == ["a", "b", "c"]
    assert all("b" not in bake[0] for bake in baker.bakes)
    assert heard.last_states() == {name("a"): others, name("b"): "failed", name("c"): others}


def test_after_a_registry_that_is_busy_for_long_the_others_are_not_asked_to_wait_in_turn() -> None:
    class Slow(Baker):
        def check_push(self, image: Head) -> None:
            super().check_push(image)
            threading.Event().wait(0.05)

    baker = Slow(refusing={"a": RegistryError("registry_failed", "Busy.", status=503, retryable=True)})
    names = [f"n{number}" for number in range(50)]
    assert states(build(baker, pending("a", *names))) == {"a": "failed", **dict.fromkeys(names, "success")}
    assert len(baker.asked) < 50


def test_the_registry_is_asked_for_several_images_at_a_time() -> None:
    together = threading.Barrier(4)

    class Waiting(Baker):
        def check_push(self, image: Head) -> None:
            together.wait(20)

    baker = Waiting()
    assert set(states(build(baker, pending("a", "b", "c", "d"))).values()) == {"success"}


def test_of_several_that_a_busy_registry_does_not_answer_for_one_has_failed() -> None:
    busy = {name: RegistryError("registry_failed", "Busy.", status=503, retryable=True) for name in "abc"}
    assert list(states(build(Baker(refusing=busy), pending("a", "b", "c"))).values()).count("failed") == 1


def test_a_registry_that_is_not_there_ends_the_request() -> None:
    baker = Baker(refusing={"a": RegistryError("registry_unreachable", "It is away.", retryable=True)})
    with pytest.raises(RegistryError) as raised:
        build(baker, pending("a", "b"))
    assert raised.value.image == name("a")
    assert baker.bakes == []


def ending(error: BaseException) -> Callable[[float], None]:
    def wait(seconds: float) -> None:
        raise error

    return wait


def test_who_cancels_a_pause_ends_the_build() -> None:
    baker = Baker({("a", "b"): [failure("push_failed")]})
    with pytest.raises(Cancelled):
        build(baker, pending("a", "b"), wait=ending(Cancelled()))
    assert len(baker.bakes) == 1


@pytest.mark.parametrize("error", [Cancelled(), BuilderError("listener_failed", "Nobody heard it.")])
def test_what_is_no_failure_of_a_build_ends_all_of_it(error: BuilderError) -> None:
    baker = Baker({("a", "b"): [failure()], ("a",): [error]})
    with pytest.raises(BuilderError) as raised:
        build(baker, pending("a", "b"))
    assert raised.value is error


def test_what_the_listener_raises_ends_the_build() -> None:
    class Broken(Heard):
        def line(self, text: str) -> None:
            raise BuilderError("listener_failed", "Nobody heard it.")

    baker = Baker({("a", "b"): [failure()]})
    with pytest.raises(BuilderError, match="Nobody heard it"):
        build(baker, pending("a", "b"), heard=Broken())
    assert len(baker.bakes) == 1


def test_what_ends_the_build_of_an_image_by_itself_ends_the_others_at_once() -> None:
    begun = threading.Event()
    ended: list[str] = []

    class Waiting(Baker):
        def bake(
            self, name: str, images: Sequence[Head], step: Step, *, cache: bool = True
        ) -> dict[str, float]:
            super().bake(name, images, step, cache=cache)
            if short(images[0]) == "a":
                begun.set()
                try:
                    pause(20)
                except Cancelled:
                    ended.append("a")
                    raise
            begun.wait(20)
            raise BuilderError("listener_failed", "Nobody heard it.")

    baker = Waiting({("a", "b"): [failure()]})
    with pytest.raises(BuilderError, match="Nobody heard it"):
        build(baker, pending("a", "b"))
    assert ended == ["a"]


def test_whatever_ends_the_work_the_last_known_state_of_each_image_is_known() -> None:
    class Cut(Baker):
        def bake(
            self, name: str, images: Sequence[Head], step: Step, *, cache: bool = True
        ) -> dict[str, float]:
            super().bake(name, images, step, cache=cache)
            raise Cancelled()

    results = Results()
    baker = Cut({("a", "b", "c", "d"): [failure(blamed="b")]}, pushed_anyway=["c"])
    with pytest.raises(Cancelled):
        build(baker, pending("a", "b", "c", "d"), results=results)
    assert states(results.all) == {"a": "success", "b": "failed", "c": "success", "d": "success"}
    results = Results()
    baker = Baker({("a", "b"): [failure("push_failed", blamed="b")]}, pushed_anyway=["a"])
    with pytest.raises(Cancelled):
        build(baker, pending("a", "b"), results=results, wait=ending(Cancelled()))
    first, second = results.all
    assert first.manifest is not None
    assert (first.state, first.manifest.digest) == ("success", "sha256:a")
    assert (second.state, second.manifest) == ("cancelled", None)
    assert first.to_dict("")["digest"] == "sha256:a"


def test_what_an_ended_bake_pushed_all_the_same_is_not_built_once_more() -> None:
    baker = Baker({("a", "b", "c"): [failure(blamed="b")]}, pushed_anyway=["c"])
    assert states(build(baker, pending("a", "b", "c"))) == {"a": "success", "b": "failed", "c": "success"}
    assert [bake[0] for bake in baker.bakes[1:]] == [("a",)]
