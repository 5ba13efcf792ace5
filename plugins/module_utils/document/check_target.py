# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The target of a document, checked: the images, and the registry that they go to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Optional

from ..oci.platform import Platform
from ..oci.reference import DOCKER_HUB, Reference, is_registry_host, is_repository_path, is_tag
from ..secret import Secret
from .argument_spec import IMAGE, REGISTRY, TARGET
from .check_cache import check_caches
from .check_steps import check_steps
from .faults import Faults, kind_of
from .secrets import refer_to_secret
from .target import Image, Override, RegistryAccount, Target

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_CONTEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:@-]*\Z")
_IMAGE_CONTEXT = "docker-image://"
# Of BuildKit, for contexts that it fetches itself.
_KEEP_GIT_DIR = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def check_target(faults: Faults, raw: Any) -> Optional[Target]:
    if raw is None:
        faults.add("target", "is missing; it says which images to build and where to push them")
        return None
    parts = faults.mapping("target", raw, TARGET)
    account, prefix = check_registry(faults, "target.registry", parts.get("registry"))
    items = faults.sequence("target.images", parts.get("images"))
    if not items and (parts.get("images") is None or isinstance(parts["images"], (list, tuple))):
        faults.add("target.images", "is missing; give at least one image")
    images = [_image(faults, f"target.images[{n}]", item, account, prefix) for n, item in enumerate(items)]
    owners: dict[str, int] = {}
    for number, image in enumerate(images):
        for reference in image.references if image else ():
            first = owners.setdefault(str(reference), number)
            if first != number:
                faults.add(
                    f"target.images[{number}]", f"{reference} is the reference of target.images[{first}] too"
                )
    if account is None:
        return None
    return Target(tuple(image for image in images if image), account)


def check_registry(faults: Faults, path: str, raw: Any) -> tuple[Optional[RegistryAccount], str]:
    """The account, and the folder in the registry that ``url`` names after its host."""
    if raw is None:
        faults.add(path, "is missing; give at least its url, such as docker.io")
        return None, ""
    parts = faults.mapping(path, raw, REGISTRY)
    if "url" not in parts:
        faults.add(f"{path}.url", "is missing")
    url = faults.text(f"{path}.url", parts["url"]) if "url" in parts else None
    host, prefix = faults.attempt(f"{path}.url", _registry_place, url) or ("", "") if url else ("", "")
    username = faults.text(f"{path}.username", parts["username"]) if "username" in parts else None
    password = refer_to_secret(faults, f"{path}.password", parts.get("password"))
    if username and "password" not in parts:
        faults.add(f"{path}.password", "is missing; a username alone gives no access")
    if username is None and "username" not in parts and "password" in parts:
        faults.add(f"{path}.username", "is missing; a password alone gives no access")
    if username and ":" in username:
        faults.add(f"{path}.username", "must not contain a colon")
    return (RegistryAccount(host, username, password), prefix) if host else (None, "")


def _registry_place(url: str) -> tuple[str, str]:
    """Host and folder of a registry's ``url``. Raises ``ValueError``, which never repeats a credential."""
    if "@" in url:
        raise ValueError("the address of a registry carries no account; give it as username and password")
    scheme, has_scheme, rest = url.rpartition("://")
    host, _, prefix = rest.rstrip("/").partition("/")
    if host in ("index.docker.io", "registry-1.docker.io", "hub.docker.com"):
        host, prefix = DOCKER_HUB, ""
    if not is_registry_host(host) or (prefix and not is_repository_path(prefix)):
        raise ValueError(f"{url!r} is not a registry; write host or host:port")
    if has_scheme:
        raise ValueError(
            f"{url!r} is not a registry; write {f'{host}/{prefix}' if prefix else host}, without {scheme}://"
        )
    return host, prefix


_ANY_KEY = re.compile(r"[^\s=\x00-\x1f]+\Z")
# What buildx reads before an annotation's name. Source: docker/buildx, util/buildflags (annotationRegexp) and
# moby/buildkit, exporter/containerimage/exptypes (the levels).
_LEVEL = r"(?:index|manifest)(?:-descriptor)?(?:\[[^\]:]*\])?"
_LEVELS = re.compile(rf"{_LEVEL}(?:,{_LEVEL})*:")


