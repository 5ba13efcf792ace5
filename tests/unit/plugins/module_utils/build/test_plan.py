# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a plan says of images, with a registry that answers from a table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional, Union, cast

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.build_input import BuildInput
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.input_hash import INPUT_HASH
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.lookup import Outside
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.made_from import (
    MADE_FROM,
    MadeFrom,
    recall,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.plan import Plan, make_plan
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.planned import (
    Head,
    Unplannable,
    unplannable,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.unchanged import (
    compare,
    stored_otherwise,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.options import Options
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.target import Image
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine.endpoint import Endpoint
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine.find import Engine
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import RegistryError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.manifest import ImageConfig, Manifest
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry import read
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.client import Registry

AMD64, ARM64, S390X = map(Platform.parse, ("linux/amd64", "linux/arm64", "linux/s390x"))
ENGINE = Engine(Endpoint("unix:///nowhere"), "/no/buildx", "", {"ServerVersion": "28.5.2"}, AMD64)
DOCKERFILE = """\
ARG V=3
FROM --platform=$BUILDPLATFORM golang:$V AS build
ARG WHAT
RUN make $WHAT
FROM alpine:3.20 AS final
# ünder
COPY --from=build /x /x
COPY --from=busybox:1 /bin/sh /sh
COPY app /app
"""


def digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def base(reference: Reference) -> Manifest:
    """A base image for two platforms, whose digests are made of its name."""
    platforms = {platform: digest(f"{reference}{platform.architecture}") for platform in (AMD64, ARM64)}
    return Manifest(reference, digest(str(reference)), "", {}, platforms)


@dataclass
class Registries:
    """Hold every base image; of the images to build they hold ``pushed``, or answer with that error.

    ``moved`` are the base images, by their short names, that are other ones now for that platform alone;
    ``triggers`` are their ONBUILD.
    """

    pushed: Mapping[str, Union[Manifest, RegistryError]] = field(default_factory=dict)
    lacking: tuple[Platform, ...] = ()
    moved: Mapping[str, Platform] = field(default_factory=dict)
    triggers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    configs_asked: list[Reference] = field(default_factory=list)

    def config(self, reference: Reference) -> ImageConfig:
        self.configs_asked.append(reference)
        return ImageConfig(tuple(self.triggers.get(replace(reference, digest=None).familiar, ())))

    def manifest(self, reference: Reference, *, mirrors: bool = True) -> Manifest:
        if mirrors:
            held, platform = base(reference), self.moved.get(reference.familiar)
            if reference.familiar in self.triggers:
                # What an image has in its ONBUILD decides on its digest.
                of = self.triggers[reference.familiar]
                held = replace(
                    held, platforms={each: digest(f"{reference}{each}{of}") for each in held.platforms}
                )
            if platform is None:
                return held
            moved = {**held.platforms, platform: digest("moved")}
            return replace(held, digest=digest("moved index"), platforms=moved)
        absent = RegistryError("manifest_unknown", f"{reference} is not there.", status=404)
        answer = self.pushed.get(str(reference), absent)
        if isinstance(answer, RegistryError):
            raise answer
        return answer

    def missing(self, manifest: Manifest) -> list[Platform]:
        return list(self.lacking)


@pytest.fixture(autouse=True)
def asked_of_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))

    def manifest(registry: Any, reference: Reference, *, mirrors: bool = True) -> Any:
        return registry.manifest(reference, mirrors=mirrors)

    monkeypatch.setattr(read, "manifest", manifest)
    monkeypatch.setattr(read, "config", lambda registry, reference: registry.config(reference))
    monkeypatch.setattr(read, "missing", lambda registry, index: list(map(str, registry.missing(index))))


@pytest.fixture
def source(tmp_path: Path) -> BuildInput:
    (tmp_path / "app").write_text("x\n", encoding="utf-8")
    (tmp_path / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    for name in ("app", "Dockerfile"):
        (tmp_path / name).chmod(0o644)
    return BuildInput(str(tmp_path), str(tmp_path / "Dockerfile"), "Dockerfile")


def image(*references: str, **values: Any) -> Image:
    return Image(tuple(map(Reference.parse, references)), **values)


def planned(
    source: BuildInput,
    *images: Image,
    registries: Optional[Registries] = None,
    options: Optional[Options] = None,
    engine: Engine = ENGINE,
) -> Plan:
    with ThreadPoolExecutor(2) as pool:
        return make_plan(
            source,
            images,
            options or Options(),
            engine,
            Outside(cast(Registry, registries or Registries()), pool),
        )


FULL = image(
    "localhost:5000/a:latest",
    platforms=(ARM64, AMD64),
    build_args={"V": "4", "WHAT": "all"},
    labels={"l": "ö"},
    annotations={"a": "b"},
    base={"final": "debian:12"},
)
PLAIN = image("localhost:5000/b:latest", target="build")


def test_input_hashes_are_those_of_the_images_that_users_have_pushed(source: BuildInput) -> None:
    # Those of version 2. With other ones, all that anybody has is built once more: then raise the version.
    options = Options(provenance="min", sbom=True)
    found = planned(source, FULL, PLAIN, options=options).images
    assert [image.head.input_hash for image in found] == [
        "sha256:ea12e69dd80e620e741b73c70fcd626db4966e7c1949aeb2d158703727bacdfa",
        "sha256:eff3dfc52504cebab7c35609291b9f66bdc8845469434965faec7243cd6698d2",
    ]
    found = planned(source, FULL, PLAIN, options=options, engine=replace(ENGINE, builder="mine")).images
    assert [image.head.input_hash for image in found] == [
        "sha256:7f793a0c405a921e41ddf62c0e0728d326b83de5c8a818904f92685873a9fad1",
        "sha256:f4ce69c4b9f504375dcbf059862b1ccca1b805d11efe7873acc9e338996c81b4",
    ]


def test_the_sources_time_counts_only_where_the_dockerfile_reads_it(source: BuildInput) -> None:
    later = replace(source, committed_at=7)

    def differ(wanted: Image) -> bool:
        hashes = {planned(each, wanted).images[0].head.input_hash for each in (source, later)}
        return len(hashes) > 1

    assert not differ(PLAIN)
    with open(source.dockerfile, "a", encoding="utf-8") as dockerfile:
        dockerfile.write("ARG SOURCE_DATE_EPOCH\n")
    assert differ(PLAIN)
    assert not differ(replace(PLAIN, build_args={"SOURCE_DATE_EPOCH": "1"}))


def hashed(source: BuildInput, registries: Optional[Registries] = None, **values: Any) -> str:
    """The input hash of an image with these ``values``."""
    (made,) = planned(source, image("localhost:5000/a", **values), registries=registries).images
    return made.head.input_hash


def test_how_platforms_and_the_target_are_written_does_not_count(source: BuildInput) -> None:
    both = hashed(source, platforms=(AMD64, ARM64))
    assert hashed(source, platforms=(ARM64, AMD64)) == both
    assert hashed(source, platforms=(ARM64,)) != hashed(source, platforms=(AMD64,)) != both
    last = hashed(source)
    assert {hashed(source, target=name) for name in ("final", "FINAL", "1", "01")} == {last}
    first = hashed(source, target="build")
    assert first != last
    assert {hashed(source, target=name) for name in ("Build", "0")} == {first}


@pytest.mark.parametrize("name", ["alpine:3.20", "busybox:1"])
def test_an_image_that_is_read_counts_for_the_platforms_that_are_built(source: BuildInput, name: str) -> None:
    moved = Registries(moved={name: ARM64})
    assert hashed(source, moved, platforms=(AMD64,)) == hashed(source, platforms=(AMD64,))
    for platforms in ((ARM64,), (AMD64, ARM64)):
        assert hashed(source, moved, platforms=platforms) != hashed(source, platforms=platforms)
    pins = planned(source, PLAIN, image("localhost:5000/a"), registries=moved).pending[1].recipe.injection
    assert digest("moved index") in pins.text + str(pins.contexts)


STAGES = "FROM tools:1 AS tools\nFROM golang:1 AS last\nFROM alpine AS final\n"
TRIGGERS = {
    "debian:12": ["COPY --from=tools / /", "RUN --mount=from=busybox:2,target=/b x", "ARG SOURCE_DATE_EPOCH"],
    "tools:1": ["COPY --from=last / /", "COPY --from=left:latest / /", "COPY <<"],
    "left": ["COPY --from=nothing:1 / /"],
}


def test_what_the_onbuild_of_a_base_reads_is_pinned_and_counts(source: BuildInput) -> None:
    Path(source.dockerfile).write_text(STAGES, encoding="utf-8")
    wanted = image("localhost:5000/a:1", base={"final": "debian:12"})

    def plan(source: BuildInput = source, **values: Any) -> Any:
        (found,) = planned(source, wanted, registries=Registries(**values)).images
        return found

    quiet, triggered = plan(), plan(triggers=TRIGGERS)
    assert [base.base.original for base in quiet.head.bases] == ["alpine"]
    assert [base.base.original for base in triggered.head.bases] == ["tools:1", "golang:1", "alpine"]
    own = {name: to for name, to in triggered.recipe.injection.contexts.items() if "::" not in name}
    references = {name: Reference.parse(name) for name in ("busybox:2", "left")}
    assert own == {
        name: f"docker-image://{reference.with_digest(digest(str(reference)))}"
        for name, reference in references.items()
    }
    moved = [plan(triggers=TRIGGERS, moved={name: AMD64}) for name in ("busybox:2", "left", "golang:1")]
    later = plan(replace(source, committed_at=7), triggers=TRIGGERS)
    hashes = [each.head.input_hash for each in (quiet, triggered, *moved, later)]
    assert len(set(hashes)) == len(hashes)
    assert plan(triggers=TRIGGERS, moved={"left": ARM64, "nothing:1": AMD64}).head.input_hash == hashes[1]


def test_of_a_base_without_onbuild_the_config_is_asked_for_once_unless_it_gives_variables(
    source: BuildInput,
) -> None:
    def asked(**values: Any) -> list[str]:
        registries = Registries(triggers={"alpine:3.20": ["RUN x"]}, **values)
        planned(source, image("localhost:5000/a:1", platforms=(AMD64, ARM64)), registries=registries)
        return sorted(replace(reference, digest=None).familiar for reference in registries.configs_asked)

    # golang is the build platform's, for both.
    assert asked() == ["alpine:3.20", "alpine:3.20", "golang:3"]
    assert asked() == ["alpine:3.20", "alpine:3.20"]
    assert asked(moved={"golang:3": AMD64}) == ["alpine:3.20", "alpine:3.20", "golang:3"]
    with open(source.dockerfile, "a", encoding="utf-8") as dockerfile:
        dockerfile.write("ADD $X /\n")
    assert asked() == ["alpine:3.20", "alpine:3.20", "golang:3"]


@pytest.mark.parametrize(
    ("dockerfile", "triggers", "code"),
    [
        ("FROM a\nFROM b AS tools\nFROM c\n", {"c": ["COPY --from=tools:latest / /"]}, "stage_hides_image"),
        ("FROM a\nFROM c AS d\n", {"c": ["COPY --from=d / /"]}, "dockerfile_circle"),
        (
            "".join(f"FROM b{n} AS s{n}\n" for n in range(40)) + "FROM c\n",
            {f"b{n}": [f"COPY --from=s{n + 1} / /"] for n in range(39)} | {"c": ["COPY --from=s0 / /"]},
            "onbuild_too_deep",
        ),
        ("FROM c\n", {"c": ["RUN " + "x" * (1 << 20)]}, "onbuild_too_deep"),
    ],
)
def test_an_onbuild_that_cannot_be_followed_is_an_error_of_its_image(
    source: BuildInput, dockerfile: str, triggers: dict[str, Sequence[str]], code: str
) -> None:
    Path(source.dockerfile).write_text(dockerfile, encoding="utf-8")
    wanted, other = image("localhost:5000/a:1"), image("localhost:5000/b:1", base={"final": "quiet"})
    failed, fine = planned(source, wanted, other, registries=Registries(triggers=triggers)).images
    assert isinstance(failed, Unplannable)
    assert (failed.error.code, failed.error.image) == (code, "localhost:5000/a:1")
    assert fine.head.state == "pending"


def pushed(source: BuildInput, wanted: Image, **values: Any) -> Manifest:
    """What stands in the registry after ``wanted`` was built, but for ``values``."""
    head = planned(source, wanted).images[0].head
    made = Manifest(
        wanted.references[0],
        digest("pushed"),
        "",
        {INPUT_HASH: head.input_hash, MADE_FROM: MadeFrom("", head.bases).to_text()},
        {platform: digest(str(platform)) for platform in head.platforms},
    )
    return replace(made, **values)


def test_an_image_is_unchanged_where_each_of_its_names_stands_for_the_whole_of_it(source: BuildInput) -> None:
    wanted = image("localhost:5000/a:1", "localhost:5000/a:2")
    held = pushed(source, wanted)
    names = [str(reference) for reference in wanted.references]
    plan = planned(source, wanted, registries=Registries(dict.fromkeys(names, held)))
    head = plan.images[0].head
    assert (head.state, head.reason, head.manifest) == ("unchanged", "the registry holds it already", held)
    assert plan.pending == ()


def test_the_reason_to_build_is_what_the_registry_holds_instead(source: BuildInput) -> None:
    wanted = image("localhost:5000/a:1", "localhost:5000/a:2")
    held = pushed(source, wanted)
    first, second = (str(reference) for reference in wanted.references)

    def reason(leading: Any, other: Any = held, **arguments: Any) -> str:
        registries = Registries({first: leading, second: other}, arguments.pop("lacking", ()))
        plan = planned(source, wanted, registries=registries, **arguments)
        assert plan.pending == plan.images
        return plan.images[0].head.reason

    absent, refused = RegistryError("manifest_unknown", ""), RegistryError("denied", "", status=403)
    assert reason(absent) == f"{first} is not in the registry"
    assert reason(held, absent) == f"{second} is not in the registry"
    assert reason(refused) == f"{first} cannot be read from the registry"
    assert reason(replace(held, annotations={})) == f"{first} was built from other inputs"
    unsaid = {INPUT_HASH: held.annotations[INPUT_HASH]}
    assert reason(replace(held, annotations=unsaid)) == f"{first} does not say what it was built from"
    assert reason(held, replace(held, platforms={})) == f"{second} has other platforms"
    assert reason(held, replace(held, digest=digest("2"))) == f"{second} is another build than {first}"
    assert reason(held, lacking=(ARM64,)) == f"the registry has lost linux/arm64 of {first}"
    assert reason(held, options=Options(rebuild="always")) == "rebuild is always"


def test_an_unchanged_image_is_told_of_as_it_was_built(source: BuildInput) -> None:
    wanted = image("localhost:5000/a", platforms=(AMD64,))
    first = replace(source, revision="1" * 40)
    before = planned(first, wanted).images[0].head
    held = pushed(
        first,
        wanted,
        annotations={
            INPUT_HASH: before.input_hash,
            MADE_FROM: MadeFrom(first.revision, before.bases).to_text(),
        },
    )
    moved = dict.fromkeys(("golang:3", "alpine:3.20"), ARM64)
    plan = planned(
        replace(source, revision="2" * 40), wanted, registries=Registries({wanted.name: held}, moved=moved)
    )
    head = plan.images[0].head
    assert (head.state, head.revision, head.bases) == ("unchanged", first.revision, before.bases)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "[]",
        "{}",
        '{"revision": "", "bases": [{}]}',
        '{"revision": "", "bases": [{"stages": {"0": ["linux/amd64"], "1": ["linux/amd64"]}}]}',
        '{"revision": 1, "bases": []}',
    ],
)
def test_what_does_not_say_what_an_image_was_made_from_is_no_record(source: BuildInput, text: str) -> None:
    bases = planned(source, PLAIN).images[0].head.bases
    assert recall({MADE_FROM: text}, bases) is None
    record = MadeFrom("x", bases).to_text()
    found = recall({MADE_FROM: record}, bases)
    assert found == MadeFrom("x", bases)
    for word, other in (("sha256:", "md5:"), ("docker.io/library/golang", "NO IMAGE"), ('"0"', '"x"')):
        assert recall({MADE_FROM: record.replace(word, other)}, bases) is None


