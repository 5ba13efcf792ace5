# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Where a repository that the document names may lead: submodules, large files, redirects."""

from __future__ import annotations

from typing import Optional

from ...errors import SourceError
from ...network import git_url
from ...network.reach import Nearness, check_host, nearness_of, no_nearer
from ...policy import Reach
from .environment import Settings

#: To which transports those of an address may lead on: none that protects less, and no files.
_ONWARD = {
    "https": ("https", "ssh"),
    "ssh": ("https", "ssh"),
    "http": ("https", "http", "ssh", "git"),
    "git": ("https", "http", "ssh", "git"),
    "file": git_url.TRANSPORTS,
}


class Onward:
    """What may be asked beside ``origin``, the address that git has for the document's repository.

    ``reach`` is the operator's. What is further away does not lead nearer to this machine.
    """

    def __init__(self, origin: str, reach: Reach) -> None:
        self._origin = origin
        self.reach = reach
        self._nearest: Optional[Nearness] = None

    def addresses(self, url: str) -> Settings:
        """The settings with which git connects to the addresses of the host of ``url`` that are judged here.

        ``url`` is as git has it. Raises ``SourceError`` ``address_forbidden`` where it may not connect to one
        of them.
        """
        place = git_url.host_and_port(url)
        if place is None:
            return ()
        host, port = place
        addresses = check_host(host, port, self._reach_of(host))
        if not addresses or ":" in host:  # nothing changes what a literal address means
            return ()
        listed = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
        return (("http.curloptResolve", f"{host}:{port}:{listed}"),)

    def refusal(self, url: str) -> str:
        """Why the repository may not name ``url``, as git has it, empty where it may; a clause."""
        transport = git_url.transport(url)
        if transport in _ONWARD.get(git_url.transport(self._origin), ()):
            return ""
        if transport in ("http", "git"):
            return f"it leads from {git_url.transport(self._origin)} to {transport}, which protects nothing"
        return f"the transport {transport} is not allowed in it"

    def check_redirect(self, url: str, following: str, what: str) -> None:
        """Raise ``SourceError`` unless ``following`` is where a server may send git on to from ``url``."""
        reason = ""
        try:
            git_url.check_url(following)
        except ValueError:
            reason = "which is no address for git"
        if not reason and git_url.transport(following) not in ("https", git_url.transport(url)):
            reason = f"from {git_url.transport(url)} to {git_url.transport(following)}"
        if not reason:
            try:
                self.addresses(following)
            except SourceError:
                reason = "which may not be reached from here"
        if reason:
            raise SourceError(
                "git_failed",
                f"The server redirects {what} to another address, {reason}, so it is not followed.",
                hint="Give the address where the repository really is.",
            )

    def _reach_of(self, host: str) -> Reach:
        """The reach for ``host``, whose name the repository or its server may have chosen."""
        return no_nearer(self.reach, self._nearest_of(host))

    def nearest(self, url: str) -> Nearness:
        """How near to this machine the host of ``url``, as git has it, may be or lead."""
        place = git_url.host_and_port(url)
        if place is None:
            return Nearness.HERE
        return min(self._nearest_of(place[0]), nearness_of(place[0]))

    def _nearest_of(self, host: str) -> Nearness:
        origin = git_url.host_and_port(self._origin)
        if origin is None or origin[0] == host:
            return Nearness.HERE
        if self._nearest is None:
            self._nearest = nearness_of(origin[0])
        return self._nearest
