# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Optional

from ansible_collections.sodalite.image_builder.plugins.module_utils.build.bake_file import (
    Target,
    bake_file,
    secret_environment,
    secrets,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.options import Compression
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.target import Cache, Image
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def target(
    key: str = "image-0",
    platforms: tuple[Platform, ...] = (AMD64, ARM64),
    stage: Optional[str] = None,
    attest: tuple[str, ...] = (),
    **image: Any,
) -> Target:
    references = (
        Reference.parse("registry.example.com/app:1"),
        Reference.parse("registry.example.com/app:2"),
    )
    return Target(
        key,
        Image(references, **image),
        "/d/Dockerfile",
        stage,
        platforms,
        {"b": "docker-image://x"},
        {"source": "s"},
        {"hash": "h"},
        attest,
        7,
    )


def content(wanted: Target) -> dict[str, Any]:
    found: dict[str, Any] = bake_file("/context", [wanted])["target"][wanted.key]
    return found


def test_an_image_is_kept_by_the_engine_or_not_and_its_timestamps_are_rewritten_only_if_asked_for() -> None:
    assert content(replace(target(), kept=False))["output"] == [
        "type=image,push=true,oci-mediatypes=true,unpack=false,store=false"
    ]
    unkept = replace(target(), kept=False, rewrite_timestamps=True)
    assert content(unkept)["output"] == [
        "type=image,push=true,oci-mediatypes=true,rewrite-timestamp=true,unpack=false,store=false"
    ]
    own = replace(unkept, engines_own=True)
    assert content(own)["output"] == [
        "type=image,push=,oci-mediatypes=true,rewrite-timestamp=true,unpack=false,store=false"
    ]
    compressed = replace(unkept, compression=Compression("zstd", 3))
    assert content(compressed)["output"] == [
        "type=image,push=true,oci-mediatypes=true,compression=zstd,compression-level=3,force-compression=true,"
        "rewrite-timestamp=true,unpack=false,store=false"
    ]
    built_only = replace(unkept, push=False)
    assert content(built_only)["output"] == ["type=cacheonly"]


def test_an_image_becomes_a_target_that_is_pushed() -> None:
    assert content(target()) == {
        "context": "/context",
        "dockerfile": "/d/Dockerfile",
        "contexts": {"b": "docker-image://x"},
        "platforms": ["linux/amd64", "linux/arm64"],
        "tags": ["registry.example.com/app:1", "registry.example.com/app:2"],
        "args": {"SOURCE_DATE_EPOCH": "7"},
        "labels": {"source": "s"},
        "annotations": ["index:source=s", "manifest:source=s", "index:hash=h"],
        "output": ["type=image,push=true,oci-mediatypes=true"],
    }


def test_what_the_document_asks_for_is_in_the_target() -> None:
    made = content(
        target(
            stage="build",
            build_args={"A": "1", "SOURCE_DATE_EPOCH": "9"},
            labels={"l": "x"},
            annotations={"a": "y"},
            no_cache=True,
            pull=True,
            cache_from=(
                Cache("registry.example.com/cache"),
                Cache("/c", type="local"),
                Cache("", type="gha"),
            ),
            cache_to=(
                *(Cache("", type="inline"), Cache("registry.example.com/cache", "max")),
                *(Cache("/c", type="local"), Cache("a", type="gha")),
            ),
        )
    )
    assert made["target"] == "build"
    assert made["args"] == {"A": "1", "SOURCE_DATE_EPOCH": "9"}
    assert made["labels"] == {"l": "x", "source": "s"}
    assert made["annotations"] == [
        "index:source=s",
        "index:a=y",
        "manifest:source=s",
        "manifest:a=y",
        "index:hash=h",
    ]
    assert (made["no-cache"], made["pull"]) == (True, True)
    assert made["cache-from"] == [
        "type=registry,ref=registry.example.com/cache",
        "type=local,src=/c",
        "type=gha",
    ]
    # A cache that cannot be written is no reason to fail.
    assert made["cache-to"] == [
        "type=inline",
        "type=registry,ref=registry.example.com/cache,mode=max,ignore-error=true",
        "type=local,dest=/c,mode=min,ignore-error=true",
        "type=gha,scope=a,mode=min,ignore-error=true",
    ]


def test_what_steps_are_to_have_is_in_the_target_and_left_out_where_nobody_asks() -> None:
    asked = target(
        network="host",
        add_hosts={"db": ("10.0.0.1", "::1")},
        shm_size=1 << 20,
        ulimits={"nproc": "1:-1", "nofile": "1:2"},
        no_cache_filter=("build",),
    )
    plain = content(target())
    assert {key: value for key, value in content(asked).items() if key not in plain} == {
        "network": "host",
        "entitlements": ["network.host"],
        "extra-hosts": {"db": "10.0.0.1,::1"},
        "shm-size": "1048576",
        "ulimits": ["nofile=1:2", "nproc=1:-1"],
        "no-cache-filter": ["build"],
    }
    assert "no-cache-filter" not in content(replace(asked, cached=True))


def test_private_keys_are_named_by_their_paths_and_the_agent_by_its_id() -> None:
    made = replace(target(ssh={"default": None, "own": Secret("KEY")}), ssh={"default": "", "own": "/d/key"})
    assert content(made)["ssh"] == ["default", "own=/d/key"]
    assert secrets([made]) == [Secret("KEY")]


def test_an_image_for_one_platform_has_no_index_to_annotate() -> None:
    made = content(target(platforms=(ARM64,), annotations={"a": "y"}))
    assert made["annotations"] == ["manifest:source=s", "manifest:a=y", "manifest:hash=h"]


def test_all_targets_are_built_by_default() -> None:
    made = bake_file("/context", [target("image-0"), target("image-1")])
    assert made["group"] == {"default": {"targets": ["image-0", "image-1"]}}


def test_secrets_reach_buildx_in_the_environment_only() -> None:
    wanted = [
        target("image-0", secrets={"token": Secret("hunter2"), "key": Secret("two\nlines")}),
        target("image-1", secrets={"token": Secret("other")}),
    ]
    text = json.dumps(bake_file("/context", wanted))
    assert all(secret.reveal() not in text for secret in secrets(wanted))
    environment = secret_environment(wanted)
    assert sorted(environment.values()) == ["hunter2", "other", "two\nlines"]
    for made, count in zip(wanted, (2, 1), strict=True):
        variables = [entry.partition(",env=")[2] for entry in content(made)["secret"]]
        assert [environment[name] for name in variables] == [s.reveal() for s in secrets([made])]
        assert len(variables) == count
