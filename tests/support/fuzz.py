# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""How many examples fuzzing tests try: ``IMAGE_BUILDER_TEST_FUZZ=100`` makes it a hundred times as many."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("IMAGE_BUILDER_TEST_FUZZ", "1"))


def examples(number: int) -> settings:
    """Settings of a test that tries ``number`` examples in ``make test``."""
    return settings(
        max_examples=number * FACTOR,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
