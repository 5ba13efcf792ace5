# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.hazards import refuse_hazards
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import DockerfileError


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nENV A=${X#}\n",
        "ARG A=${X%}\nFROM a\n",
        'FROM a\nLABEL l="${X:#}"\n',
        "FROM a\nCOPY <<EOF /x\n${X#}\nEOF\n",
        "FROM a\nWORKDIR /${X#\\\n}\n",
        "FROM a\nONBUILD ENV A=${X#}\n",
        "FROM a\nENV A=${X#$Y}\n",
        'FROM a\nENV A=${X#""}\n',
    ],
)
def test_an_expansion_that_ends_the_engine_is_refused(text: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        refuse_hazards(text, "26.1.5+dfsg1")
    assert caught.value.code == "dockerfile_hazard"
    assert caught.value.line is not None


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nENV A=${X#v}\n",
        "FROM a\nENV A=${X##}\n",
        "FROM a\nRUN echo ${X#} ${X#$Y}\n",
        "FROM a\nRUN <<EOF\n${X#}\nEOF\nENV A=b\n",
        "FROM a\nCOPY a /b\nRUN ${X%}\n",
    ],
)
def test_what_does_no_harm_is_not_refused(text: str) -> None:
    refuse_hazards(text, "26.1.5+dfsg1")


def test_a_newer_engine_is_trusted_with_patterns_that_expand() -> None:
    refuse_hazards("FROM a\nENV A=${X#$Y}\n", "28.5.2")
