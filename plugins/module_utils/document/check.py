# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""From the document as users write it to checked data, with every fault at once."""

from __future__ import annotations

from typing import Any

from ..oci.platform import Platform
from .check_source import read_source
from .check_target import read_build, read_registry, read_target
from .faults import Faults
from .options import Options, read_options
from .source import Source
from .target import Image, RegistryAccount, Target


def check_source(raw: Any) -> Source:
    """The source. Raises ``ParameterError`` with every fault."""
    faults = Faults()
    source = read_source(faults, raw)
    faults.raise_if_any()
    assert source is not None
    return source


def check_target(raw: Any, options: Any = None) -> tuple[Target, Options]:
    """The target and the options. Raises ``ParameterError`` with every fault of both."""
    faults = Faults()
    target = read_target(faults, raw)
    checked = read_options(faults, options)
    faults.raise_if_any()
    assert target is not None
    return target, checked


def check_document(source: Any, target: Any, options: Any = None) -> tuple[Source, Target, Options]:
    """The whole document. Raises ``ParameterError`` with every fault of all its parts."""
    faults = Faults()
    checked_source = read_source(faults, source)
    checked_target = read_target(faults, target)
    checked_options = read_options(faults, options)
    faults.raise_if_any()
    assert checked_source is not None
    assert checked_target is not None
    return checked_source, checked_target, checked_options


def check_registry(raw: Any) -> RegistryAccount:
    """``url``, ``username`` and ``password`` of a registry. Raises ``ParameterError``."""
    faults = Faults()
    account, prefix = read_registry(faults, "registry", raw)
    if account is not None and prefix:
        faults.add("registry.url", "only a host and a port are wanted here")
    faults.raise_if_any()
    assert account is not None
    return account


def check_build(raw: Any, build_platform: str) -> tuple[Image, Platform]:
    """The keys of an image that concern its Dockerfile, without a name. Raises ``ParameterError``."""
    faults = Faults()
    parts = faults.mapping("image", raw, ("base", "platforms", "build_args", "target"))
    native = faults.made("build_platform", Platform.parse, build_platform)
    image = Image(references=(), **read_build(faults, "", parts))
    faults.raise_if_any()
    assert native is not None
    return image, native