def test_an_image_that_the_registry_does_not_tell_of_fails_by_itself(source: BuildInput) -> None:
    busy = RegistryError("registry_failed", "It is busy.", status=503)
    plan = planned(source, FULL, PLAIN, registries=Registries({FULL.name: busy}))
    first, second = plan.images
    assert isinstance(first, Unplannable)
    assert (first.error.code, first.error.image) == ("registry_failed", FULL.name)
    assert (first.head.state, first.head.platforms) == ("failed", ())
    assert plan.pending == (second,)


def test_what_the_plan_finds_wrong_on_a_line_shows_the_lines_around_it(source: BuildInput) -> None:
    (error,) = unplannable(planned(source, image("localhost:5000/a:1", base={"build": "a b"})).images)
    assert error.to_dict()["excerpt"] == []
    (error,) = unplannable(planned(source, image("localhost:5000/a:1", platforms=(S390X,))).images)
    assert (error.code, error.line) == ("base_lacks_platform", 5)
    assert error.to_dict()["excerpt"] == [
        "  3 | ARG WHAT",
        "  4 | RUN make $WHAT",
        "> 5 | FROM alpine:3.20 AS final",
        "  6 | # ünder",
        "  7 | COPY --from=build /x /x",
    ]


def test_an_image_of_an_archive_is_unchanged_where_its_own_digest_stands_under_each_name() -> None:
    wanted = image("localhost:5000/a:1", "localhost:5000/a:2")
    first, second = (str(reference) for reference in wanted.references)
    head = Head(wanted, (AMD64,), digest("stored"))
    held = Manifest(wanted.references[0], digest("stored"), "", {}, {AMD64: digest("amd64")})

    def judged(leading: Any, other: Any = held, lacking: tuple[Platform, ...] = (), **options: Any) -> Head:
        registries = Registries({first: leading, second: other}, lacking)
        return compare(head, stored_otherwise, Options(**options), cast(Registry, registries))

    absent, refused = RegistryError("manifest_unknown", ""), RegistryError("denied", "", status=401)
    assert judged(held) == head.judged("unchanged", "the registry holds it already", held)
    assert judged(absent).reason == f"{first} is not in the registry"
    assert judged(held, refused).reason == f"{second} cannot be read from the registry"
    assert judged(held, replace(held, digest=digest("2"))).reason == f"{second} is another image"
    assert judged(held, lacking=(AMD64,)).reason == f"the registry has lost linux/amd64 of {first}"
    assert judged(held, rebuild="always").reason == "rebuild is always"
    with pytest.raises(RegistryError) as raised:
        judged(RegistryError("registry_failed", "It is busy.", status=503))
    assert raised.value.image == first


@pytest.mark.parametrize("code", ["manifest_unknown", "registry_unauthorized", "registry_unreachable"])
def test_a_base_that_no_registry_has_is_told_with_where_it_was_looked_for(
    source: BuildInput, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    def absent(registry: Any, reference: Reference, *, mirrors: bool = True) -> Any:
        raise RegistryError(code, f"Cannot read {reference.familiar}.", hint="Check its name and tag.")

    monkeypatch.setattr(read, "manifest", absent)
    (failed,) = planned(source, image("localhost:5000/a:1")).images
    assert isinstance(failed, Unplannable)
    assert failed.error.hint.startswith(
        "Check its name and tag. Images that a build reads come from registries"
    )
    assert failed.error.line is not None
