# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The source of a document, checked: which kind it is, and the keys of each kind."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

from ..network import file_url
from ..network.git_url import check_url
from .faults import Faults
from .secrets import read_secret
from .source import Archive, Folder, GitRepo, RemoteFile, Source, StandaloneDockerfile

_KINDS = "git_repo, dockerfile (alone or with build_context), or tar"
_REPOSITORY = ("url", "version", "username", "password", "ssh_key_file", "ssh_known_hosts_file")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}\Z")


def read_source(faults: Faults, raw: Any) -> Optional[Source]:
    """The source, or ``None`` with the reasons in ``faults``."""
    if raw is None:
        faults.add("source", f"is missing; it says where the Dockerfile comes from: {_KINDS}")
        return None
    before = len(faults)
    parts = faults.mapping("source", raw, ("git_repo", "dockerfile", "build_context", "tar"))
    kinds = [kind for kind in ("git_repo", "dockerfile", "tar") if kind in parts]
    if len(kinds) > 1:
        faults.add("source", f"{' and '.join(kinds)} were given; exactly one kind is wanted: {_KINDS}")
    elif not kinds and "build_context" not in parts and len(faults) == before:
        faults.add("source", f"one kind of source is wanted: {_KINDS}")
    if "build_context" in parts and "dockerfile" not in parts:
        other = f"; {kinds[0]} has its own context" if kinds else ""
        faults.add("source.build_context", f"belongs to source.dockerfile, which is missing{other}")
    read: list[Optional[Source]] = []
    if "git_repo" in parts:
        read.append(_git_repo(faults, parts["git_repo"]))
    if "dockerfile" in parts:
        read.append(_dockerfile(faults, parts["dockerfile"], parts.get("build_context")))
    elif "build_context" in parts:
        _build_context(faults, parts["build_context"])
    if "tar" in parts:
        read.append(_archive(faults, parts["tar"]))
    return read[0] if len(faults) == before else None


def _git_repo(faults: Faults, raw: Any) -> Optional[GitRepo]:
    path = "source.git_repo"
    parts = faults.mapping(path, raw, (*_REPOSITORY, "dockerfile", "workdir"))
    return _repository(faults, path, parts, ("dockerfile", "workdir"))


def _repository(
    faults: Faults, path: str, parts: Mapping[str, Any], places: Sequence[str]
) -> Optional[GitRepo]:
    """The repository that ``parts`` describe; ``places`` are the keys that name something inside it."""
    before = len(faults)
    if "url" not in parts:
        faults.add(f"{path}.url", "is missing")
    texts = _texts(faults, path, parts, (*_REPOSITORY, *places))
    url = texts.get("url")
    if url:
        faults.made(f"{path}.url", check_url, url)
    version = texts.get("version")
    if version and (version.startswith("-") or re.search(r"[\s~^:?*\[\\]|\.\.|@\{", version)):
        faults.add(f"{path}.version", f"{version!r} is not a branch, a tag, HEAD or a commit")
    for name in places:
        _check_relative(faults, f"{path}.{name}", texts.get(name))
    password = read_secret(faults, f"{path}.password", parts.get("password"))
    if texts.get("username") and password is None and url and url.startswith("http"):
        faults.add(f"{path}.password", "is missing; a username alone gives no access")
    if len(faults) > before or not url:
        return None
    if "subdir" in texts:
        texts["workdir"] = texts.pop("subdir")
    return GitRepo(**texts, password=password)


def _dockerfile(faults: Faults, raw: Any, context: Any) -> Optional[StandaloneDockerfile]:
    path = "source.dockerfile"
    file = _file(faults, path, faults.mapping(path, raw, ("url", "username", "password", "checksum")))
    read = _build_context(faults, context) if context is not None else None
    return StandaloneDockerfile(file, read) if file else None


def _build_context(faults: Faults, raw: Any) -> Union[GitRepo, Folder, None]:
    path = "source.build_context"
    parts = faults.mapping(path, raw, (*_REPOSITORY, "subdir", "path"))
    if "path" not in parts:
        if not parts:
            faults.add(path, "the url of a git repository or the path of a local folder is wanted")
            return None
        return _repository(faults, path, parts, ("subdir",))
    others = sorted(set(parts) - {"path"})
    if others:
        faults.add(path, f"path is a folder of the machine that builds; {', '.join(others)} do not fit it")
    folder = _absolute(faults, f"{path}.path", parts["path"])
    return Folder(folder) if folder and not others else None


def _archive(faults: Faults, raw: Any) -> Optional[Archive]:
    path = "source.tar"
    parts = dict(
        faults.mapping(
            path, raw, ("url", "path", "username", "password", "checksum", "dockerfile", "workdir")
        )
    )
    if "path" in parts:
        others = [name for name in ("url", "username", "password") if name in parts]
        if others:
            faults.add(path, f"path is a file of the machine that builds; {', '.join(others)} do not fit it")
        local = _absolute(faults, f"{path}.path", parts.pop("path"))
        parts["url"] = file_url.to_url(local) if local else None
        if not local or others:
            return None
    file = _file(faults, path, parts, missing="is missing; give url, or path for a local file")
    texts = _texts(faults, path, parts, ("dockerfile", "workdir"))
    for name, text in texts.items():
        _check_relative(faults, f"{path}.{name}", text)
    return Archive(file, **texts) if file else None


def _file(
    faults: Faults, path: str, parts: Mapping[str, Any], missing: str = "is missing"
) -> Optional[RemoteFile]:
    before = len(faults)
    texts = _texts(faults, path, parts, ("url", "username", "checksum"))
    if "url" not in parts:
        faults.add(f"{path}.url", missing)
    elif "url" in texts:
        faults.made(f"{path}.url", file_url.check_url, texts["url"])
    password = read_secret(faults, f"{path}.password", parts.get("password"))
    if "username" in texts and "password" not in parts:
        faults.add(f"{path}.password", "is missing; a username alone gives no access")
    if ":" in texts.get("username", ""):
        faults.add(f"{path}.username", "must not contain a colon")
    if "checksum" in texts and not _CHECKSUM.match(texts["checksum"]):
        faults.add(f"{path}.checksum", "sha256: and 64 hexadecimal digits in lower case are wanted")
    return None if len(faults) > before else RemoteFile(**texts, password=password)


def _texts(faults: Faults, path: str, parts: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        if name in parts and name != "password":
            text = faults.text(f"{path}.{name}", parts[name])
            if text is not None:
                found[name] = text
    return found


def _check_relative(faults: Faults, path: str, text: Optional[str]) -> None:
    if text is not None and (text.startswith("/") or ".." in text.split("/")):
        faults.add(path, f"{text!r} leaves the source; give a relative path inside it")


def _absolute(faults: Faults, path: str, value: Any) -> Optional[str]:
    text = faults.text(path, value)
    if text is not None and not os.path.isabs(text):
        faults.add(
            path, f"{text!r} is not absolute; programs that read documents work in folders of their own"
        )
        return None
    return text
