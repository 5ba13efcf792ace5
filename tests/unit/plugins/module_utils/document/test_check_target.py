# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import (
    accept_document,
    accept_images,
    accept_source,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.check import (
    check_account,
    check_build,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.document import Document
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.faults import Faults
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.options import Compression
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.target import Cache
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import ParameterError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret

PAYLOADS = Path(__file__).parents[4] / "conformance" / "payloads"
SOURCE = {"git_repo": {"url": "https://git.example.com/team/app.git"}}
REGISTRY = {"url": "registry.example.com:5000"}


def check_document(source: Any, target: Any, options: Any = None) -> Document:
    return accept_document({"source": source, "target": target, "options": options})


def target(**image: Any) -> dict[str, Any]:
    return {"images": [{"image": "team/app", **image}], "registry": REGISTRY}


def image(**given: Any) -> Any:
    """The checked image with the keys ``given``."""
    return accept_images(target(**given))[0].images[0]


def faults(source: Any = SOURCE, wanted: Any = None, options: Any = None) -> list[str]:
    """Every fault of a document; none when it is accepted."""
    try:
        check_document(source, target() if wanted is None else wanted, options)
    except ParameterError as error:
        return error.faults
    return []


def image_faults(**given: Any) -> list[str]:
    return faults(wanted=target(**given))


def git_faults(**given: Any) -> list[str]:
    return faults({"git_repo": {**SOURCE["git_repo"], **given}})


@pytest.mark.parametrize("path", sorted(PAYLOADS.glob("*.json")), ids=lambda path: path.stem)
def test_documents_in_use_are_accepted(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    assert faults(document["source"], document["target"]) == []


def test_every_key_of_a_source_is_kept() -> None:
    given = {
        "url": "https://git.example.com/team/app.git",
        "version": "release/1.0",
        "username": "reader",
        "password": "secret",
        "ssh_key_file": "/keys/id",
        "ssh_known_hosts_file": "/keys/known_hosts",
        "dockerfile": "docker/Dockerfile",
        "workdir": "code",
    }
    checked = accept_source({"git_repo": given})[0]
    assert {**given, "password": Secret("secret")} == {name: getattr(checked, name) for name in given}


def test_a_source_needs_no_more_than_its_address() -> None:
    checked = accept_source(SOURCE)[0]
    assert (checked.version, checked.dockerfile, checked.workdir) == ("HEAD", "Dockerfile", ".")
    assert (checked.username, checked.password) == (None, None)


def test_every_key_of_an_image_is_kept() -> None:
    checked = image(
        tag="1.0",
        tags=["1", "latest", "1.0"],
        base={"first": "alpine:3.18", "final": {"linux/aarch64": "alpine"}},
        platforms=["linux/amd64", "arm64", "linux/arm"],
        build_args={"A": "x${y}", "N": 3, "EMPTY": ""},
        target="build",
        labels={"a.b/c": "two\nlines"},
        annotations={"org.example": "text"},
        no_cache=True,
        pull=True,
        secrets={"token": "text\n"},
        ssh={"default": True, "deploy": "PRIVATE\nKEY"},
        contexts={"lib": "docker-image://alpine:3"},
        cache_from=[
            *("registry.example.com/cache", {"ref": "cache:1"}, {"type": "gha"}),
            {"type": "local", "src": "/srv/cache"},
        ],
        cache_to=[
            "inline",
            {"ref": "cache:1", "mode": "max"},
            "cache:2",
            {"type": "local", "dest": "/srv/c"},
        ],
        network="host",
        add_hosts={"db.example": "10.0.0.1", "two": ["10.0.0.2", "0:0::1"], "me": "host-gateway"},
        shm_size="64M",
        ulimits={"nofile": 1024, "nproc": "5:-1", "core": "-1"},
        no_cache_filter=["Build"],
    )
    assert [str(reference) for reference in checked.references] == [
        "registry.example.com:5000/team/app:1.0",
        "registry.example.com:5000/team/app:1",
        "registry.example.com:5000/team/app:latest",
    ]
    assert checked.name == "registry.example.com:5000/team/app:1.0"
    assert checked.base == {"first": "alpine:3.18", "final": {"linux/arm64": "alpine"}}
    assert [str(platform) for platform in checked.platforms] == ["linux/amd64", "linux/arm64", "linux/arm/v7"]
    assert checked.build_args == {"A": "x${y}", "N": "3", "EMPTY": ""}
    assert checked.target == "build"
    assert checked.labels == {"a.b/c": "two\nlines"}
    assert checked.annotations == {"org.example": "text"}
    assert (checked.no_cache, checked.pull) == (True, True)
    assert checked.secrets == {"token": Secret("text\n")}
    assert checked.ssh == {"default": None, "deploy": Secret("PRIVATE\nKEY")}
    assert {name: str(image) for name, image in checked.contexts.items()} == {
        "lib": "docker.io/library/alpine:3"
    }
    assert checked.cache_from == (
        *(Cache("registry.example.com/cache"), Cache("cache:1"), Cache("", type="gha")),
        Cache("/srv/cache", type="local"),
    )
    assert checked.cache_to == (
        *(Cache("", type="inline"), Cache("cache:1", "max"), Cache("cache:2", "min")),
        Cache("/srv/c", type="local"),
    )
    assert checked.network == "host"
    assert checked.add_hosts == {
        "db.example": ("10.0.0.1",),
        "two": ("10.0.0.2", "::1"),
        "me": ("host-gateway",),
    }
    assert (checked.shm_size, image(shm_size=5).shm_size) == (64 << 20, 5)
    assert checked.ulimits == {"nofile": "1024:1024", "nproc": "5:-1", "core": "-1:-1"}
    assert checked.no_cache_filter == ("build",)


def test_an_image_without_a_tag_is_latest_and_built_for_the_builders_own_platform() -> None:
    assert [reference.tag for reference in image().references] == ["latest"]
    assert image().platforms == ()


def test_tags_alone_do_not_add_latest() -> None:
    assert [reference.tag for reference in image(tags=["1", "2"]).references] == ["1", "2"]


def test_options_are_optional_and_kept() -> None:
    assert accept_images(target(), None)[1] == accept_images(target(), {})[1]
    options = accept_images(target(), {"builder": "kube", "delete_images": True})[1]
    assert (options.builder, options.delete_images) == ("kube", True)


def test_a_compression_has_a_type_that_no_engine_dies_of_and_a_level() -> None:
    for given, expected in (
        ("zstd", Compression("zstd")),
        ({"type": "gzip", "level": 9}, Compression("gzip", 9)),
        ({"type": "zstd", "level": 22}, Compression("zstd", 22)),
    ):
        assert accept_images(target(), {"compression": given})[1].compression == expected
    for wrong, fault in (
        ("estargz", "options.compression: expected gzip or zstd, got 'estargz'"),
        ("zstd,force-compression=false", "options.compression: expected gzip or zstd, got "),
        (["zstd"], "options.compression: expected gzip or zstd, got "),
        ({"level": 3}, "options.compression.type: expected gzip or zstd, got nothing"),
        ({"type": "gzip", "level": 10}, "options.compression.level: expected a whole number from 0 to 9"),
        ({"type": "gzip", "level": "9"}, "options.compression.level: expected a whole number from 0 to 9"),
        ({"type": "gzip", "level": True}, "options.compression.level: expected a whole number from 0 to 9"),
        ({"type": "gzip", "force": 1}, "options.compression.force: unknown key"),
    ):
        with pytest.raises(ParameterError) as caught:
            accept_images(target(), {"compression": wrong})
        assert caught.value.faults[0].startswith(fault), caught.value.faults


def test_nulls_are_the_same_as_keys_left_out() -> None:
    source = {"git_repo": {**SOURCE["git_repo"], **dict.fromkeys(("version", "username", "password"))}}
    names = ("tag", "tags", "base", "platforms", "build_args", "target", "labels", "annotations", "no_cache")
    others = ("pull", "secrets", "cache_from", "cache_to")
    wanted = target(**dict.fromkeys(names + others))
    wanted["registry"] = {**REGISTRY, "username": None, "password": None}
    given = check_document(source, wanted, {"builder": None, "delete_images": None})
    assert given == check_document(SOURCE, target(), None)


@pytest.mark.parametrize(
    ("url", "image", "expected"),
    [
        ("docker.io", "app", "docker.io/library/app:latest"),
        ("docker.io", "team/app", "docker.io/team/app:latest"),
        ("index.docker.io", "team/app", "docker.io/team/app:latest"),
        ("registry.example.com/", "app", "registry.example.com/app:latest"),
        ("registry.example.com/group/project", "app", "registry.example.com/group/project/app:latest"),
        ("127.0.0.1:5000", "app", "127.0.0.1:5000/app:latest"),
        ("[::1]:5000", "app", "[::1]:5000/app:latest"),
    ],
)
def test_the_registrys_address_leads_the_reference(url: str, image: str, expected: str) -> None:
    checked = accept_images({"images": [{"image": image}], "registry": {"url": url}})[0]
    assert str(checked.images[0].references[0]) == expected


def test_every_fault_is_reported_at_once_with_its_path() -> None:
    found = faults(
        {"git_repo": {"url": "ext::sh -c id", "version": 3.10, "workdir": "a/../../b", "brunch": "x"}},
        {
            "images": [
                {"tag": "1"},
                {"image": "app", "platforms": ["linux/", 7], "build_args": {"1A": "x"}, "pull": "yes"},
                "app",
            ],
            "registry": {"url": "no host", "username": "me"},
            "regsitry": {},
        },
        {"builder": "-x"},
    )
    starts = (
        "source.git_repo.brunch: unknown key",
        "source.git_repo.version: expected text, got the number 3.1; put it in quotes",
        "source.git_repo.url: the transport of a git address",
        "source.git_repo.workdir: 'a/../../b' leaves the source",
        "target.regsitry: unknown key; did you mean 'registry'?",
        "target.registry.url: 'no host' is not a registry",
        "target.registry.password: is missing",
        "target.images[0].image: is missing",
        "target.images[1].platforms[0]: 'linux/' is not a platform",
        "target.images[1].platforms[1]: expected text, got the number 7",
        "target.images[1].build_args: '1A' is not the name of an argument",
        "target.images[1].pull: expected true or false, got text",
        "target.images[2]: expected a mapping, got text",
        "options.builder: '-x' is not the name of a builder",
    )
    missing = [start for start in starts if not any(fault.startswith(start) for fault in found)]
    assert not missing, found
    assert len(found) == len(starts), found


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"source": None}, "source: is missing"),
        ({"source": {}}, "source: expected one kind of source: git_repo"),
        ({"source": "https://x/y"}, "source: expected a mapping, got text"),
        ({"source": {"git_rep": {}}}, "source.git_rep: unknown key; did you mean 'git_repo'?"),
        ({"source": {"git": {}}}, "source.git: unknown key; write git_repo"),
        ({"source": {"git_repo": {}}}, "source.git_repo.url: is missing"),
        ({"source": {"git_repo": []}}, "source.git_repo: expected a mapping, got a list"),
        ({"wanted": {"registry": REGISTRY}}, "target.images: is missing"),
        ({"wanted": {"images": [], "registry": REGISTRY}}, "target.images: is missing"),
        ({"wanted": {"images": {}, "registry": REGISTRY}}, "target.images: expected a list, got a mapping"),
        ({"wanted": {"images": [{"image": "a"}]}}, "target.registry: is missing"),
        (
            {"wanted": {"images": [{"image": "a"}], "registry": {}}},
            "target.registry.url: is missing",
        ),
        ({"options": []}, "options: expected a mapping, got a list"),
        (
            {"options": {"delete_images": 1}},
            "options.delete_images: expected true or false, got the number 1",
        ),
    ],
)
def test_a_missing_or_wrong_part_is_named(parts: dict[str, Any], expected: str) -> None:
    assert any(fault.startswith(expected) for fault in faults(**parts)), faults(**parts)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"tag": 3.8}, "target.images[0].tag: expected text, got the number 3.8; put it in quotes"),
        ({"tag": 3}, "target.images[0].tag: expected text, got the number 3; put it in quotes"),
        ({"tag": ""}, "target.images[0].tag: must not be empty"),
        ({"tag": ".1"}, "target.images[0].tag: '.1' is not a tag"),
        ({"tag": "a" * 129}, "target.images[0].tag: 'aaa"),
        ({"tags": "1"}, "target.images[0].tags: expected a list, got text"),
        ({"tags": ["1", True]}, "target.images[0].tags[1]: expected text, got the truth value true"),
        ({"image": "team/App"}, "target.images[0].image: 'team/App' is not a repository name"),
        ({"image": "app:1"}, "target.images[0].image: 'app:1' is not a repository name"),
        ({"image": "a//b"}, "target.images[0].image: 'a//b' is not a repository name"),
        ({"platforms": "linux/amd64"}, "target.images[0].platforms: expected a list, got text"),
        (
            {"platforms": ["linux/amd64", "linux/x86_64"]},
            "target.images[0].platforms[1]: linux/amd64 is listed twice",
        ),
        ({"base": 3}, "target.images[0].base: expected a reference or a mapping, got the number 3"),
        ({"base": {}}, "target.images[0].base: must not be empty"),
        ({"base": "Alpine"}, "target.images[0].base: 'Alpine' is not an image reference"),
        ({"base": {"first": "a:"}}, "target.images[0].base.first: 'a:' is not an image reference"),
        (
            {"base": {"first": {"linux": "alpine"}}},
            "target.images[0].base.first.linux: 'linux' is not a platform",
        ),
        (
            {"base": {"first": {"linux/amd46": "alpine"}}},
            "target.images[0].base.first.linux/amd46: 'linux/amd46' is not a platform",
        ),
        (
            {"platforms": ["linux/amd46"]},
            "target.images[0].platforms[0]: 'linux/amd46' is not a platform: 'amd46' is no architecture that "
            "builders know; did you mean 'amd64'?",
        ),
        ({"build_args": ["A=1"]}, "target.images[0].build_args: expected a mapping, got a list"),
        ({"build_args": {"A": 1.10}}, "target.images[0].build_args.A: expected text, got the number 1.1"),
        ({"build_args": {"A": True}}, "target.images[0].build_args.A: expected text, got the truth value"),
        (
            {"build_args": {"BUILDKIT_CONTEXT_KEEP_GIT_DIR": "1"}},
            "target.images[0].build_args.BUILDKIT_CONTEXT_KEEP_GIT_DIR: has no effect",
        ),
        ({"build_args": {"A": {}}}, "target.images[0].build_args.A: expected text, got a mapping"),
        (
            {"build_args": {1: "x"}},
            "target.images[0].build_args: the key 1 is the number 1; put it in quotes",
        ),
        ({"target": "a b"}, "target.images[0].target: 'a b' is not the name or index of a stage"),
        ({"target": 1}, "target.images[0].target: expected text, got the number 1; put it in quotes"),
        ({"labels": {"a b": "x"}}, "target.images[0].labels: 'a b' is not the name of a label"),
        (
            {"annotations": {"index,manifest[linux/amd64]:org.example.title": "x"}},
            "target.images[0].annotations: 'index,manifest[linux/amd64]:org.example.title' begins with "
            "'index,manifest[linux/amd64]:', by which buildx chooses where an annotation goes; "
            "write 'org.example.title', which goes to the index and to each manifest",
        ),
        (
            {"annotations": {"a=b": "x"}},
            "target.images[0].annotations: 'a=b' is not the name of an annotation",
        ),
        ({"no_cache": "no"}, "target.images[0].no_cache: expected true or false, got text"),
        ({"secrets": {"a,b": "x"}}, "target.images[0].secrets: 'a,b' is not the id of a secret"),
        ({"ssh": {"a": False}}, "target.images[0].ssh.a: give text, {env: NAME} or {file: PATH}"),
        ({"ssh": {"a=/etc": True}}, "target.images[0].ssh: 'a=/etc' is not the id of an agent"),
        ({"contexts": {"a": "alpine"}}, "target.images[0].contexts.a: expected docker-image:// and the ref"),
        ({"contexts": {"a": "docker-image://A"}}, "target.images[0].contexts.a: 'A' is not an image ref"),
        ({"contexts": {"a b": "docker-image://a"}}, "target.images[0].contexts: 'a b' is not the name of a"),
        ({"secrets": {"a": 1}}, "target.images[0].secrets.a: give text, {env: NAME} or {file: PATH}"),
        ({"cache_from": ["inline,x"]}, "target.images[0].cache_from[0].ref: 'inline,x' is not an image"),
        ({"cache_from": [{"mode": "max"}]}, "target.images[0].cache_from[0].mode: unknown key"),
        (
            {"cache_to": [{"ref": "a", "mode": "most"}]},
            "target.images[0].cache_to[0].mode: expected min or max",
        ),
        # That compression kills Docker Engine 28.5: no value may carry an attribute of BuildKit's along.
        (
            {"cache_to": ["cache:1,compression=estargz"]},
            "target.images[0].cache_to[0].ref: 'cache:1,compression=estargz' is not an image",
        ),
        (
            {"cache_from": [{"ref": "cache:1,compression=estargz"}]},
            "target.images[0].cache_from[0].ref: 'cache:1,compression=estargz' is not an image",
        ),
        (
            {"cache_to": [{"ref": "a", "compression": "estargz"}]},
            "target.images[0].cache_to[0].compression: unknown key",
        ),
        (
            {"cache_to": [{"ref": "a", "mode": "max,compression=estargz"}]},
            "target.images[0].cache_to[0].mode: expected min or max",
        ),
        (
            {"network": "bridge"},
            "target.images[0].network: expected one of default, none, host, got 'bridge'",
        ),
        ({"add_hosts": {"a,b": "::1"}}, "target.images[0].add_hosts: 'a,b' is not the name of a host"),
        ({"add_hosts": {"a": "1.2.3"}}, "target.images[0].add_hosts.a: '1.2.3' is not an IP address"),
        ({"add_hosts": {"a": ["::1", "b=1"]}}, "target.images[0].add_hosts.a[1]: 'b=1' is not an IP"),
        ({"add_hosts": {"a": []}}, "target.images[0].add_hosts.a: must not be empty"),
        ({"shm_size": "64x"}, "target.images[0].shm_size: expected a size"),
        ({"shm_size": 0}, "target.images[0].shm_size: expected a size"),
        ({"shm_size": "9999g"}, "target.images[0].shm_size: expected a size"),
        ({"ulimits": {"files": 1}}, "target.images[0].ulimits: 'files' is not one of core, "),
        ({"ulimits": {"nofile": "2:1"}}, "target.images[0].ulimits.nofile: expected a number, or soft:hard"),
        ({"ulimits": {"nofile": "-1:1"}}, "target.images[0].ulimits.nofile: expected a number, or soft:hard"),
        ({"no_cache_filter": ["a,b"]}, "target.images[0].no_cache_filter[0]: 'a,b' is not the name of a"),
        ({"cache_from": ["inline", {"type": "inline"}]}, "target.images[0].cache_from[1].type: expected one"),
        (
            {"cache_to": [{"type": "s3"}]},
            "target.images[0].cache_to[0].type: expected one of registry, local",
        ),
        ({"cache_to": [{"type": "local", "src": "/c"}]}, "target.images[0].cache_to[0].src: unknown key"),
        ({"cache_to": [{"type": "local", "dest": "c"}]}, "target.images[0].cache_to[0].dest: 'c' is not abs"),
        (
            {"cache_from": [{"type": "local", "src": "/c,mode=max"}]},
            "target.images[0].cache_from[0].src: must not contain a comma",
        ),
        (
            {"cache_from": [{"type": "gha", "scope": "a,token=x"}]},
            "target.images[0].cache_from[0].scope: 'a,token=x' is not a scope",
        ),
        ({"cache_to": [None]}, "target.images[0].cache_to[0]: expected a mapping, got nothing"),
        ({"plattforms": []}, "target.images[0].plattforms: unknown key; did you mean 'platforms'?"),
        ({"qq": 1}, "target.images[0].qq: unknown key; known are image, tag, tags, base"),
    ],
)
def test_a_fault_of_an_image_is_named(given: dict[str, Any], expected: str) -> None:
    found = image_faults(**given)
    assert any(fault.startswith(expected) for fault in found), found


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"version": "--upload-pack=x"}, "source.git_repo.version: '--upload-pack=x' is not a branch"),
        ({"version": "a..b"}, "source.git_repo.version: 'a..b' is not a branch"),
        ({"version": "a@{1}"}, "source.git_repo.version: 'a@{1}' is not a branch"),
        ({"dockerfile": "/etc/passwd"}, "source.git_repo.dockerfile: '/etc/passwd' leaves the source"),
        ({"workdir": ".."}, "source.git_repo.workdir: '..' leaves the source"),
        ({"username": "me"}, "source.git_repo.password: is missing; a username alone gives no access"),
        ({"password": "two\nlines"}, "source.git_repo.password: must not contain line ends"),
        ({"password": {"env": "IMAGE_BUILDER_UNSET"}}, "source.git_repo.password: the environment variable"),
        (
            {"password": {"file": "/nonexistent/x"}},
            "source.git_repo.password: the file /nonexistent/x cannot",
        ),
    ],
)
def test_a_fault_of_a_git_repository_is_named(given: dict[str, Any], expected: str) -> None:
    found = git_faults(**given)
    assert any(fault.startswith(expected) for fault in found), found


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"username": "me"}, "registry.password: is missing"),
        ({"password": "x"}, "registry.username: is missing"),
        ({"username": "a:b", "password": "x"}, "registry.username: must not contain a colon"),
        ({"url": "host/path"}, "registry.url: expected only a host and a port"),
        (
            {"url": "http://127.0.0.1:5000"},
            "registry.url: 'http://127.0.0.1:5000' is not a registry; write 127",
        ),
        (
            {"url": "https://index.docker.io/v1/"},
            "registry.url: 'https://index.docker.io/v1/' is not a registry",
        ),
        ({"url": "host:0"}, "registry.url: 'host:0' is not a registry"),
        ({"url": "host:65536"}, "registry.url: 'host:65536' is not a registry"),
        ({"url": "user@host"}, "registry.url: the address of a registry carries no account"),
        ({"url": "-host"}, "registry.url: '-host' is not a registry"),
        ({"url": "host:port"}, "registry.url: 'host:port' is not a registry"),
    ],
)
def test_a_fault_of_a_registry_account_is_named(given: dict[str, Any], expected: str) -> None:
    found = Faults()
    check_account(found, {**REGISTRY, **given})
    assert any(fault.startswith(expected) for fault in found), found


