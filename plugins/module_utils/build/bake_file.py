# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The bake file: one target for each image of a request, for one ``buildx bake``.

Rules: the Docker Buildx bake file reference (JSON form). Its strings are HCL templates,
in values and in keys, so ``${`` and ``%{`` are escaped everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ..dockerfile.build_args import of_time
from ..document.options import Compression, Options
from ..document.target import Cache, Image
from ..oci.platform import Platform
from ..secret import Secret

#: What bake must be told to allow, beside the file that asks for it.
HOST_NETWORK = "network.host"


@dataclass(frozen=True)
class Target:
    """What one bake target needs beside its image.

    ``key`` is the target's name in the bake file, ``stage`` the stage to build where it is not the last.
    ``dockerfile`` is the path of its Dockerfile; ``contexts`` are BuildKit's named contexts that stand for
    the base images there. ``description`` says where the image comes from, in labels and annotations under
    the user's own, and ``emptied`` are labels below those. ``record`` are annotations of the whole only,
    for a later run. ``attest`` lists the
    attestations to add. Without ``push`` it is only built, into the build cache; with ``cached`` it comes
    from there, whatever the image says of it. ``engines_own`` is whether an engine's own builder builds it.
    Unless ``kept``, the builder does not keep the image in its store. ``rewrite_timestamps`` gives the
    files of an image that is not kept the time ``source_date_epoch`` at the latest, which is 0 where there
    is none. ``compression`` is for all layers, those of its bases too. ``ssh`` are the paths of the
    image's private keys by their ids, empty for the user's agent. ``build_args`` go before the image's.
    """

    key: str
    image: Image
    dockerfile: str
    stage: Optional[str]
    platforms: tuple[Platform, ...]
    contexts: Mapping[str, str]
    description: Mapping[str, str]
    record: Mapping[str, str]
    attest: tuple[str, ...]
    source_date_epoch: int
    emptied: tuple[str, ...] = ()
    push: bool = True
    cached: bool = False
    engines_own: bool = False
    kept: bool = True
    rewrite_timestamps: bool = False
    compression: Optional[Compression] = None
    ssh: Mapping[str, str] = field(default_factory=dict)
    build_args: Mapping[str, str] = field(default_factory=dict)


def bake_file(context: str, targets: Sequence[Target]) -> dict[str, Any]:
    """The bake file as JSON data; secrets stand in it by the names of ``secret_environment`` only."""
    content = {
        "group": {"default": {"targets": [target.key for target in targets]}},
        "target": {target.key: _target(context, target) for target in targets},
    }
    escaped: dict[str, Any] = _escape(content)
    return escaped


def attestations(options: Options) -> tuple[str, ...]:
    """The attestations that ``options`` ask for, as BuildKit names them."""
    found = () if options.provenance == "off" else (f"type=provenance,mode={options.provenance}",)
    return (*found, "type=sbom") if options.sbom else found


def secret_environment(targets: Sequence[Target]) -> dict[str, str]:
    """The environment variables that carry the build secrets to buildx."""
    return {
        _secret_variable(target, number): secret.reveal()
        for target in targets
        for number, secret in enumerate(target.image.secrets.values())
    }


def secrets(targets: Sequence[Target]) -> list[Secret]:
    """Every build secret and key of ``targets``."""
    return [secret for target in targets for secret in target.image.hidden]


def _target(context: str, target: Target) -> dict[str, Any]:
    image = target.image
    epoch = of_time(target.source_date_epoch)
    content: dict[str, Any] = {
        "context": context,
        "dockerfile": target.dockerfile,
        "contexts": dict(target.contexts),
        "platforms": [str(platform) for platform in target.platforms],
        "tags": [str(reference) for reference in image.references],
        "args": {**epoch, **image.build_args, **target.build_args},
        "labels": {**dict.fromkeys(target.emptied, ""), **target.description, **image.labels},
        "annotations": _annotations(target),
        "attest": list(target.attest),
        "output": [_output(target)],
        "no-cache": image.no_cache and not target.cached,
        "no-cache-filter": [] if target.cached else list(image.no_cache_filter),
        "extra-hosts": {name: ",".join(addresses) for name, addresses in image.add_hosts.items()},
        "ulimits": [f"{name}={limit}" for name, limit in sorted(image.ulimits.items())],
        "pull": image.pull,
        "secret": [
            f"id={name},env={_secret_variable(target, number)}" for number, name in enumerate(image.secrets)
        ],
        "ssh": [f"{name}={path}" if path else name for name, path in target.ssh.items()],
        "cache-from": [_cache(cache, "src") for cache in image.cache_from],
    }
    if target.push:
        content["cache-to"] = [
            "type=inline"
            if cache.type == "inline"
            else f"{_cache(cache, 'dest')},mode={cache.mode},ignore-error=true"
            for cache in image.cache_to
        ]
    if target.stage is not None:
        content["target"] = target.stage
    if image.network != "default":
        content["network"] = image.network
    if image.shm_size:
        content["shm-size"] = str(image.shm_size)
    if image.network == "host":
        content["entitlements"] = [HOST_NETWORK]
    return {key: value for key, value in content.items() if value not in ({}, [], False)}


def _output(target: Target) -> str:
    if not target.push:
        return "type=cacheonly"
    # What an engine's own builder is told to push by a word, buildx before 0.22 pushes itself: by tag, from
    # the engine's store, whatever stands there by then. No word is the same to BuildKit, none to buildx.
    push = "" if target.engines_own else "true"
    output = f"type=image,push={push},oci-mediatypes=true{_compression(target.compression)}"
    if target.kept:
        return output
    # BuildKit cannot rewrite what it also unpacks into its store.
    rewriting = "rewrite-timestamp=true," if target.rewrite_timestamps else ""
    return f"{output},{rewriting}unpack=false,store=false"


def _compression(wanted: Optional[Compression]) -> str:
    """Layers of a cache or a base are made again: what is pushed depends on the document alone."""
    if wanted is None:
        return ""
    level = "" if wanted.level is None else f",compression-level={wanted.level}"
    return f",compression={wanted.type}{level},force-compression=true"


def _annotations(target: Target) -> list[str]:
    """BuildKit makes an index only for several manifests and refuses annotations of an absent one."""
    has_index = len(target.platforms) > 1 or bool(target.attest)
    levels = ("index", "manifest") if has_index else ("manifest",)
    texts = {**target.description, **target.image.annotations}
    everywhere = [f"{level}:{key}={value}" for level in levels for key, value in texts.items()]
    return everywhere + [f"{levels[0]}:{key}={value}" for key, value in target.record.items()]


def _cache(cache: Cache, folder: str) -> str:
    """``folder`` is what BuildKit calls that of a local cache."""
    keys = {"registry": "ref", "local": folder, "gha": "scope"}
    place = f",{keys[cache.type]}={cache.place}" if cache.place else ""
    return f"type={cache.type}{place}"


def _secret_variable(target: Target, number: int) -> str:
    return f"IMAGE_BUILDER_SECRET_{target.key.upper()}_{number}".replace("-", "_")


def _escape(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("${", "$${").replace("%{", "%%{")
    if isinstance(value, dict):
        return {_escape(key): _escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escape(item) for item in value]
    return value
