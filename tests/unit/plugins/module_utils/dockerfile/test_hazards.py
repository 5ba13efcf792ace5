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
        "FROM a\nENV A=${@#}\n",
        "FROM a\nENV A=${*%}\n",
        "FROM a\nENV A=${##}\n",
        "FROM a\nENV A=${?%}${!#}\n",
        "FROM a\nENV A=${%}\n",
        "FROM a\nENV A b${1#}\n",
        "FROM a\nENV A${X#}=b\n",
        "FROM a\nENV A=${B:-${C/d/${X#}}}\n",
        "FROM a\nENV A=${X#${Y+z}}\n",
        "FROM a\nENV A=${X#${Y-z}}\n",
        "FROM a${X#}\n",
        "FROM --platform=${X#} a\n",
        "FROM a\nCOPY --chown=${X#} a /b\n",
        'FROM a\nCOPY --chown=${X"#"} a /b\n',
        "FROM a\nADD --checksum=${X#} a /b\n",
        "FROM a\nCOPY --from=${X#} a /b\n",
        "FROM a\nCOPY --exclude=${X#} a /b\n",
        'FROM a\nCOPY ["${X#}", "/b"]\n',
        "FROM a\nCOPY a /b${X#}\n",
        "FROM a\nRUN --mount=type=cache,target=/${X#} true\n",
        "FROM a\nRUN --mount=type=cache,id=${X%} true\n",
        "FROM a\nONBUILD RUN --mount=type=cache,target=/${X#} true\n",
        "FROM a\nONBUILD COPY <<EOF /x\n${X#}\nEOF\n",
        "FROM a\nADD <<EOF /x\n'${X#}\nEOF\n",
        "FROM a\nEXPOSE 80 ${X#}\n",
        "FROM a\nUSER ${X#}\n",
        "FROM a\nVOLUME /a ${X#}\n",
        "FROM a\nSTOPSIGNAL ${X#}\n",
        "# escape=`\nFROM a\nENV A=\\${X#}\n",
        "FROM a\nENV A=" + ("b" * 1000 + "\\\n") * 70 + "${X#}\n",
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
        "FROM a\nENV A='${X#}'\n",
        "FROM a\nENV A=\\${X#}\n",
        "FROM a\nENV A=${X#${Y:-z}}${X#\\*}${X#a$Y}\n",
        "FROM a\nCOPY <<'EOF' /x\n${X#}\nEOF\n",
        "FROM a\nADD <<EOF /x\n\\${X#}\nEOF\n",
        'FROM a\nHEALTHCHECK CMD ${X#}\nCMD ${X#}\nENTRYPOINT ["${X#}"]\nMAINTAINER ${X#}\n',
        "FROM a\nONBUILD RUN ${X#}\n",
    ],
)
def test_what_does_no_harm_is_not_refused(text: str) -> None:
    refuse_hazards(text, "26.1.5+dfsg1")


def test_a_newer_engine_is_trusted() -> None:
    refuse_hazards("FROM a\nENV A=${X#$Y}${X#}\n", "28.5.2")