def test_two_images_with_one_reference_are_a_fault_that_names_both() -> None:
    images = [{"image": "a"}, {"image": "b"}, {"image": "a", "tags": ["1", "latest"]}]
    assert faults(wanted={"images": images, "registry": REGISTRY}) == [
        "target.images[2]: registry.example.com:5000/a:latest is the reference of target.images[0] too"
    ]


def test_a_fault_never_repeats_a_password() -> None:
    found = faults(
        {"git_repo": {"url": "https://me:hunter2@host/app", "password": {"text": "hunter2"}}},
        {
            "images": [{"image": "a", "secrets": {"x": ["hunter2"], "y": {"file": "/x", "env": "hunter2"}}}],
            "registry": {"url": "https://me:hunter2@host", "username": "me", "password": "hunter2\n"},
        },
    )
    assert len(found) == 6
    assert "hunter2" not in "".join(found)


def test_secrets_are_read_from_text_environment_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGE_BUILDER_TEST_TOKEN", "from the environment")
    file = tmp_path / "token"
    file.write_text("from the file\n", encoding="utf-8")
    given = {"a": "text", "b": {"env": "IMAGE_BUILDER_TEST_TOKEN"}, "c": {"file": str(file)}}
    checked = image(secrets=given)
    assert {name: secret.reveal() for name, secret in checked.secrets.items()} == {
        "a": "text",
        "b": "from the environment",
        "c": "from the file",
    }


