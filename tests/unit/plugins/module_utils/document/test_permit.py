# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What an operator's policy refuses of a document, and that without one nothing is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_document
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.check import check
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.permit import permit
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import ParameterError
from ansible_collections.sodalite.image_builder.plugins.module_utils.policy import PERMISSIVE, Policy

from image_builder.documents.read import parse
from tests.support.examples import EXAMPLES, variables
from tests.support.hostile import ACCEPTED, DOCUMENTS, NO_PATH, dotted, places, replaced
from tests.support.run import ROOT

PAYLOADS = tuple(sorted((ROOT / "tests" / "conformance" / "payloads").iterdir()))
STRICT = Policy(
    secret_forms=frozenset({"text"}),
    local_paths=False,
    builders=frozenset({"kube", "shared"}),
    longest_seconds=3600,
    most_images=2,
)
NOT_HERE = "names a file or folder of the machine that builds, which is not allowed here"
TEXT_ONLY = "is not allowed here; give text"


def document(**changed: Any) -> dict[str, Any]:
    """A document that a strict policy lets pass, with the parts ``changed``."""
    return {
        "source": {"git_repo": {"url": "https://git.example.com/team/app.git"}},
        "target": {"images": [{"image": "app"}], "registry": {"url": "registry.example.com"}},
        **changed,
    }


def refused(raw: Any, policy: Policy) -> list[str]:
    """Every fault of a document under ``policy``; none when it is accepted."""
    try:
        accept_document(raw, policy)
    except ParameterError as error:
        return error.faults
    return []


