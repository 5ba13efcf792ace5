# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Planning, building and reporting of images, with what stands in the registry as the judge."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build import carry_out as build
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_source
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.target import RegistryAccount
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import (
    BuilderError,
    Cancelled,
    DockerfileError,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Lines
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.fetch_source import (
    fetch_source,
    remove_source,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.registry_image import remove
from ansible_collections.sodalite.image_builder.plugins.module_utils.process import cancellable
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.snapshot import snapshot

from tests.builds.site import BOTH, Site, states
from tests.support import leaks
from tests.support.repositories import repository

pytestmark = pytest.mark.engine


def test_images_are_built_once_and_reported_as_the_registry_holds_them(site: Site) -> None:
    one, two = site.base("one", "1"), site.base("two", "2")
    site.write(Dockerfile=f"FROM {one} AS first\nCOPY app /app\n", app="x\n")
    wanted = [
        {"image": "app", "tags": ["a", "b"], "platforms": BOTH},
        {"image": "app", "tag": "two", "base": two, "platforms": BOTH},
        {"image": "single", "platforms": ["linux/arm64"]},
    ]
    planned = site.build(*wanted, plan_only=True)
    assert (states(planned), planned.to_dict()["changed"]) == (["pending"] * 3, True)
    assert site.repository("app") not in site.pushed("app").registry.repositories()

    built = site.build(*wanted)
    assert built.error is None
    assert (states(built), built.to_dict()["changed"]) == (["success"] * 3, True)
    entries = built.to_dict()["images"]
    for entry, image in zip(
        entries, (site.pushed("app", "a"), site.pushed("app", "two"), site.pushed("single")), strict=True
    ):
        assert entry["digest"] == image.digest
        assert {p["platform"]: p["digest"] for p in entry["platforms"]} == image.platforms()
        assert entry["error"] is None
        assert entry["seconds"] >= 0
    assert site.pushed("app", "b").digest == entries[0]["digest"]
    assert entries[0]["references"] == [f"{site.reference('app')}:a", f"{site.reference('app')}:b"]
    base = {base["platform"]: base for base in entries[1]["bases"]}["linux/arm64"]
    assert base == {
        "stage": 0,
        "stage_name": "first",
        "line": 1,
        "platform": "linux/arm64",
        "original": one,
        "reference": two,
        "digest": site.pushed("two").digest,
        "overridden": True,
    }

    again = site.build(*wanted)
    assert (states(again), again.to_dict()["changed"]) == (["unchanged"] * 3, False)
    assert [entry["digest"] for entry in again.to_dict()["images"]] == [e["digest"] for e in entries]


def test_each_change_rebuilds_the_images_that_it_concerns_and_no_other(site: Site) -> None:
    one, two = site.base("one", "1"), site.base("two", "2")
    dockerfile = f"FROM {one} AS first\nARG A\nCOPY app /app\nFROM first AS last\nCOPY other /other\n"
    site.write(Dockerfile=dockerfile, _dockerignore="ignored\n", app="x", other="y", ignored="z")
    a: dict[str, Any] = {"image": "a", "platforms": BOTH}
    b: dict[str, Any] = {"image": "b", "base": two}
    c: dict[str, Any] = {"image": "c", "target": "first", "tags": ["1", "2"]}
    site.build_ok(a, b, c)
    assert site.rebuilt(a, b, c) == set()

    for change in (
        {"build_args": {"A": "1"}},
        {"labels": {"l": "1"}},
        {"annotations": {"a": "1"}},
        {"target": "first"},
        {"base": one},
        {"base": two, "platforms": ["linux/arm64"]},
        {"no_cache": True},
        {"tags": ["latest", "new"]},
        {"tag": "new"},
    ):
        assert site.rebuilt(a, {**b, **change}, c) == {"b"}, change

    site.write(ignored="changed")
    os.utime(site.context / "app", (1, 1))
    assert site.rebuilt(a, b, c) == set()
    site.write(other="changed")
    assert site.rebuilt(a, b, c) == {"a", "b", "c"}
    site.write(other="y")
    site.write(Dockerfile=dockerfile + "# more\n")
    assert site.rebuilt(a, b, c) == {"a", "b", "c"}
    site.write(Dockerfile=dockerfile)
    (site.context / "app").chmod(0o755)
    assert site.rebuilt(a, b, c) == {"a", "b", "c"}
    (site.context / "app").chmod(0o644)
    assert site.rebuilt(a, b, c) == set()

    site.base("two", "2 has moved")
    assert site.rebuilt(a, b, c) == {"b"}
    site.base("one", "1 has moved")
    assert site.rebuilt(a, b, c) == {"a", "b", "c"}

    site.build_ok(a, b, c)
    assert remove(Reference.parse(site.reference("a")), RegistryAccount(site.engine.registry))["changed"]
    assert site.rebuilt(a, b, c) == {"a"}
    assert [entry["state"] for entry in site.build_ok(a, b, c)] == ["success", "unchanged", "unchanged"]
    assert site.rebuilt(a, b, c) == set()


def test_a_tag_that_something_else_took_is_built_anew(site: Site) -> None:
    site.write(Dockerfile="FROM scratch\nCOPY app /\n", app="x")
    site.build_ok({"image": "app"})
    site.write(app="y")
    site.build_ok({"image": "app"}, {"image": "other"})
    site.write(app="x")
    reason = site.build({"image": "app"}, plan_only=True).results[0].head.reason
    assert "was built from other inputs" in reason


def test_one_failing_image_does_not_stop_the_others(site: Site) -> None:
    site.write(Dockerfile='FROM alpine\nARG BREAK\nRUN [ -z "$BREAK" ] || { echo "broke $BREAK"; exit 9; }\n')
    wanted = [
        {"image": "good", "platforms": BOTH},
        {"image": "bad", "build_args": {"BREAK": "here"}},
        {"image": "fine"},
        {"image": "worse", "build_args": {"BREAK": "there"}, "platforms": BOTH[1:]},
    ]
    made = site.build(*wanted)
    assert states(made) == ["success", "failed", "success", "failed"]
    assert set(site.pushed("good").platforms()) == set(BOTH)
    assert site.pushed("fine").digest == made.to_dict()["images"][2]["digest"]
    assert not {site.repository("bad"), site.repository("worse")} & set(
        site.pushed("bad").registry.repositories()
    )
    for number, word in ((1, "broke here"), (3, "broke there")):
        error = made.to_dict()["images"][number]["error"]
        assert (error["code"], error["file"], error["line"]) == ("step_failed", "Dockerfile", 3)
        assert error["platform"] == BOTH[number // 2]
        assert word in error["output"]
        assert error["image"].startswith(site.reference("bad" if number == 1 else "worse"))
        assert made.to_dict()["images"][number]["digest"] == ""
    assert made.error is not None
    assert made.error.code == "images_failed"
    assert site.rebuilt(*wanted) == {"bad", "worse"}


def test_one_image_that_cannot_be_planned_does_not_stop_the_others(site: Site) -> None:
    site.write(Dockerfile="FROM alpine\nRUN true\n")
    missing = site.reference("no-such-base")
    wrong: list[dict[str, Any]] = [{"image": "a", "base": missing}, {"image": "b", "base": missing}]
    wrong.append({"image": "c", "base": {"no-such-stage": "alpine"}})
    planned = site.build({"image": "good"}, *wrong, plan_only=True)
    assert states(planned) == ["pending", "failed", "failed", "failed"]
    for on_failure in ("stop", "atomic"):
        made = site.build({"image": "good"}, *wrong, options={"on_failure": on_failure})
        assert states(made) == ["cancelled", "failed", "failed", "failed"]
    made = site.build({"image": "good"}, *wrong)
    assert states(made) == ["success", "failed", "failed", "failed"]
    errors = [result.error for result in made.results if result.error]
    assert [error.code for error in errors] == ["manifest_unknown", "manifest_unknown", errors[2].code]
    assert [error.image for error in errors] == [site.reference(f"{name}:latest") for name in "abc"]
    assert all(entry["error"]["message"] for entry in made.to_dict()["images"][1:])
    with pytest.raises(BuilderError) as caught:
        site.build(*wrong)
    assert "3 images failed" in str(caught.value)
    with pytest.raises(BuilderError) as caught:
        site.build(*wrong[:2])
    assert (caught.value.code, caught.value.image) == ("manifest_unknown", None)


def test_a_stage_that_is_built_is_the_one_asked_for(site: Site) -> None:
    site.write(Dockerfile="FROM alpine AS one\nRUN echo 1 >/which\nFROM one\nRUN exit 1\n")
    site.build_ok({"image": "named", "target": "one"}, {"image": "numbered", "target": "0"})
    assert site.pushed("named").read("/which") == "1\n"
    assert site.pushed("numbered").read("/which") == "1\n"


def test_a_secret_is_seen_by_its_step_and_by_nothing_else(site: Site) -> None:
    secret, other = leaks.new_secret(), "two\nlines\n"
    site.write(
        Dockerfile="FROM alpine\n"
        "RUN --mount=type=secret,id=one wc -c </run/secrets/one >/one\n"
        "RUN --mount=type=secret,id=two cat /run/secrets/two >/two; ! [ -e /run/secrets/one ]\n"
    )
    with leaks.watched(site.folder) as watch:
        watch.secrets.append(secret)
        made = site.build({"image": "app", "secrets": {"one": secret, "two": other}})
    watch.assert_no_leak()
    assert made.error is None
    pushed = site.pushed("app")
    assert pushed.read("/one").strip() == str(len(secret.encode()))
    assert pushed.read("/two") == other
    shown = json.dumps([made.to_dict(), site.told, pushed.config(), pushed.manifest()]).encode()
    assert not any(trace in shown for trace in leaks.traces(secret))


def test_a_secret_that_a_step_prints_is_not_shown(site: Site) -> None:
    secret = leaks.new_secret()
    site.write(Dockerfile="FROM alpine\nRUN --mount=type=secret,id=one cat /run/secrets/one; exit 1\n")
    made = site.build({"image": "app", "secrets": {"one": secret}})
    assert made.error is not None
    assert made.error.code == "step_failed"
    assert "Its last output was" in str(made.error)
    shown = json.dumps([made.to_dict(), site.told, str(made.error)]).encode()
    assert not any(trace in shown for trace in leaks.traces(secret))


@pytest.mark.parametrize(
    "shows",
    [
        "cat /key",
        "base64 /key",
        "base64 -w 64 /key; base64 -w 0 /key",
        "sed 's/^/> /' /key",
        'while read -r line; do echo "$line"; sleep 0.02; done </key',
        'printf %.40s "$(sed -n 2p /key)"; sleep 0.3; sed -n 2p /key | cut -c41-',
        "printf 'deploy:' | cat - /key | base64",
    ],
    ids=["cat", "base64", "base64 in rows", "indented", "line by line", "in parts", "login"],
)
def test_no_line_of_a_key_that_a_failing_step_prints_is_shown(shows: str, site: Site) -> None:
    words = [os.urandom(24).hex() for _ in range(5)]
    key = "\r\n".join(["-----BEGIN KEY-----", *words, "-----END KEY-----", ""])
    site.write(Dockerfile=f"FROM alpine\nRUN --mount=type=secret,id=one,target=/key {shows}; exit 1\n")
    made = site.build({"image": "app", "secrets": {"one": key}})
    assert made.error is not None
    shown = json.dumps([made.to_dict(), site.told, str(made.error)])
    assert "********" in shown
    coded = [base64.b64encode(b"-" * shift + key.encode()).decode() for shift in range(3)]
    parts = [text[n : n + 12] for text in (*words, *coded) for n in range(8, len(text) - 20, 4)]
    assert not [part for part in parts if part in shown]


def test_an_image_can_be_built_though_nothing_changed(site: Site) -> None:
    site.write(Dockerfile="FROM scratch\nCOPY app /\n", app="x")
    image = {"image": "app"}
    (first,) = site.build_ok(image)
    again = site.build(image, options={"rebuild": "always"})
    assert states(again) == ["success"]
    # The same inputs make the same image.
    assert again.to_dict()["images"][0]["digest"] == first["digest"]


def test_after_a_failure_the_others_can_be_left_unbuilt(site: Site) -> None:
    site.write(Dockerfile='FROM alpine\nARG SLEEP=0\nRUN [ "$SLEEP" != 0 ] || exit 1; sleep $SLEEP\n')
    slow = {"image": "slow", "build_args": {"SLEEP": "5"}}
    made = site.build({"image": "bad"}, slow, options={"on_failure": "stop"})
    assert states(made)[0] == "failed"
    assert site.repository("slow") not in site.pushed("slow").registry.repositories()


def test_what_an_earlier_run_pushed_is_not_this_ones_success(site: Site) -> None:
    site.write(Dockerfile='FROM alpine\nARG BAD\nRUN [ -z "$BAD" ] && sleep 4\n')
    site.build_ok({"image": "good", "no_cache": True})
    bad = {"image": "bad", "build_args": {"BAD": "yes"}}
    made = site.build({"image": "good", "no_cache": True}, bad, options={"on_failure": "stop"})
    assert states(made) == ["cancelled", "failed"]


def test_many_images_are_built_in_portions(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_MOST_TOGETHER", 2)
    site.write(Dockerfile=f"FROM alpine\nARG N\nRUN : {site.name}; [ $N != bad ] && sleep 4\nLABEL n=$N\n")
    names = ["a", "bad", "b", "c", "d"]
    images = {name: {"image": name, "build_args": {"N": name}} for name in names}
    good = [image for name, image in images.items() if name != "bad"]
    ends = {
        "stop": ["cancelled", "failed", "cancelled", "cancelled", "cancelled"],
        "atomic": ["cancelled", "failed", "cancelled", "cancelled", "cancelled"],
        "continue": ["success", "failed", "success", "success", "success"],
    }
    for on_failure, expected in ends.items():
        made = site.build(*images.values(), options={"on_failure": on_failure})
        assert states(made) == expected, on_failure
        held = site.pushed("a").registry.repositories()
        pushed = [site.repository(name) in held for name in names]
        assert pushed == [state == "success" for state in expected], on_failure
    assert states(site.build(*good)) == ["unchanged"] * 4
    made = site.build(*good, options={"on_failure": "atomic", "rebuild": "always"})
    assert states(made) == ["success"] * 4


def test_no_tag_moves_unless_all_images_are_built(site: Site) -> None:
    site.write(Dockerfile='FROM alpine\nARG FAIL=no\nRUN [ "$FAIL" = no ] && date +%N >/app\n')
    bad = {"image": "bad", "build_args": {"FAIL": "yes"}}
    options = {"on_failure": "atomic", "provenance": "min"}
    for good in ({"image": "good"}, {"image": "good", "platforms": BOTH, "no_cache": True}):
        made = site.build(good, bad, options=options)
        assert states(made) == ["cancelled", "failed"]
        assert not {site.repository(name) for name in ("good", "bad")} & {
            *site.pushed("good").registry.repositories()
        }
    # How often the step ran is what it finds in a cache of its own.
    count = f"--mount=type=cache,sharing=locked,target=/runs,id={site.name} echo >>/runs/n && cp /runs/n /app"
    site.write(Dockerfile=f"FROM alpine\nRUN {count}\nARG A\n")
    good = {"image": "good", "tag": "latest", "tags": ["other"], "platforms": BOTH, "no_cache": True}
    made = site.build(good, {"image": "bad", "build_args": {"A": "b"}}, options=options)
    assert states(made) == ["success", "success"]
    assert site.pushed("good", "other").digest == site.pushed("good").digest
    runs = {site.pushed("good").run("cat", "/app", platform=platform).count(b"\n") for platform in BOTH}
    assert max(runs) <= 3


def test_the_builder_is_asked_for_nothing_beside_the_images(site: Site) -> None:
    site.write(Dockerfile="FROM scratch\nCOPY app /\n", app="x")
    assert states(site.build({"image": "app"})) == ["success"]
    asked = [line for line in site.told if "resolving" in line]
    assert asked == ["resolving base images"]


def test_an_attested_image_is_unchanged_on_the_second_run(site: Site) -> None:
    site.write(Dockerfile="FROM scratch\nCOPY app /\n", app="x")
    for platforms in (["linux/arm64"], BOTH):
        image, options = {"image": "app", "platforms": platforms}, {"provenance": "min"}
        assert states(site.build(image, options=options)) == ["success"]
        assert set(site.pushed("app").platforms()) == set(platforms)
        assert states(site.build(image, options=options)) == ["unchanged"]
        assert site.rebuilt(image) == {"app"}


@pytest.mark.parametrize("platforms", [BOTH, ["linux/arm64"]], ids=["index", "manifest"])
def test_labels_and_annotations_arrive_as_they_were_written(site: Site, platforms: list[str]) -> None:
    texts = {"a.b/c": "${HOME} %{x}", "k${x}": "{{ x }}, a=b", "lines": 'one\n"two"'}
    site.write(Dockerfile="FROM scratch\nCOPY app /\n", app="x")
    site.build_ok({"image": "app", "platforms": platforms, "labels": texts, "annotations": texts})
    pushed = site.pushed("app")
    assert pushed.annotations.items() >= texts.items()
    for digest in pushed.platforms().values():
        assert pushed.config(digest)["config"]["Labels"].items() >= texts.items()
        assert pushed.manifest(digest)[1]["annotations"].items() >= texts.items()
    assert (
        site.rebuilt({"image": "app", "platforms": platforms, "labels": texts, "annotations": texts}) == set()
    )


def test_build_arguments_arrive_as_they_were_written(site: Site) -> None:
    text = "${HOME} %{x} {{ 7*7 }} $$ 'a' \"b\"\nc"
    site.write(Dockerfile='FROM alpine\nARG A\nRUN printf %s "$A" >/a\n')
    site.build_ok({"image": "app", "build_args": {"A": text}})
    assert site.pushed("app").read("/a") == text


def test_the_build_cache_can_be_kept_in_the_registry_and_used(site: Site) -> None:
    site.write(Dockerfile="FROM alpine\nRUN echo 1 >/one\n")
    cache = f"{site.reference('app')}:cache"
    site.build_ok(
        {"image": "app", "cache_to": [{"ref": cache, "mode": "max"}]},
        {"image": "inline", "cache_to": ["inline"]},
    )
    digest, content = site.pushed("app", "cache").manifest()
    assert digest
    assert "buildkit" in json.dumps(content)
    site.write(Dockerfile="FROM alpine\nRUN echo 1 >/one\nRUN echo 2 >/two\n")
    # What is not there is no reason to fail, neither to read nor to write.
    site.build_ok(
        {"image": "app", "cache_from": [cache, f"{site.reference('missing')}:cache"]},
        {"image": "other", "cache_to": [{"ref": "127.0.0.1:1/nobody/listens"}]},
    )
    assert site.pushed("app").read("/two") == "2\n"


def test_the_dockerfiles_own_ignore_file_counts(site: Site) -> None:
    site.write(Dockerfile="FROM alpine\nCOPY . /all\n", a="x", b="y")
    (site.context / "Dockerfile.dockerignore").write_text("b\n", encoding="utf-8")
    site.build_ok({"image": "app", "base": "alpine:3.18"})
    assert "a\n" in site.pushed("app").run("/bin/busybox", "ls", "/all").decode()
    assert "b\n" not in site.pushed("app").run("/bin/busybox", "ls", "/all").decode()
    site.write(b="changed")
    assert site.rebuilt({"image": "app", "base": "alpine:3.18"}) == set()


@pytest.mark.parametrize(
    ("dockerfile", "image", "code", "line", "says"),
    [
        ("\nFROM {base}\n", {"platforms": ["linux/s390x"]}, "base_lacks_platform", 2, "linux/arm64"),
        ("FROM {base}:no-such\n", {}, "manifest_unknown", 1, "no-such"),
        ("FROM {base}\n", {"base": {"nothing": "alpine"}}, None, None, "nothing"),
        ("FROM {base}\n", {"target": "nowhere"}, None, None, "nowhere"),
        ("FROM {base}\nFRUM x\n", {}, "dockerfile_syntax", 2, "FRUM"),
        ("FROM {base}\n\nCOPY missing /\n", {}, "missing_in_context", 3, "missing"),
        ("FROM alpine\nRUN true\n", {"platforms": ["linux/mips64le"]}, None, None, "mips64le"),
    ],
)
def test_what_cannot_be_built_is_explained_with_its_place(
    site: Site, dockerfile: str, image: dict[str, Any], code: Optional[str], line: Optional[int], says: str
) -> None:
    site.write(Dockerfile=dockerfile.format(base=site.base("one", "1")))
    try:
        error = site.build({"image": "app", **image}).error
    except BuilderError as raised:
        error = raised
    assert error is not None
    assert error.image is not None
    assert error.image.startswith(site.reference("app"))
    assert says in str(error)
    assert error.hint
    assert code in (None, error.code)
    assert line in (None, error.line)
    assert site.repository("app") not in site.pushed("app").registry.repositories()


@pytest.fixture
def workspace(site: Site) -> Callable[[str], str]:
    """Fetches a repository with the Dockerfile given; the workspace's path."""

    def fetch(dockerfile: str) -> str:
        repository(site.folder / "repository", {"Dockerfile": dockerfile})
        source = {"git_repo": {"url": f"file://{site.folder}/repository"}}
        return fetch_source(accept_source(source)[0], None, Lines(site.told.append)).workspace

    return fetch


def test_a_workspace_outlives_plan_build_and_failure_until_it_is_removed(
    site: Site, workspace: Callable[[str], str]
) -> None:
    path = workspace('FROM alpine\nARG BREAK\nRUN [ -z "$BREAK" ]\n')
    good, bad = {"image": "good"}, {"image": "bad", "build_args": {"BREAK": "1"}}
    assert states(site.build(good, workspace=path, plan_only=True)) == ["pending"]
    made = site.build(good, bad, workspace=path)
    assert states(made) == ["success", "failed"], made.error
    with pytest.raises(BuilderError):
        site.build({**good, "target": "nowhere"}, workspace=path)
    entry = site.build(good, workspace=path).to_dict()["images"][0]
    assert entry["state"] == "unchanged"
    assert states(site.build({**good, "tag": "other"}, workspace=path)) == ["success"]
    # What the build wrote for itself, credentials among it, does not wait for the workspace's removal.
    assert not [file for file in Path(path, "build").rglob("*") if not file.is_dir()]
    assert re.fullmatch("[0-9a-f]{40}", entry["revision"])
    assert remove_source(path)
    assert not remove_source(path)


@pytest.mark.parametrize("fetched", [True, False], ids=["workspace", "context"])
def test_an_interrupted_build_leaves_nothing(
    site: Site, workspace: Callable[[str], str], fetched: bool
) -> None:
    mark = f"6{uuid.uuid4().int % 10**9}"
    site.write(Dockerfile=f"FROM alpine\nRUN sleep {mark}\n")
    path = workspace(f"FROM alpine\nRUN sleep {mark}\n") if fetched else None
    interrupted: list[str] = []

    def interrupt(line: str) -> None:
        if mark in line and not interrupted:
            interrupted.append(line)
            os.kill(os.getpid(), signal.SIGTERM)

    with cancellable():
        made = site.build({"image": "app"}, workspace=path, report=interrupt)
    assert isinstance(made.error, Cancelled)
    assert (made.error.code, states(made)) == ("cancelled", ["cancelled"])
    leaks.wait_until_gone(mark)
    assert path is None or not os.path.exists(path)


def test_a_build_that_takes_too_long_is_ended(site: Site) -> None:
    mark = f"6{uuid.uuid4().int % 10**9}"
    site.write(Dockerfile=f"FROM alpine\nRUN sleep {mark}\n")
    with cancellable():
        made = site.build({"image": "app"}, options={"timeout": 3})
    assert isinstance(made.error, Cancelled)
    assert (made.error.code, states(made)) == ("timeout", ["cancelled"])
    assert "options.timeout" in made.error.hint
    leaks.wait_until_gone(mark)


def test_what_changes_in_the_folder_while_it_is_built_is_not_in_the_image(site: Site) -> None:
    site.write(Dockerfile="FROM alpine\nCOPY app /app\n", app="planned", _dockerignore="x")

    def change(line: str) -> None:
        if line.startswith("building "):
            site.write(app="later")

    built = site.build({"image": "app"}, report=change)
    assert built.error is None
    assert site.pushed("app").read("/app") == "planned"
    assert site.rebuilt({"image": "app"}) == {"app"}
    site.write(app="planned")
    assert site.rebuilt({"image": "app"}) == set()


def test_what_changes_in_the_folder_between_plan_and_copy_is_built_as_what_it_is(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write(Dockerfile="FROM alpine\nCOPY app /app\n", app="planned")

    def late(*parts: Any) -> None:
        site.write(app="later", Dockerfile=site.context.joinpath("Dockerfile").read_text() + "ENV a=b\n")
        snapshot(*parts)

    monkeypatch.setattr(f"{snapshot.__module__}.snapshot", late)
    assert site.build({"image": "app"}).error is None
    assert site.pushed("app").read("/app") == "later"
    assert site.rebuilt({"image": "app"}) == set()


def test_a_build_argument_must_be_known_to_the_dockerfile_or_to_the_onbuild_of_a_base(site: Site) -> None:
    site.write(Dockerfile="FROM alpine\nONBUILD ARG LATER\nONBUILD RUN true\n")
    site.build_ok({"image": "base", "platforms": BOTH})
    site.write(Dockerfile=f"ARG VERSION=1\nFROM {site.reference('base')}\n")
    known = {
        "image": "app",
        "build_args": {"VERSION": "2", "LATER": "x", "HTTP_PROXY": ""},
        "platforms": BOTH,
    }
    wrong = {"image": "other", "build_args": {"VERSON": "2"}, "platforms": BOTH}
    planned = site.build(known, wrong, plan_only=True)
    assert states(planned) == ["pending", "failed"]
    error = planned.results[1].error
    assert error is not None
    assert (error.code, error.hint) == ("unknown_build_arg", "Did you mean VERSION?")


def test_a_base_that_the_dockerfile_leaves_to_the_caller_is_built_on(site: Site) -> None:
    site.write(Dockerfile="ARG BASE\nFROM ${BASE}\nCOPY app /app\n", app="x")
    one, two = site.base("one", "1"), site.base("two", "2")
    by_platform = {"${BASE}": {"linux/amd64": two}}
    made = site.build_ok({"image": "a", "base": one}, {"image": "b", "base": by_platform})
    assert [image["bases"][0]["reference"] for image in made] == [one, two]
    with pytest.raises(DockerfileError, match=r"BASE.* is empty"):
        site.build({"image": "c"}, plan_only=True)


def test_the_plan_ends_with_an_error_on_an_unknown_instruction(site: Site) -> None:
    site.write(Dockerfile="FROM alpine\n\nRUM true\n")
    with pytest.raises(DockerfileError) as caught:
        site.build({"image": "app"}, {"image": "other"}, plan_only=True)
    assert (caught.value.file, caught.value.line) == ("Dockerfile", 3)
    assert caught.value.hint == "Did you mean RUN?"