def _image(
    faults: Faults, path: str, raw: Any, account: Optional[RegistryAccount], prefix: str
) -> Optional[Image]:
    parts = faults.mapping(path, raw, IMAGE)
    if not isinstance(raw, Mapping):
        return None
    repository = _repository(faults, path, parts, account, prefix)
    tags = _tags(faults, path, parts)
    image = Image(
        references=tuple(Reference(account.host, repository, tag) for tag in tags if account and repository),
        **check_dockerfile_keys(faults, f"{path}.", parts),
        labels=faults.texts(
            f"{path}.labels", parts.get("labels", {}), key=_ANY_KEY, what="the name of a label"
        ),
        annotations=_annotations(faults, f"{path}.annotations", parts.get("annotations", {})),
        no_cache=faults.flag(f"{path}.no_cache", parts.get("no_cache", False)),
        pull=faults.flag(f"{path}.pull", parts.get("pull", False)),
        secrets=_secrets(faults, f"{path}.secrets", parts.get("secrets", {})),
        contexts=_contexts(faults, f"{path}.contexts", parts.get("contexts", {})),
        ssh=_ssh(faults, f"{path}.ssh", parts.get("ssh", {})),
        cache_from=check_caches(faults, f"{path}.cache_from", parts.get("cache_from"), to=False),
        cache_to=check_caches(faults, f"{path}.cache_to", parts.get("cache_to"), to=True),
        **check_steps(faults, path, parts),
    )
    return image if image.references else None


