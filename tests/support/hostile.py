# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Texts that a careless program obeys, and documents that have every key, to put those texts into."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

#: Where a text stands in a document: keys and positions, the name of the part first.
Place = tuple[Any, ...]

#: Hostile texts by name. What they would run makes the file ``CANARY``, which stands for a path.
TEXTS: Mapping[str, str] = {
    "empty": "",
    "nul": "a\0b",
    "newline": "a\nb",
    "carriage return": "a\rb",
    "escape": "\x1b[31ma",
    "c1 control": "a\x9bb",
    "lone surrogate": "a\ud800b",
    "right to left": "a\N{RIGHT-TO-LEFT OVERRIDE}b",
    "traversal": "../../../../../../etc/passwd",
    "traversal inside": "a/../../b",
    "absolute": "/etc/passwd",
    "option": "--upload-pack=touch CANARY",
    "option without blanks": "--output=CANARY",
    "ssh option": "-oProxyCommand=touch CANARY",
    "transport": "ext::sh -c touch% CANARY",
    "option in a url": "ssh://-oProxyCommand=touch%20CANARY/a",
    "shell": "$(touch CANARY)`touch CANARY`;touch CANARY|& touch CANARY #",
    "quoted shell": "a' ; touch CANARY ; '",
    "double-quoted shell": 'a" ; touch CANARY ; "',
    "hcl": "${HOME}",
    "hcl directive": "%{ if true }a%{ endif }",
    "jinja": "{{ lookup('pipe', 'touch CANARY') }}",
    "go template": "{{.Names}}",
    "format": "%s%n{0}",
    "glob": "*",
    "long name": "a" * 3000,
    "long": "a" * 200_000,
}

_REPOSITORY = {
    "url": "https://git.example.com/app.git",
    "version": "main",
    "username": "me",
    "password": "secret",
    "ssh_key_file": "/key",
    "ssh_known_hosts_file": "/hosts",
}
_FILE = {
    "url": "https://files.example.com/app",
    "username": "me",
    "password": "secret",
    "checksum": f"sha256:{'0a' * 32}",
}
_INSIDE = {"dockerfile": "Dockerfile", "workdir": "code"}
_TARGET: dict[str, Any] = {
    "images": [
        {
            "image": "app",
            "tag": "1",
            "tags": ["2"],
            "base": {"first": {"linux/amd64": "alpine"}, "1": "alpine:3"},
            "platforms": ["linux/amd64"],
            "build_args": {"A": "x"},
            "target": "build",
            "labels": {"l": "x"},
            "annotations": {"a": "x"},
            "no_cache": False,
            "pull": False,
            "secrets": {"s": "x"},
            "ssh": {"key": "x", "default": True},
            "contexts": {"lib": "docker-image://alpine:3"},
            "cache_from": [
                {"type": "registry", "ref": "cache:1"},
                {"type": "local", "src": "/srv/cache"},
                {"type": "gha", "scope": "a"},
            ],
            "cache_to": [
                {"type": "registry", "ref": "cache:1", "mode": "max"},
                {"type": "local", "dest": "/srv/cache", "mode": "max"},
                {"type": "gha", "scope": "a", "mode": "max"},
                {"type": "inline"},
            ],
            "network": "none",
            "add_hosts": {"h": "10.0.0.1", "more": ["::1"]},
            "shm_size": "64m",
            "ulimits": {"nofile": "1024:2048"},
            "no_cache_filter": ["build"],
        }
    ],
    "registry": {"url": "registry.example.com", "username": "me", "password": "secret"},
}
_OPTIONS = {
    "builder": "kube",
    "rebuild": "always",
    "on_failure": "stop",
    "timeout": 60,
    "retry_for": 60,
    "provenance": "max",
    "reproducible": False,
    "sbom": False,
    "compression": {"type": "zstd", "level": 3},
    "delete_images": False,
}


def _document(**source: Any) -> dict[str, Any]:
    return {"source": source, "target": _TARGET, "options": _OPTIONS, "custom_workdir": "/var/tmp"}


#: Correct documents that have, together, every key that there is.
DOCUMENTS: Mapping[str, dict[str, Any]] = {
    "git": _document(git_repo={**_REPOSITORY, **_INSIDE}),
    "dockerfile": _document(dockerfile=_FILE, build_context={**_REPOSITORY, "subdir": "code"}),
    "folder": _document(dockerfile=_FILE, build_context={"path": "/srv/app"}),
    "tar": _document(tar={**_FILE, **_INSIDE}),
    "local tar": _document(tar={"path": "/srv/app.tar", "checksum": _FILE["checksum"], **_INSIDE}),
}

