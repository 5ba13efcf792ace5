# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Real registries for the tests of the registry client, and servers that misbehave on purpose."""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import json
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Optional
from urllib.parse import parse_qs, urlsplit

import bcrypt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from tests.support.background_server import in_background
from tests.support.http import encoded_account, speak_tls

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"


def sha256(content: bytes) -> str:
    """The digest of ``content``."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def registry_program() -> str:
    """The path of docker-registry; skips the test where there is none."""
    found = os.environ.get("IMAGE_BUILDER_TEST_REGISTRY_BINARY") or shutil.which(
        "docker-registry",
        path=os.pathsep.join((os.environ.get("PATH", ""), "/opt/image-builder-registry/usr/bin")),
    )
    if not found:
        pytest.skip("docker-registry is neither on PATH nor in /opt/image-builder-registry/usr/bin")
    return found


@dataclass
class RunningRegistry:
    """A registry at ``host`` (``host:port``), filled by plain HTTP requests."""

    host: str
    username: str = ""
    password: str = ""
    ca: Optional[Path] = None
    token: str = ""
    storage: Optional[Path] = None

    def call(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One request without retries: status, headers and body; statuses of 400 and above too."""
        url = path if path.startswith("http") else f"{'https' if self.ca else 'http'}://{self.host}/v2/{path}"
        request = urllib.request.Request(url, data=body or None, method=method)
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        if self.username:
            request.add_header("Authorization", f"Basic {encoded_account(self.username, self.password)}")
        elif self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        context = ssl.create_default_context(cafile=str(self.ca)) if self.ca else None
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def push_blob(self, repository: str, content: bytes) -> dict[str, Any]:
        """Store a blob and give its descriptor, without a media type."""
        status, headers, _ = self.call("POST", f"{repository}/blobs/uploads/")
        assert status == 202
        location = headers["Location"]
        location += ("&" if "?" in location else "?") + f"digest={sha256(content)}"
        status, _, body = self.call("PUT", location, content, Content_Type="application/octet-stream")
        assert status == 201, body
        return {"digest": sha256(content), "size": len(content)}

    def push_manifest(self, repository: str, tag: str, content: Mapping[str, Any]) -> str:
        """Store a manifest or index under ``tag``, or its digest where ``tag`` is empty; gives the digest."""
        body = json.dumps(content).encode()
        status, _, answer = self.call(
            "PUT",
            f"{repository}/manifests/{tag or sha256(body)}",
            body,
            Content_Type=str(content["mediaType"]),
        )
        assert status == 201, answer
        return sha256(body)

    def push_image(
        self,
        repository: str,
        tag: str = "",
        platform: Mapping[str, str] = {"os": "linux", "architecture": "amd64"},
        *,
        docker: bool = False,
        annotations: Optional[Mapping[str, str]] = None,
        salt: str = "",
        layers: Sequence[Mapping[str, Any]] = (),
    ) -> str:
        """Store an image of ``layers``, descriptors with their media types; gives its digest.

        ``salt`` makes another of the same platform.
        """
        config = {"rootfs": {"type": "layers", "diff_ids": []}, **platform, "author": salt}
        descriptor = self.push_blob(repository, json.dumps(config).encode())
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
            "config": {"mediaType": DOCKER_CONFIG if docker else OCI_CONFIG, **descriptor},
            "layers": list(layers),
        }
        if annotations:
            manifest["annotations"] = dict(annotations)
        return self.push_manifest(repository, tag, manifest)

    def push_index(
        self,
        repository: str,
        tag: str,
        entries: list[dict[str, Any]],
        *,
        docker: bool = False,
        annotations: Optional[Mapping[str, str]] = None,
    ) -> str:
        """Store an index of ``entries`` (media type and size are filled in); gives its digest."""
        manifest_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
        manifests = []
        for entry in entries:
            status, headers, _ = self.call(
                "HEAD", f"{repository}/manifests/{entry['digest']}", Accept=f"{manifest_type}"
            )
            assert status == 200
            manifests.append({"mediaType": manifest_type, "size": int(headers["Content-Length"]), **entry})
        content: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": DOCKER_LIST if docker else OCI_INDEX,
            "manifests": manifests,
        }
        if annotations:
            content["annotations"] = dict(annotations)
        return self.push_manifest(repository, tag, content)

    def uploads(self) -> int:
        """How many uploads lie unfinished in the registry's storage."""
        assert self.storage is not None
        return len(list(self.storage.glob("docker/registry/v2/repositories/**/_uploads/*/startedat")))


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_registry(
    folder: Path,
    *,
    username: str = "",
    password: str = "",
    certificate: Optional[Certificate] = None,
    delete: bool = True,
    auth: Optional[Mapping[str, Any]] = None,
    port: Optional[int] = None,
) -> Iterator[RunningRegistry]:
    """Run docker-registry on ``port`` or a free one of 127.0.0.1 with its data in ``folder``."""
    program = registry_program()
    folder.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{port or free_port()}"
    http: dict[str, Any] = {"addr": host}
    if certificate is not None:
        http["tls"] = {"certificate": str(certificate.path), "key": str(certificate.key_path)}
    configuration: dict[str, Any] = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": delete}},
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "http": http,
    }
    if username:
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
        (folder / "htpasswd").write_text(f"{username}:{hashed}\n", encoding="utf-8")
        auth = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    if auth is not None:
        configuration["auth"] = auth
    file = folder / "registry.yml"
    file.write_text(json.dumps(configuration), encoding="utf-8")  # JSON is YAML
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(host.rpartition(":")[2]))) == 0:
                    break
            time.sleep(0.05)
        assert process.poll() is None, (folder / "registry.log").read_text(errors="replace")
        yield RunningRegistry(
            host, username, password, certificate.path if certificate else None, storage=folder / "data"
        )
    finally:
        process.terminate()
        process.wait(10)


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1 and its key, as files."""

    path: Path
    key_path: Path
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey


def make_certificate(folder: Path, address: str = "127.0.0.1") -> Certificate:
    """A certificate that is valid for ``address`` (an IP address or a name) only, and its own CA."""
    folder.mkdir(parents=True, exist_ok=True)
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "image-builder tests")])
    try:
        subject: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        subject = x509.DNSName(address)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([subject]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path, key_path = folder / "server.crt", folder / "server.key"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return Certificate(path, key_path, certificate, key)


@dataclass(frozen=True)
class Seen:
    """One request that a server got; ``authorization`` is empty where there was none."""

    method: str
    path: str
    authorization: str
    body: bytes


#: What a server answers: status, headers, body; ``None`` closes the connection without an answer.
Answer = Optional[tuple[int, Mapping[str, str], bytes]]


@dataclass
class Server:
    """An HTTP server at ``host`` (``host:port``); ``seen`` are the requests it got."""

    host: str
    seen: list[Seen]
    connections: list[object]


@contextmanager
def serving(
    answer: Callable[[Seen], Answer],
    certificate: Optional[Certificate] = None,
    address: tuple[str, int] = ("127.0.0.1", 0),
) -> Iterator[Server]:
    """Run a server, on a free port unless told, that answers every request with ``answer(request)``."""
    seen: list[Seen] = []
    connections: list[object] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            connections.append(self.client_address)
            super().setup()

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Seen(self.command, self.path, self.headers.get("Authorization", ""), body)
            seen.append(request)
            given = answer(request)
            if given is None:
                self.close_connection = True
                return
            status, headers, content = given
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
            # A promise of more than was sent is a connection that breaks within the body.
            if int(headers.get("Content-Length", 0)) > len(content):
                self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(address, Handler)
    if certificate is not None:
        speak_tls(server, certificate.path, certificate.key_path)
    with in_background(server):
        yield Server(f"{address[0]}:{server.server_port}", seen, connections)


@contextmanager
def scripted(serve: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server that hands each connection to ``serve``, in a thread of its own; the URL of its root."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=run, args=(connection,), daemon=True).start()

        def run(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)


@contextmanager
def tunnelling(port: int) -> Iterator[tuple[str, list[str]]]:
    """Run a proxy whose every ``CONNECT`` leads to ``port`` of 127.0.0.1: its address and requests."""
    seen: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            lines = list(iter(lambda: self.rfile.readline().decode().strip(), ""))
            seen.append("\n".join(lines))
            with socket.create_connection(("127.0.0.1", port)) as inner:
                self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                back = threading.Thread(target=self._copy, args=(inner, self.connection), daemon=True)
                back.start()
                self._copy(self.connection, inner)
                back.join()

        @staticmethod
        def _copy(source: socket.socket, sink: socket.socket) -> None:
            with suppress(OSError):
                while content := source.recv(65536):
                    sink.sendall(content)
                sink.shutdown(socket.SHUT_WR)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    with in_background(server):
        yield f"127.0.0.1:{server.server_address[1]}", seen


@dataclass
class TokenService:
    """Issues the tokens of the distribution project's token specification.

    ``accounts`` are passwords by user, ``refresh_tokens`` users by identity token, ``rights`` the
    actions of each user (``""`` is everybody) in every repository.
    """

    certificate: Certificate
    accounts: dict[str, str]
    rights: dict[str, set[str]]
    refresh_tokens: dict[str, str] = field(default_factory=dict)
    service: str = "tests"
    issuer: str = "image-builder tests"
    lifetime: int = 300

    def answer(self, request: Seen) -> Answer:
        """The answer to ``GET`` with Basic and to ``POST`` with a refresh token."""
        if request.method == "POST":
            query = parse_qs(request.body.decode())
            user = self.refresh_tokens.get(query["refresh_token"][0])
            if query["grant_type"] != ["refresh_token"] or user is None:
                return 400, {}, b'{"error": "invalid_grant"}'
        else:
            query, user = parse_qs(urlsplit(request.path).query), ""
            if request.authorization:
                account = base64.b64decode(request.authorization.partition(" ")[2]).decode()
                user, _, password = account.partition(":")
                if self.accounts.get(user) != password:
                    return 401, {}, b"{}"
        assert query["service"] == [self.service]
        token = self.issue(user, query["scope"][0])
        key = "access_token" if request.method == "POST" else "token"
        return 200, {"Content-Type": "application/json"}, json.dumps({key: token}).encode()

    def issue(self, user: str, scope: str) -> str:
        """A signed token for the asked actions that the user has."""
        kind, name, actions = scope.split(":")
        granted = [action for action in actions.split(",") if action in self.rights.get(user, set())]
        now = int(time.time())
        header = {
            "typ": "JWT",
            "alg": "RS256",
            "x5c": [
                base64.b64encode(
                    self.certificate.certificate.public_bytes(serialization.Encoding.DER)
                ).decode()
            ],
        }
        claims = {
            "iss": self.issuer,
            "sub": user,
            "aud": self.service,
            "exp": now + self.lifetime,
            "nbf": now - 60,
            "iat": now,
            "jti": os.urandom(8).hex(),
            "access": [{"type": kind, "name": name, "actions": granted}],
        }
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = self.certificate.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64url(signature)}"

    def registry_auth(self, host: str) -> dict[str, Any]:
        """The registry's ``auth`` settings for this service at ``host``."""
        return {
            "token": {
                "realm": f"http://{host}/token",
                "service": self.service,
                "issuer": self.issuer,
                "rootcertbundle": str(self.certificate.path),
            }
        }


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