def test_a_document_can_be_handed_on_with_its_secrets_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGE_BUILDER_TEST_TOKEN", "token")
    file = tmp_path / "key"
    file.write_text("key\n", encoding="utf-8")
    env, path = {"env": "IMAGE_BUILDER_TEST_TOKEN"}, {"file": str(file)}
    source = {"git_repo": {**SOURCE["git_repo"], "password": path}}
    # Only secrets are read: the same words elsewhere are text.
    wanted = {
        "images": [
            {"image": "a", "secrets": {"k": path, "t": "text"}, "build_args": {"env": "x"}},
            {"image": "b"},
        ],
        "registry": {**REGISTRY, "username": "me", "password": env},
    }
    before = json.dumps([source, wanted])
    raw = check_document(source, wanted).raw
    read_source, read_target = raw["source"], raw["target"]
    assert read_source["git_repo"] == {**SOURCE["git_repo"], "password": "key"}
    assert read_target["registry"] == {**REGISTRY, "username": "me", "password": "token"}
    assert read_target["images"] == [
        {"image": "a", "secrets": {"k": "key", "t": "text"}, "build_args": {"env": "x"}},
        {"image": "b"},
    ]
    assert json.dumps([source, wanted]) == before
    assert check_document(read_source, read_target) == check_document(source, wanted)