_KINDS = ("git_repo", "build_context", "dockerfile", "tar")

#: The texts that no name or password can be.
UNUSABLE = frozenset({"nul", "newline", "carriage return", "escape", "c1 control", "lone surrogate", "long"})
_PRINTABLE = frozenset(TEXTS) - UNUSABLE - {"empty"}
_INSIDE_PATH = _PRINTABLE - {"traversal", "traversal inside", "absolute"}
_WITHOUT_COLON = _PRINTABLE - {"transport", "option in a url"}
_VERSION = frozenset({"right to left", "absolute", "hcl", "go template", "format", "long name"})

#: The texts that the check of a document lets pass, by place (none elsewhere): they must do no harm later.
ACCEPTED: Mapping[str, frozenset[str]] = {
    **{f"source.{kind}.password": _PRINTABLE for kind in _KINDS},
    **{f"source.{kind}.username": _PRINTABLE for kind in ("git_repo", "build_context")},
    **{f"source.{kind}.username": _WITHOUT_COLON for kind in ("dockerfile", "tar")},
    **{f"source.{kind}.version": _VERSION for kind in ("git_repo", "build_context")},
    **{
        f"source.{kind}.{name}": _PRINTABLE
        for kind in ("git_repo", "build_context")
        for name in ("ssh_key_file", "ssh_known_hosts_file")
    },
    **{f"source.{kind}.{name}": _INSIDE_PATH for kind in ("git_repo", "tar") for name in _INSIDE},
    "source.build_context.subdir": _INSIDE_PATH,
    "source.build_context.path": frozenset({"absolute"}),
    "source.tar.path": frozenset({"absolute"}),
    **{
        f"target.images[0].{name}": frozenset(TEXTS) - {"nul", "lone surrogate"}
        for name in ("build_args.A", "labels.l", "annotations.a")
    },
    **{
        f"target.images[0].{name}": frozenset(TEXTS) - {"nul", "lone surrogate", "empty", "long"}
        for name in ("secrets.s", "ssh.key", "ssh.default")
    },
    "target.images[0].target": frozenset({"long name"}),
    "target.images[0].no_cache_filter[0]": frozenset({"long name"}),
    **{
        f"target.images[0].{name}": frozenset({"absolute"})
        for name in ("cache_from[1].src", "cache_to[1].dest")
    },
    **{
        f"target.images[0].{name}[2].scope": frozenset({"long name", "traversal inside"})
        for name in ("cache_from", "cache_to")
    },
    "target.registry.username": _WITHOUT_COLON,
    "target.registry.password": _PRINTABLE,
    "options.builder": frozenset({"long name"}),
    # The empty text is none at all.
    "custom_workdir": frozenset({"absolute", "empty"}),
}

#: The places where the empty text means that the key is left out, as earlier libraries had it for a default.
EMPTY_LEAVES_OUT: frozenset[str] = frozenset(
    {
        *("source.git_repo", "source.dockerfile", "source.build_context", "source.tar", "options"),
        *(f"source.git_repo.{key}" for key in ("version", "username", "password", "dockerfile", "workdir")),
        *(f"source.dockerfile.{key}" for key in ("username", "password")),
        *(
            f"source.build_context.{key}"
            for key in ("url", "path", "version", "username", "password", "subdir")
        ),
        *(f"source.tar.{key}" for key in ("url", "path", "username", "password", "dockerfile", "workdir")),
        *("target.images[0].base", "target.registry.username", "target.registry.password"),
    }
)

#: The places that take an absolute path, or a ``file`` address, and name nothing on this machine by it.
NO_PATH: frozenset[str] = frozenset(
    {
        *(f"source.{kind}.{name}" for kind in _KINDS for name in ("username", "password")),
        *(f"source.{kind}.version" for kind in ("git_repo", "build_context")),
        # Below the root of the source.
        *(f"source.{kind}.{name}" for kind in ("git_repo", "tar") for name in _INSIDE),
        "source.build_context.subdir",
        *(f"target.images[0].{name}" for name in ("build_args.A", "labels.l", "annotations.a", "secrets.s")),
        *(f"target.images[0].ssh.{name}" for name in ("key", "default")),
        *(f"target.registry.{name}" for name in ("username", "password")),
    }
)


def places(value: Any, path: Place = ()) -> Iterator[Place]:
    """The places of all values in a document that are no list or mapping."""
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))
    else:
        yield path


def dotted(place: Place) -> str:
    """``place`` as faults name it: ``target.images[0].tag``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")


def replaced(document: Any, place: Place, text: Any) -> Any:
    """A copy of ``document`` with ``text`` at ``place``."""
    made = copy.deepcopy(document)
    inner = made
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = text
    return made