@pytest.mark.parametrize("path", [*EXAMPLES, *PAYLOADS], ids=lambda path: path.name)
def test_without_a_policy_every_document_in_use_is_let_pass(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = parse(path)
    for name in variables(raw):
        monkeypatch.setenv(name, "a secret")
    assert permit(check(raw), PERMISSIVE) == check(raw)
    assert refused(raw, PERMISSIVE) == []


@pytest.mark.parametrize(
    ("policy", "changed", "expected"),
    [
        (
            {"secret_forms": frozenset({"env", "text"})},
            {"source": {"git_repo": {"url": "https://a/b", "password": {"file": "/etc/shadow"}}}},
            [
                "source.git_repo.password: a secret as {file: PATH} is not allowed here; "
                "give text or {env: NAME}"
            ],
        ),
        (
            {"secret_forms": frozenset({"text"})},
            {"source": {"dockerfile": {"url": "https://a/b", "password": {"env": "HOME"}}}},
            [f"source.dockerfile.password: a secret as {{env: NAME}} {TEXT_ONLY}"],
        ),
        (
            {"secret_forms": frozenset()},
            {"source": {"tar": {"url": "https://a/b", "password": "text"}}},
            ["source.tar.password: a secret as text is not allowed here; leave it out"],
        ),
        ({"local_paths": False}, {"custom_workdir": "/var/tmp"}, [f"custom_workdir: {NOT_HERE}"]),
        (
            {"own_settings": False},
            {
                "target": {
                    "images": [{"image": "a", "ssh": {"default": True, "own": "KEY"}}],
                    "registry": {"url": "r.example.com"},
                }
            },
            [
                "target.images[0].ssh.default: asks for what belongs to the user who builds, "
                "which is not allowed here"
            ],
        ),
        (
            {"own_settings": False},
            {
                "target": {
                    "images": [{"image": "a", "cache_from": [{"type": "gha"}]}],
                    "registry": {"url": "r.example.com"},
                }
            },
            [
                "target.images[0].cache_from[0]: asks for what belongs to the user who builds, "
                "which is not allowed here"
            ],
        ),
        (
            {"host_network": False},
            {"target": {"images": [{"image": "a", "network": "host"}], "registry": {"url": "r.example.com"}}},
            [
                "target.images[0].network: asks for the network of the machine that builds, "
                "which is not allowed here"
            ],
        ),
        (
            {"builders": frozenset({"kube"})},
            {"options": {"builder": "mine"}},
            ["options.builder: the builder 'mine' is not allowed here; choose kube"],
        ),
        (
            {"builders": frozenset()},
            {"options": {"builder": "mine"}},
            ["options.builder: the builder 'mine' is not allowed here; leave it out"],
        ),
        ({"builders": frozenset()}, {"options": {}}, []),
        (
            {"longest_seconds": 60},
            {"options": {"timeout": 61}},
            ["options.timeout: expected at most 60 seconds, got 61"],
        ),
        ({"longest_seconds": 60}, {"options": {"timeout": 60}}, []),
        (
            {"most_images": 1},
            {
                "target": {
                    "images": [{"image": "a"}, {"image": "b"}],
                    "registry": {"url": "registry.example.com"},
                }
            },
            ["target.images: expected at most 1, got 2"],
        ),
        ({"most_images": 1}, {}, []),
    ],
)
def test_each_rule_refuses_what_it_is_about(
    policy: dict[str, Any], changed: dict[str, Any], expected: list[str]
) -> None:
    assert refused(document(**changed), Policy(**policy)) == expected
    assert not any("not allowed" in fault for fault in refused(document(**changed), PERMISSIVE))


def test_all_that_is_refused_is_told_at_once_with_what_is_wrong_besides() -> None:
    raw = document(
        source={
            "dockerfile": {"url": "file:///srv/Dockerfile", "password": {"file": "/etc/shadow"}},
            "build_context": {"path": "/srv/app"},
        },
        target={
            "images": [
                *({"image": name} for name in ("a", "b")),
                {"image": "c", "platforms": ["linux"], "secrets": {"token": {"env": "HOME"}}},
            ],
            "registry": {"url": "registry.example.com"},
        },
        options={"builder": "mine", "timeout": 3601},
        custom_workdir="/var/tmp",
    )
    expected = [
        f"source.dockerfile.url: {NOT_HERE}",
        f"source.build_context.path: {NOT_HERE}",
        f"custom_workdir: {NOT_HERE}",
        "options.builder: the builder 'mine' is not allowed here; choose kube or shared",
        "options.timeout: expected at most 3600 seconds, got 3601",
        "target.images: expected at most 2, got 3",
        f"source.dockerfile.password: a secret as {{file: PATH}} {TEXT_ONLY}",
        f"target.images[2].secrets.token: a secret as {{env: NAME}} {TEXT_ONLY}",
    ]
    wrong, *others = refused(raw, STRICT)
    assert wrong.startswith("target.images[2].platforms[0]: 'linux' is not a platform")
    assert others == expected

    del raw["target"]["images"][2]["platforms"]
    assert refused(raw, STRICT) == expected
    with pytest.raises(ParameterError) as caught:
        permit(check(raw), STRICT)
    assert caught.value.faults == expected[:-2]


def test_the_longest_time_stands_in_for_a_limit_that_a_document_leaves_out() -> None:
    assert accept_document(document(), STRICT).options.timeout == 3600
    assert permit(check(document()), STRICT).options.timeout == 3600
    assert permit(check(document(options={"timeout": 5})), STRICT).options.timeout == 5
    assert permit(check(document()), replace(STRICT, longest_seconds=None)).options.timeout is None


def test_a_request_without_a_time_limit_has_the_usual_one_within_the_operators() -> None:
    for longest, limit in ((None, 21600), (3600, 3600), (90_000, 21600)):
        policy = replace(STRICT, longest_seconds=longest)
        assert accept_document(document(), policy).options.limit == limit
    asked = document(options={"timeout": 80_000})
    assert accept_document(asked, replace(STRICT, longest_seconds=90_000)).options.limit == 80_000
    assert accept_document(asked, PERMISSIVE).options.limit == 80_000


def test_a_refusal_never_repeats_a_secret() -> None:
    raw = document(source={"tar": {"url": "https://a/b", "password": "hunter2"}})
    assert "hunter2" not in json.dumps(refused(raw, Policy(secret_forms=frozenset())))


#: Texts that name something on this machine where a place takes a path, or an address.
LOCAL = ("/srv/app", "file:///srv/app")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        pytest.param(name, place, id=f"{name}-{dotted(place)}")
        for name, made in DOCUMENTS.items()
        for place in places(made)
    ],
)
def test_every_place_that_takes_a_path_of_this_machine_is_refused_by_its_name(
    name: str, place: tuple[Any, ...]
) -> None:
    here = dotted(place)
    for text in LOCAL:
        raw = replaced(DOCUMENTS[name], place, text)
        taken = not refused(raw, PERMISSIVE)
        forbidden = f"{here}: {NOT_HERE}" in refused(raw, Policy(local_paths=False))
        # What is taken is refused, unless it is known to be no path of this machine.
        assert forbidden or not taken or here in NO_PATH, text
        assert not (forbidden and here in NO_PATH), text


def test_the_places_that_are_no_path_are_places_that_take_one() -> None:
    known = {dotted(place) for made in DOCUMENTS.values() for place in places(made)}
    assert known >= NO_PATH
    assert {place for place, texts in ACCEPTED.items() if "absolute" in texts} & NO_PATH