def check_dockerfile_keys(faults: Faults, prefix: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an image that decide how its Dockerfile is read."""
    target = faults.text(f"{prefix}target", parts["target"]) if "target" in parts else None
    if target is not None and not _NAME.match(target):
        faults.add(f"{prefix}target", f"{target!r} is not the name or index of a stage")
    arguments = parts.get("build_args", {})
    if isinstance(arguments, Mapping) and str(arguments.get(_KEEP_GIT_DIR)).lower() in ("1", "t", "true"):
        faults.add(
            f"{prefix}build_args.{_KEEP_GIT_DIR}",
            "has no effect, since the build context is the files of a commit without the folder .git; "
            "give what the build needs to know of the commit as arguments of its own",
        )
    return {
        "base": _override(faults, f"{prefix}base", parts["base"]) if "base" in parts else None,
        "platforms": _platforms(faults, f"{prefix}platforms", parts.get("platforms")),
        "build_args": faults.texts(
            f"{prefix}build_args", arguments, key=_ARGUMENT, what="the name of an argument"
        ),
        "target": target,
    }


def _repository(
    faults: Faults, path: str, parts: Mapping[str, Any], account: Optional[RegistryAccount], prefix: str
) -> str:
    if "image" not in parts:
        faults.add(f"{path}.image", "is missing")
        return ""
    name = faults.text(f"{path}.image", parts["image"])
    if name is None:
        return ""
    if not is_repository_path(name):
        hint = "; write the tag as tag" if ":" in name else ""
        faults.add(
            f"{path}.image",
            f"{name!r} is not a repository name; use lower-case letters and digits with single . _ - "
            f"or / between them{hint}",
        )
        return ""
    if account is None:
        return ""
    repository = f"{prefix}/{name}" if prefix else name
    return f"library/{repository}" if account.host == DOCKER_HUB and "/" not in repository else repository


def _tags(faults: Faults, path: str, parts: Mapping[str, Any]) -> list[str]:
    places = [(f"{path}.tag", parts["tag"])] if "tag" in parts else []
    places += [
        (f"{path}.tags[{n}]", tag) for n, tag in enumerate(faults.sequence(f"{path}.tags", parts.get("tags")))
    ]
    tags: list[str] = []
    for where, value in places:
        tag = faults.text(where, value)
        if tag is not None and not is_tag(tag):
            faults.add(
                where,
                f"{tag!r} is not a tag; use up to 128 letters, digits and _ . -, with no . or - first",
            )
        elif tag is not None and tag not in tags:
            tags.append(tag)
    return tags if places else ["latest"]


def _platforms(faults: Faults, path: str, value: Any) -> tuple[Platform, ...]:
    found: list[Platform] = []
    for number, item in enumerate(faults.sequence(path, value)):
        where = f"{path}[{number}]"
        text = faults.text(where, item)
        platform = faults.attempt(where, Platform.parse_known, text) if text is not None else None
        if platform is not None and platform in found:
            faults.add(where, f"{platform} is listed twice")
        elif platform is not None:
            found.append(platform)
    return tuple(found)


def _override(faults: Faults, path: str, value: Any) -> Optional[Override]:
    if isinstance(value, str):
        return _base_reference(faults, path, value)
    override: dict[str, Any] = {}
    if not isinstance(value, Mapping):
        faults.add(path, f"expected a reference or a mapping, got {kind_of(value)}")
    elif not value:
        faults.add(path, "must not be empty")
    else:
        value = _by_name(faults, path, value)
    for key, item in faults.mapping(path, value).items() if isinstance(value, Mapping) else ():
        where = f"{path}.{key}"
        if isinstance(item, Mapping):
            override[key] = {
                str(faults.attempt(f"{where}.{platform}", Platform.parse_known, platform)): _base_reference(
                    faults, f"{where}.{platform}", reference
                )
                for platform, reference in faults.mapping(where, item).items()
            }
        else:
            override[key] = _base_reference(faults, where, item)
    return override


def _by_name(faults: Faults, path: str, value: Mapping[Any, Any]) -> dict[Any, Any]:
    """An override whose keys may be the indexes of stages, as numbers."""
    named: dict[Any, Any] = {}
    for key, item in value.items():
        name = str(key) if type(key) is int else key
        if name in named:
            faults.add(f"{path}.{name}", "is given twice, as text and as a number; leave one of them out")
        named[name] = item
    return named


def _base_reference(faults: Faults, path: str, value: Any) -> str:
    text = faults.text(path, value)
    if text is not None:
        faults.attempt(path, Reference.parse, text)
    return text or ""


def _annotations(faults: Faults, path: str, value: Any) -> dict[str, str]:
    found = faults.texts(path, value, key=_ANY_KEY, what="the name of an annotation")
    for name in found:
        level = _LEVELS.match(name)
        if level:
            faults.add(
                path,
                f"{name!r} begins with {level[0]!r}, by which buildx chooses where an annotation goes; "
                f"write {name[level.end() :]!r}, which goes to the index and to each manifest",
            )
    return found


def _secrets(faults: Faults, path: str, value: Any) -> dict[str, Secret]:
    found: dict[str, Secret] = {}
    for name, item in faults.mapping(path, value).items():
        if not _NAME.match(name):
            faults.add(path, f"{name!r} is not the id of a secret")
        secret = refer_to_secret(faults, f"{path}.{name}", item, lines=True)
        if secret is not None:
            found[name] = secret
    return found


def _contexts(faults: Faults, path: str, value: Any) -> dict[str, Reference]:
    found: dict[str, Reference] = {}
    for name, item in faults.mapping(path, value).items():
        where = f"{path}.{name}"
        if not _CONTEXT.match(name):
            faults.add(path, f"{name!r} is not the name of a context")
        text = faults.text(where, item)
        if text is None:
            continue
        if not text.startswith(_IMAGE_CONTEXT):
            faults.add(where, f"expected {_IMAGE_CONTEXT} and the reference of an image, got {text!r}")
            continue
        reference = faults.attempt(where, Reference.parse, text[len(_IMAGE_CONTEXT) :])
        if reference is not None:
            found[name] = reference
    return found


def _ssh(faults: Faults, path: str, value: Any) -> dict[str, Optional[Secret]]:
    found: dict[str, Optional[Secret]] = {}
    for name, item in faults.mapping(path, value).items():
        if not _NAME.match(name):
            faults.add(path, f"{name!r} is not the id of an agent")
        if item is True:
            faults.powers.append((f"{path}.{name}", "own_settings"))
            found[name] = None
            continue
        key = refer_to_secret(faults, f"{path}.{name}", item, lines=True)
        if key is not None:
            found[name] = key
    return found
