# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Which labels an image has: its own, and of its base those that hold for both."""

from __future__ import annotations

import pytest

from tests.builds.site import BOTH, Site

pytestmark = [pytest.mark.engine, pytest.mark.each_engine]

PREFIX = "org.opencontainers.image."


def test_what_the_base_says_of_itself_is_not_said_of_what_is_built_on_it(site: Site) -> None:
    site.write(Dockerfile="FROM scratch\nCOPY app /app\n", app="x")
    names = (
        "created",
        "source",
        "revision",
        "base.name",
        "base.digest",
        "version",
        "ref.name",
        "title",
        "vendor",
    )
    labels = {**{PREFIX + name: "the base's" for name in names}, "maintainer": "the base's"}
    site.build_ok({"image": "base", "labels": labels, "platforms": BOTH})
    base = site.reference("base")

    version = f"LABEL {PREFIX}version=mine\n"
    site.write(Dockerfile=f"FROM {base} AS below\n{version}FROM below\nCOPY app /app\n")
    app = {"image": "app", "platforms": BOTH, "labels": {f"{PREFIX}title": "mine"}}
    site.build_ok(app)
    # What is remembered of the base is enough to build on it again.
    assert site.build(app, options={"rebuild": "always"}).error is None
    for digest in site.pushed("app").platforms().values():
        found = site.pushed("app").config(digest)["config"]["Labels"]
        assert found.pop(f"{PREFIX}created").startswith("20")
        assert found.pop(f"{PREFIX}base.digest") == site.pushed("base").digest
        assert found == {
            f"{PREFIX}base.name": f"{base}:latest",
            f"{PREFIX}source": "",
            f"{PREFIX}revision": "",
            f"{PREFIX}ref.name": "",
            f"{PREFIX}version": "mine",
            f"{PREFIX}title": "mine",
            f"{PREFIX}vendor": "the base's",
            "maintainer": "the base's",
        }
    assert site.rebuilt(app) == set()


def test_no_label_is_empty_where_the_base_has_none(site: Site) -> None:
    site.write(Dockerfile="FROM scratch\nCOPY app /app\n", app="x")
    site.build_ok({"image": "base"})
    assert set(site.pushed("base").config()["config"]["Labels"]) == {f"{PREFIX}created"}
    site.write(Dockerfile=f"FROM {site.base('marked', 'x')}\nCOPY app /app\n")
    site.build_ok({"image": "app"})
    found = site.pushed("app").config()["config"]["Labels"]
    assert set(found) == {PREFIX + name for name in ("created", "base.name", "base.digest")}