def test_what_concerns_a_dockerfile_can_be_checked_without_a_name() -> None:
    checked, native = check_build({"base": "alpine", "platforms": ["arm64"], "target": "1"}, "linux/x86_64")
    assert native == Platform("linux", "amd64")
    assert (checked.base, checked.target) == ("alpine", "1")
    with pytest.raises(ParameterError) as caught:
        check_build({"base": "A", "target": "-", "tag": "1"}, "x y")
    assert sorted(fault.partition(":")[0] for fault in caught.value.faults) == [
        "base",
        "build_platform",
        "image.tag",
        "target",
    ]


FREE = ("build_args", "labels", "annotations", "secrets")


@pytest.mark.parametrize("free", FREE)
@pytest.mark.parametrize(
    ("text", "accepted"), [("a\n{{ b }}${c}%{d}", True), ("a\0b", False), ("\ud800", False)]
)
def test_free_text_is_any_text_that_a_program_can_be_given(free: str, text: str, accepted: bool) -> None:
    assert (not image_faults(**{free: {"name": text}})) is accepted


def test_the_environment_can_name_nothing_that_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGE_BUILDER_TEST_TOKEN", "a\udcffb")
    assert git_faults(password={"env": "IMAGE_BUILDER_TEST_TOKEN"})


def test_a_key_of_the_users_own_has_a_value() -> None:
    for key in ("build_args", "labels", "annotations", "secrets", "base"):
        (fault,) = image_faults(**{key: {"A": None}})
        assert fault == f"target.images[0].{key}.A: has no value; give one, or leave the key out"


def test_the_index_of_a_stage_may_be_a_number() -> None:
    assert image(base={0: "alpine", "1": "alpine:3"}).base == {"0": "alpine", "1": "alpine:3"}
    (fault,) = image_faults(base={1: "alpine", "1": "alpine:3"})
    assert fault.startswith("target.images[0].base.1: is given twice")


def test_of_a_thousand_faults_a_hundred_are_told_and_each_once() -> None:
    with pytest.raises(ParameterError) as caught:
        accept_document({**dict.fromkeys(map(str, range(1000)), 1), "source": SOURCE, "target": target()})
    assert caught.value.message == "The document has 1000 faults."
    assert len(set(caught.value.faults)) == len(caught.value.faults) == 101
    assert caught.value.faults[-1] == "and 900 more"
    assert ParameterError(["a: b", "a: b"]).faults == ["a: b"]


def test_an_annotations_name_may_look_like_a_level_elsewhere() -> None:
    names = ("org.example.index:x", "indexes:x", "index", "labels:manifest:x")
    assert image_faults(annotations=dict.fromkeys(names, "")) == []
