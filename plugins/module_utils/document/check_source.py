# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The source of a document, checked: which kind it is, and the keys of each kind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional, Union

from ..network import file_url, git_url
from .argument_spec import SOURCE
from .check_local_path import check_local_path
from .faults import Faults
from .secrets import refer_to_secret
from .source import Archive, Folder, GitRepo, RemoteFile, Source, StandaloneDockerfile

_SSH_FILES = ("ssh_key_file", "ssh_known_hosts_file")
_REPOSITORY = ("url", "version", "username", "password", *_SSH_FILES)
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}\Z")
_BUILD_CONTEXT = "build_context"


def check_source(faults: Faults, raw: Any) -> Optional[Source]:
    """The source, or ``None`` with the reasons in ``faults``."""
    if raw is None:
        faults.add("source", f"is missing; it says where the Dockerfile comes from: {_all_kinds()}")
        return None
    before = len(faults)
    parts = faults.mapping("source", raw, SOURCE)
    given = [name for name in CHECKERS if name in parts]
    if len(given) > 1:
        faults.add("source", f"expected one kind of source, got {' and '.join(given)}; give {_all_kinds()}")
    elif not given and _BUILD_CONTEXT not in parts and len(faults) == before:
        faults.add("source", f"expected one kind of source: {_all_kinds()}")
    alone = _BUILD_CONTEXT in parts and "dockerfile" not in parts
    if alone:
        other = f"; {given[0]} has its own context" if given else ""
        faults.add("source.build_context", f"belongs to source.dockerfile, which is missing{other}")
    checked: list[Optional[Source]] = []
    for name in SOURCE:
        if name in given:
            checked.append(CHECKERS[name].check(faults, parts))
        elif name == _BUILD_CONTEXT and alone:
            _build_context(faults, parts[name])
    return checked[0] if len(faults) == before else None


def _git_repo(faults: Faults, source: Mapping[str, Any]) -> Optional[GitRepo]:
    path = "source.git_repo"
    parts = faults.mapping(path, source["git_repo"], SOURCE["git_repo"]["options"])
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
        faults.attempt(f"{path}.url", git_url.check_url, url)
        if git_url.transport(url) == "file":
            faults.powers.append((f"{path}.url", "local_paths"))
    faults.powers += [(f"{path}.{name}", "local_paths") for name in _SSH_FILES if name in texts]
    version = texts.get("version")
    if version and (version.startswith("-") or re.search(r"[\s~^:?*\[\\]|\.\.|@\{", version)):
        faults.add(f"{path}.version", f"{version!r} is not a branch, a tag, HEAD or a commit")
    for name in places:
        _check_relative(faults, f"{path}.{name}", texts.get(name))
    password = refer_to_secret(faults, f"{path}.password", parts.get("password"))
    if texts.get("username") and password is None and url and url.startswith("http"):
        faults.add(f"{path}.password", "is missing; a username alone gives no access")
    if len(faults) > before or not url:
        return None
    if "subdir" in texts:
        texts["workdir"] = texts.pop("subdir")
    return GitRepo(**texts, password=password)


def _dockerfile(faults: Faults, source: Mapping[str, Any]) -> Optional[StandaloneDockerfile]:
    path = "source.dockerfile"
    file = _file(faults, path, faults.mapping(path, source["dockerfile"], SOURCE["dockerfile"]["options"]))
    context = source.get(_BUILD_CONTEXT)
    checked = _build_context(faults, context) if context is not None else None
    return StandaloneDockerfile(file, checked) if file else None


def _build_context(faults: Faults, raw: Any) -> Union[GitRepo, Folder, None]:
    path = "source.build_context"
    parts = faults.mapping(path, raw, SOURCE[_BUILD_CONTEXT]["options"])
    if "path" not in parts:
        if not parts:
            faults.add(path, "expected the url of a git repository or the path of a local folder")
            return None
        return _repository(faults, path, parts, ("subdir",))
    others = sorted(set(parts) - {"path"})
    if others:
        faults.add(path, f"path names a folder of the machine that builds; leave out {', '.join(others)}")
    folder = check_local_path(faults, f"{path}.path", parts["path"])
    return Folder(folder) if folder and not others else None


def _archive(faults: Faults, source: Mapping[str, Any]) -> Optional[Archive]:
    path = "source.tar"
    parts = dict(faults.mapping(path, source["tar"], SOURCE["tar"]["options"]))
    if "path" in parts:
        others = [name for name in ("url", "username", "password") if name in parts]
        if others:
            faults.add(path, f"path names a file of the machine that builds; leave out {', '.join(others)}")
        local = check_local_path(faults, f"{path}.path", parts["path"])
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
        faults.attempt(f"{path}.url", file_url.check_url, texts["url"])
        if texts["url"].startswith("file:") and "path" not in parts:
            faults.powers.append((f"{path}.url", "local_paths"))
    password = refer_to_secret(faults, f"{path}.password", parts.get("password"))
    if "username" in texts and "password" not in parts:
        faults.add(f"{path}.password", "is missing; a username alone gives no access")
    if ":" in texts.get("username", ""):
        faults.add(f"{path}.username", "must not contain a colon")
    if "checksum" in texts and not _CHECKSUM.match(texts["checksum"]):
        faults.add(f"{path}.checksum", "expected sha256: and 64 hexadecimal digits in lower case")
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


@dataclass(frozen=True)
class Checker:
    """Of a kind of source: what ``check``, given all of ``source``, makes of it, and ``words`` for users."""

    words: str
    check: Callable[[Faults, Mapping[str, Any]], Optional[Source]]


#: The checker of every kind of source, by its key in the document.
CHECKERS: Mapping[str, Checker] = {
    "git_repo": Checker("git_repo", _git_repo),
    "dockerfile": Checker("dockerfile (alone or with build_context)", _dockerfile),
    "tar": Checker("tar", _archive),
}


def _all_kinds() -> str:
    *others, last = (kind.words for kind in CHECKERS.values())
    return f"{', '.join(others)}, or {last}"
