# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Where in a document stands what other tools, or other places of it, have another word for.

The words are those of Compose and bake files, of the flags of ``docker build``, of builds of Shipwright,
OpenShift and kpack, and of earlier image builders. Words count without case, ``-`` and ``_``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Optional, Union

from .argument_spec import KEYS

_REPOSITORY = ("source.git_repo.url", "source.build_context.url", "source.tar.url", "source.dockerfile.url")
_VERSION = ("source.git_repo.version", "source.build_context.version")
_FOLDER = ("source.git_repo.workdir", "source.build_context.subdir", "source.tar.workdir")
_CLONED = ("source.git_repo", "source.build_context")
_ASKED = ("target.registry", *_CLONED, "source.dockerfile", "source.tar")

#: To words, the keys that do it, of which the nearest is told, or a sentence. A place may precede a word.
TABLE: tuple[tuple[str, Union[tuple[str, ...], str]], ...] = (
    ("git repo repository gitrepository", ("source.git_repo", *_REPOSITORY, "target.images[].image")),
    ("uri giturl repourl cloneurl remote", (*_REPOSITORY, "target.registry.url")),
    ("branch ref commit revision rev sha gitref gitbranch commitid commitsha checkout", _VERSION),
    ("version", (*_VERSION, "target.images[].tag")),
    ("tag", ("target.images[].tag", *_VERSION)),
    ("sshkey privatekey deploykey identityfile keyfile", tuple(f"{at}.ssh_key_file" for at in _CLONED)),
    ("knownhosts sshknownhosts", tuple(f"{at}.ssh_known_hosts_file" for at in _CLONED)),
    ("submodules recursive lfs", "submodules and Git LFS files come along; leave it out"),
    ("depth fetchdepth", "no more is fetched than is needed; leave it out"),
    (
        "dockerfile dockerfilepath file filename containerfile",
        ("source.git_repo.dockerfile", "source.tar.dockerfile", "source.dockerfile.url"),
    ),
    ("source.build_context.dockerfile dockerfileinline", ("source.dockerfile",)),
    ("context", ("source.build_context", *_FOLDER)),
    ("workdir subdir contextdir contextpath subpath directory dir folder basedir rootdir", _FOLDER),
    ("path", ("source.build_context.path", "source.tar.path", _FOLDER[0], "source.dockerfile.url")),
    ("archive tarball blob", ("source.tar",)),
    ("sha256 sha256sum", ("source.dockerfile.checksum", "source.tar.checksum")),
    ("user login account", tuple(f"{at}.username" for at in _ASKED)),
    (
        "token pass passwd pwd accesstoken auth credentials pushsecret pullsecret clonesecret sourcesecret",
        tuple(f"{at}.password" for at in _ASKED),
    ),
    ("source.type source.kind", "the kind of a source is its key: git_repo, dockerfile, or tar"),
    ("name imagename", ("target.images[].image", "target.registry.url", "options.builder")),
    ("imagetag", ("target.images[].tag",)),
    ("additionaltags aliases", ("target.images[].tags",)),
    ("args buildarg buildarguments env environment variables paramvalues", ("target.images[].build_args",)),
    ("from fromimage baseimage parent runimage", ("target.images[].base",)),
    ("platform arch archs architecture architectures targetplatform", ("target.images[].platforms",)),
    ("stage targetstage buildtarget", ("target.images[].target",)),
    ("forcepull alwayspull pullpolicy", ("target.images[].pull",)),
    ("secret buildsecrets", ("target.images[].secrets",)),
    ("addhost extrahosts", ("target.images[].add_hosts",)),
    ("networkmode", ("target.images[].network",)),
    ("label imagelabels", ("target.images[].labels",)),
    ("annotation imageannotations", ("target.images[].annotations",)),
    ("variants imagevariants", ("target.images",)),
    ("output outputs destination", ("target",)),
    ("push load publish", "every image is pushed, to target.registry; leave it out"),
    (
        "host hostname registryip registryurl registryhost server serveraddress address endpoint",
        ("target.registry.url",),
    ),
    ("insecure tlsverify", "the engine's insecure-registries name those without TLS; leave it out"),
    ("timeoutseconds completiondeadlineseconds deadline", ("options.timeout",)),
    ("retry retries", ("options.retry_for",)),
    ("failfast stoponerror", ("options.on_failure",)),
    ("force forcerebuild", ("options.rebuild",)),
    ("attest attestations", ("options.provenance", "options.sbom")),
    ("timestamp sourcedateepoch", ("options.reproducible",)),
    ("build services", "what is built is source, and how, for each image, stands in target.images"),
    ("apiversion kind spec metadata strategy", "a document has source, target and options at its top"),
)


def home_of(path: str, key: str, known: Mapping[str, Any]) -> Optional[str]:
    """What to tell of ``key`` in the mapping at ``path``, where it is none of ``known``.

    It is ``write`` and the key that does it, by its name where it belongs to the same mapping, and else by
    its path in the document, with ``[]`` for a position; or a sentence. ``None`` where nothing is known.
    """
    place = re.sub(r"\[\d+\]", "[]", path)
    if place not in _PLACES:
        return None
    word = _plain(key)
    for name in known:
        if _plain(name) == word:
            return f"write {name}"
    homes = _WORDS.get(f"{place}.{word}") or _WORDS.get(word) or _OURS.get(word)
    if homes is None or isinstance(homes, str):
        return homes
    nearest = max(homes, key=lambda home: (_parent(home) == place, _shared(home, place)))
    return f"write {_last(nearest) if _parent(nearest) == place else nearest}"


def _plain(word: str) -> str:
    return re.sub(r"[-_]", "", word).lower()


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _shared(one: str, other: str) -> int:
    """How many parts two paths share at their start."""
    count = 0
    for first, second in zip(one.split("."), other.split(".")):
        if first != second:
            break
        count += 1
    return count


def _paths(spec: Mapping[str, Any], parent: str = "") -> Iterator[str]:
    """The paths of all keys of the document."""
    for name, entry in spec.items():
        path = f"{parent}.{name}" if parent else name
        yield path
        if "options" in entry:
            yield from _paths(entry["options"], f"{path}[]" if entry["type"] == "list" else path)


_PATHS = tuple(_paths(KEYS))
_PLACES = {_parent(path) for path in _PATHS}
_OURS = {_plain(_last(path)): tuple(p for p in _PATHS if _last(p) == _last(path)) for path in _PATHS}
_WORDS = {word: homes for words, homes in TABLE for word in words.split()}
