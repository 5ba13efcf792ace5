# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What would end an engine that is not the newest, and what only looks like it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import DockerfileError

from tests.builds.site import Site

pytestmark = [pytest.mark.engine, pytest.mark.parametrize("engine", ["engine 26.1"], indirect=True)]

#: Each was tried on an engine of this version, and ended it.
ENDS = (
    "ENV A=${@#}",
    "RUN --mount=type=cache,target=/${X#} true",
    "COPY --chown=${X#} a /b",
    "STOPSIGNAL ${X%}",
)
HARMLESS = """\
FROM alpine
HEALTHCHECK CMD ${X#}
MAINTAINER ${X#}
ENV A=${X#${Y:-z}} B='${X#}'
RUN : ${X+x}
COPY <<'EOF' /x
${X#}
EOF
CMD ${X#}
"""


def push_base(site: Site, name: str, trigger: str) -> str:
    """Push a base image with ``trigger`` in its ONBUILD, which nothing expands yet; gives its name."""
    folder = site.folder / name
    folder.mkdir()
    Path(folder, "Dockerfile").write_text(f"FROM alpine\nONBUILD {trigger}\n", encoding="utf-8")
    own = {"DOCKER_HOST": site.engine.docker_host, "DOCKER_CONFIG": str(folder / "config")}
    argv = [site.engine.buildx, "build", "--push", f"--tag={site.reference(name)}", str(folder)]
    subprocess.run(argv, env={**os.environ, **own}, check=True, capture_output=True)
    return site.reference(name)


def test_what_would_end_the_engine_is_refused_and_what_would_not_is_built(site: Site) -> None:
    hazards = [(f"FROM alpine\n{line}\n", 2) for line in ENDS]
    hazards += [(f"FROM {push_base(site, f'base{index}', line)}\n", 1) for index, line in enumerate(ENDS)]
    for text, line in hazards:
        site.write(Dockerfile=text, a="x")
        with pytest.raises(DockerfileError) as caught:
            site.build({"image": "app"})
        assert (caught.value.code, caught.value.line) == ("dockerfile_hazard", line)
    site.write(Dockerfile=HARMLESS)
    site.build_ok({"image": "app"})
