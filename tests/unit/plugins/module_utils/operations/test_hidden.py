# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import base64

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.secrets import secrets_in
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.source import (
    GitRepo,
    RemoteFile,
    StandaloneDockerfile,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import (
    ParameterError,
    Place,
    SourceError,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import (
    Event,
    HidingListener,
    Lines,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.hidden import (
    hiding,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import MASK, Secret

SOURCE = StandaloneDockerfile(
    RemoteFile("https://a.test/Dockerfile", "me", Secret("abc")),
    GitRepo("https://a.test/a.git", password=Secret("hunter2hunter2")),
)


def test_every_secret_of_a_part_is_found_with_the_login_it_belongs_to() -> None:
    found = {secret.reveal() for secret in secrets_in((SOURCE, None, {"s": Secret("x")}))}
    assert found == {"me:abc", "abc", "hunter2hunter2", "x"}


def test_no_text_of_an_error_tells_a_secret() -> None:
    login = base64.b64encode(b"me:abc").decode()
    said = f"it said {login} and hunter2hunter2"
    error = SourceError("http_failed", said, hint=said, place=Place(image="abc", file=said))
    with pytest.raises(SourceError) as raised, hiding(secrets_in(SOURCE)):
        raise error
    masked = f"it said {MASK} and {MASK}"
    assert raised.value.args == (masked,)
    assert {
        "message": masked,
        "hint": masked,
        "file": masked,
        "image": "abc",
    }.items() <= error.to_dict().items()
    with pytest.raises(ParameterError) as refused, hiding(secrets_in(SOURCE)):
        raise ParameterError([said])
    assert refused.value.to_dict()["faults"] == [masked]


def test_no_line_or_event_tells_a_secret() -> None:
    told: list[str] = []
    listener = HidingListener(Lines(told.append), secrets_in(SOURCE))
    listener.line("hunter2hunter2!")
    listener.event(Event("", "", "started", line="hunter2hunter2?"))
    assert told == [f"{MASK}!", f"{MASK}?"]
