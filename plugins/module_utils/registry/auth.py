# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Answering a registry's challenge: Basic, or a token fetched from its token service.

Source of the rules: RFC 9110 (challenges) and the distribution project's token and OAuth2
specifications. A login goes to the endpoint it belongs to, and to the token service that
this endpoint itself names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Optional
from urllib.parse import urlencode

from ..network.failure import Failure
from ..secret import Secret
from .credentials import Credentials, Login
from .hosts import Endpoint
from .transport import Place, Response, Transport

if TYPE_CHECKING:
    from ..network.http import Carried

_SCHEME = re.compile(r"[\s,]*([A-Za-z][A-Za-z0-9-]*)(?:\s+|\Z)")
_PARAMETER = re.compile(r'[\s,]*([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))')
_TOKEN = re.compile(r"[\x21-\x7e]+\Z")
_CLIENT = "image-builder"


def challenges(headers: Iterable[str]) -> dict[str, dict[str, str]]:
    """The challenges of ``WWW-Authenticate`` headers: scheme in lower case to its parameters."""
    found: dict[str, dict[str, str]] = {}
    for header in headers:
        position = 0
        while scheme := _SCHEME.match(header, position):
            position = scheme.end()
            parameters = found.setdefault(scheme.group(1).lower(), {})
            while parameter := _PARAMETER.match(header, position):
                position = parameter.end()
                quoted, bare = parameter.group(2), parameter.group(3)
                value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
                parameters.setdefault(parameter.group(1).lower(), value)
    return found


class Authorizer:
    """Sends requests with the Authorization header that an endpoint asks for, and keeps that."""

    def __init__(self, transport: Transport, credentials: Credentials) -> None:
        self._transport = transport
        self._credentials = credentials
        self._headers: dict[tuple[Endpoint, str], str] = {}
        self._tokens: set[str] = set()

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What was given out so far, passwords and tokens, to keep it out of messages."""
        return (*self._credentials.secrets, *map(Secret, tuple(self._tokens)))

    def send(
        self,
        place: Place,
        method: str,
        scope: str,
        headers: Mapping[str, str],
        body: Carried = b"",
        *,
        follow: bool = True,
    ) -> Response:
        """One answer, after a login where the endpoint itself asks for one. Raises ``Failure``.

        ``scope`` is asked for where a challenge names none.
        """
        endpoint = place.endpoint

        def send(header: Optional[str]) -> Response:
            given = {**headers, "Authorization": header} if header else headers
            return self._transport.send(place, method, given, body, follow=follow)

        response = send(self._headers.get((endpoint, scope)))
        if response.status != 401 or response.endpoint != endpoint:
            return response
        # A header that was good before may have expired: it is made anew.
        header = self._header(response, scope)
        response = send(header)
        if response.status != 401 or response.endpoint != endpoint:
            self._headers[endpoint, scope] = header
        elif header.startswith("Basic ") or self._login(endpoint) is None:
            raise _unauthorized(endpoint, self._login(endpoint))
        return response

    def _login(self, endpoint: Endpoint) -> Optional[Login]:
        """The login for an endpoint. None goes in clear text to where the engine wants TLS."""
        if endpoint.scheme == "http" and not endpoint.insecure:
            return None
        return self._credentials.login(endpoint.host)

    def _header(self, challenged: Response, scope: str) -> str:
        endpoint = challenged.endpoint
        wanted = challenges(challenged.headers.get_all("WWW-Authenticate") or ())
        login = self._login(endpoint)
        if "bearer" in wanted:
            return f"Bearer {self._token(challenged, wanted['bearer'], scope, login)}"
        if "basic" in wanted and login is not None and not login.is_identity_token:
            return f"Basic {login.basic}"
        raise _unauthorized(endpoint, login)

    def _token(self, challenged: Response, asked: dict[str, str], scope: str, login: Optional[Login]) -> str:
        endpoint, realm = challenged.endpoint, asked.get("realm", "")
        if "://" not in realm:
            raise Failure("registry_error", f"{endpoint.host} names no token service to log in at")
        service = self._transport.locate(challenged, realm)
        query = {"service": asked["service"]} if "service" in asked else {}
        query["scope"] = asked.get("scope") or scope
        headers = {"Accept": "application/json"}
        if login is not None and login.is_identity_token:
            query.update(grant_type="refresh_token", client_id=_CLIENT, refresh_token=login.password.reveal())
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            # What it carries is the login: it goes to this service alone.
            carried = urlencode(query).encode()
            response = self._transport.send(service, "POST", headers, carried, follow=False)
        else:
            if login is not None:
                headers["Authorization"] = f"Basic {login.basic}"
            target = service.target + ("&" if "?" in service.target else "?") + urlencode(query)
            response = self._transport.send(Place(service.endpoint, target), "GET", headers)
        # OAuth2 says 400 (invalid_grant) of a refresh token that is no longer good: RFC 6749, 5.2.
        if response.status in (401, 403) or (response.status == 400 and "refresh_token" in query):
            raise _unauthorized(endpoint, login)
        token = _token_in(response.body) if response.status == 200 else None
        if token is None:
            raise Failure(
                "registry_error",
                f"the token service {service.endpoint.host} of {endpoint.host} gave no token, "
                f"but status {response.status}",
                hint="Look into the settings of the registry's token service.",
                status=response.status,
            )
        self._tokens.add(token)
        return token


def _token_in(body: bytes) -> Optional[str]:
    try:
        answer = json.loads(body)
        token = answer.get("token") or answer.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        return None
    return token if isinstance(token, str) and _TOKEN.match(token) else None


def _unauthorized(endpoint: Endpoint, login: Optional[Login]) -> Failure:
    """The failure of a login that was not given, or was not accepted."""
    if login is None:
        what = f"{endpoint.host} wants a login, and none was given"
        hint = f"Give username and password for {endpoint.host}, or log in with: docker login {endpoint.host}"
    elif login.is_identity_token:
        what = f"{endpoint.host} did not accept the identity token in Docker's configuration"
        hint = f"Log in again with: docker login {endpoint.host}"
    else:
        what = f"{endpoint.host} did not accept the password of the user {login.username}"
        hint = "Check username and password; a registry with two-factor login wants an access token."
    return Failure("registry_unauthorized", what, hint=hint, status=401)
