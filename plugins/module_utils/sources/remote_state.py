# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What servers say of what ADD would fetch from them: other words where it is something else.

They are asked as BuildKit asks them: without a login, and with nothing of the user's own settings; but not
where a source from further away names what is nearer to this machine. Rules: RFC 9110, "Validator Fields".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Optional

from ..document.source import GitRepo
from ..errors import SourceError
from ..listener import Lines
from ..network import file_url, git_url
from ..network.failure import Failure
from ..network.reach import Nearness, nearness_of, no_nearer
from ..parallel import in_parallel
from ..policy import Policy
from .download import onward
from .git.commit import resolve

if TYPE_CHECKING:
    from ..network.http import HttpClient

_SECONDS = 10.0
# More are not asked: a hostile Dockerfile has thousands.
_MOST_FILES, _MOST_REPOSITORIES = 100, 20
_AT_ONCE = 16


def reachable_from(url: str, policy: Policy) -> Policy:
    """``policy``, but for what is nearer to this machine than the source at ``url``; empty is a local one."""
    place = git_url.host_and_port(url) if url else None
    nearest = nearness_of(place[0]) if place else Nearness.HERE
    return replace(policy, reach=no_nearer(policy.reach, nearest))


def file_states(urls: Sequence[str], policy: Policy) -> dict[str, str]:
    """What the servers of the http and https addresses ``urls`` say; those that cannot tell are left out."""
    if not urls:
        return {}
    # Not before there is something to ask: it imports urllib3.
    from ..network.http import HttpClient

    asked = urls[:_MOST_FILES]
    with HttpClient(timeout=_SECONDS, body_seconds=_SECONDS, reach=policy.reach) as client:
        states = in_parallel(partial(_file_state, client), asked, _AT_ONCE)
    return {url: state for url, state in zip(asked, states) if state}


def _file_state(client: HttpClient, url: str) -> str:
    try:
        file_url.check_url(url)
    except ValueError:
        return ""
    state = ""
    for method in ("HEAD", "GET"):
        # That it cannot be fetched is for BuildKit to tell. The body, if there is one, is left unread.
        with (
            suppress(Failure),
            client.request(method, url, {"Accept": "*/*"}, onward=onward) as answer,
        ):
            state = _validator(answer.headers) if answer.status == 200 else ""
        if state:
            break
    return state


def _validator(headers: Mapping[str, str]) -> str:
    """What tells one content from another, empty where nothing does."""
    length = headers.get("Content-Length", "")
    if headers.get("ETag"):
        return f"etag {headers['ETag']} {length}"
    try:
        changed, now = (parsedate_to_datetime(headers[name]) for name in ("Last-Modified", "Date"))
        # Within the second that the server counts by, there can be another content.
        settled = changed < now
    except (KeyError, ValueError, TypeError, IndexError):
        return ""
    return f"modified {headers['Last-Modified']} {length}" if settled else ""


def commits(repositories: Sequence[tuple[str, str]], policy: Policy) -> dict[tuple[str, str], str]:
    """The commits that versions of git repositories mean now; what cannot be told is left out.

    ``repositories`` are addresses, by http, https or git, and versions.
    """
    found = {}
    for url, version in repositories[:_MOST_REPOSITORIES]:
        commit = _commit(url, version, replace(policy, own_settings=False))
        if commit:
            found[url, version] = commit
    return found


def _commit(url: str, version: str, policy: Policy) -> Optional[str]:
    try:
        git_url.check_url(url)
        # That a branch has the name of a tag, or that a server is asked again, is nothing to tell here.
        found = resolve(GitRepo(url, version), Lines(lambda _: None), policy)
    except (SourceError, ValueError):
        return None
    return found.commit if found else None
