# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Tests that build with a real engine; ``tests.site.engine`` says where they look for it."""

from __future__ import annotations

import pytest

from tests.site.engine import Engine


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "engine: needs a Docker Engine with buildx and the sample base images")


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine.from_environment()
