# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The HTTP layer against servers that are slow, silent, or gone: limits, cancelling, kept connections."""

from __future__ import annotations

import gc
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import Cancelled
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine.processes import wait_until
from ansible_collections.sodalite.image_builder.plugins.module_utils.network.failure import Failure
from ansible_collections.sodalite.image_builder.plugins.module_utils.network.http import HttpClient
from ansible_collections.sodalite.image_builder.plugins.module_utils.network.tls import SYSTEM, Tls

from tests.unit.registries import Answer, Seen, make_certificate, scripted, serving

HEADERS = b"HTTP/1.1 200 OK\r\n"
FOUND = (200, {}, b"x")


def fetch(client: HttpClient, url: str, tls: Tls = SYSTEM) -> bytes:
    with client.request("GET", f"{url}/", {}, tls=tls) as answer:
        return answer.read_all(1 << 20)


def trickle(connection: socket.socket, start: bytes, drop: bytes) -> None:
    """Answer with ``start``, and then one ``drop`` after the other, faster than any silence is noticed."""
    connection.recv(1 << 16)
    connection.sendall(start)
    pause = threading.Event()
    while not pause.wait(0.02):
        connection.sendall(drop)


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (HEADERS, b"X: y\r\n"),
        (HEADERS + b"X: ", b"y"),
        (HEADERS + b"Content-Length: 9999\r\n\r\n", b"x"),
        (HEADERS + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["headers", "one header", "body", "chunks"],
)
def test_an_answer_that_trickles_in_ends_by_its_deadline(start: bytes, drop: bytes) -> None:
    with (
        scripted(lambda connection: trickle(connection, start, drop)) as url,
        HttpClient(timeout=0.5) as client,
        pytest.raises(Failure, match=r"in time|in HTTP"),
    ):
        fetch(client, url)


@pytest.mark.parametrize(
    "drop",
    [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n" + b"X: yyyyyyy\r\n" * 90 + b"\r\n"],
    ids=["continue", "with headers"],
)
def test_endless_1xx_answers_end_by_their_bytes(drop: bytes) -> None:
    sent = 0

    def serve(connection: socket.socket) -> None:
        nonlocal sent
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
        connection.recv(1 << 16)
        while True:
            sent += connection.send(drop * 20)

    with (
        scripted(serve) as url,
        HttpClient(timeout=600) as client,
        pytest.raises(Failure, match="headers without an end") as raised,
    ):
        fetch(client, url)
    assert (raised.value.code, raised.value.pause) == ("too_long", None)
    # What was read, and what the buffers of the two sockets hold.
    assert sent < 8 << 20


def test_a_body_that_trickles_in_ends_by_its_own_deadline_and_is_not_asked_for_again() -> None:
    with (
        scripted(
            lambda connection: trickle(connection, HEADERS + b"Content-Length: 9999\r\n\r\n", b"x")
        ) as url,
        HttpClient(timeout=600, body_seconds=0.3) as client,
        pytest.raises(Failure, match="takes too long") as raised,
    ):
        fetch(client, url)
    assert raised.value.pause is None


def test_a_long_body_may_take_its_time_where_it_is_told_to_but_not_what_comes_before_it() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(HEADERS + b"Content-Length: 40\r\n\r\n")
        for _ in range(40):
            threading.Event().wait(0.02)
            connection.sendall(b"x")

    with scripted(serve) as url, HttpClient(timeout=0.4, body_seconds=60) as client:
        assert fetch(client, url) == b"x" * 40
    with (
        scripted(lambda connection: trickle(connection, HEADERS, b"X: y\r\n")) as url,
        HttpClient(timeout=0.4, body_seconds=60) as client,
        pytest.raises(Failure),
    ):
        fetch(client, url)


def test_silence_within_a_body_ends_even_one_without_a_deadline() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(HEADERS + b"Content-Length: 40\r\n\r\nx")
        connection.recv(1)

    with (
        scripted(serve) as url,
        HttpClient(timeout=0.3, body_seconds=60) as client,
        pytest.raises(Failure, match="in time"),
    ):
        fetch(client, url)


@pytest.mark.parametrize(
    ("scheme", "start"),
    [
        ("http", b""),
        ("http", HEADERS + b"Content-Length: 9\r\n\r\nx"),
        ("http", HEADERS + b"Connection: close\r\n\r\nx"),
        ("https", b""),
    ],
    ids=["answer", "body", "last body", "handshake"],
)
def test_closing_the_client_wakes_who_waits_in_another_thread(scheme: str, start: bytes) -> None:
    waiting = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(start)
        waiting.set()
        connection.recv(1 << 16)

    with scripted(serve) as url, ThreadPoolExecutor(1) as pool:
        with HttpClient(timeout=600) as client:
            asked = pool.submit(fetch, client, url.replace("http", scheme))
            assert waiting.wait(20)
        with pytest.raises(Cancelled):
            asked.result(20)


def test_closing_the_client_wakes_who_waits_for_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        host, port = server.getsockname()
        # This one fills the queue of the server, which accepts none: the next one waits.
        with socket.create_connection((host, port)), ThreadPoolExecutor(1) as pool:
            with HttpClient(timeout=600) as client:
                asked = pool.submit(fetch, client, f"http://{host}:{port}")
                while not is_connecting(port):
                    assert not asked.done()
            with pytest.raises(Cancelled):
                asked.result(5)


def is_connecting(port: int) -> bool:
    """Whether a socket of this machine waits for an answer of ``port`` (SYN_SENT is 02 in proc(5))."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return any(fields[2].endswith(f":{port:04X}") and fields[3] == "02" for fields in lines[1:])


def test_a_closed_client_asks_nothing_more() -> None:
    with serving(lambda request: FOUND) as server:
        client = HttpClient()
        fetch(client, f"http://{server.host}")
        client.close()
        with pytest.raises(Cancelled):
            fetch(client, f"http://{server.host}")
        assert len(server.seen) == 1


def test_a_kept_connection_that_the_server_no_longer_wants_is_no_failure() -> None:
    answers: list[Answer] = [FOUND, None, FOUND]
    with serving(lambda request: answers.pop(0)) as server, HttpClient() as client:
        for _ in range(2):
            assert fetch(client, f"http://{server.host}") == b"x"
        assert len(server.connections) == 2


def test_a_new_connection_that_ends_without_an_answer_is_one() -> None:
    with serving(lambda request: None) as server, HttpClient() as client:
        with pytest.raises(Failure, match="broke off") as raised:
            fetch(client, f"http://{server.host}")
        assert raised.value.pause is not None
        assert len(server.connections) == 1


def test_connections_are_kept_over_redirects_and_none_is_left_open() -> None:
    def answer(request: Seen) -> Answer:
        return FOUND if request.path == "/there" else (302, {"Location": "/there"}, b"moved")

    gc.collect()
    before = open_sockets()
    with serving(answer) as server:
        with HttpClient() as client:
            for _ in range(3):
                with client.request("GET", f"http://{server.host}/", {}, onward=lambda *urls: Tls()) as given:
                    assert given.read_all(9) == b"x"
            with client.request("GET", f"http://{server.host}/there", {}):
                pass  # An answer that nobody reads.
            with client.request("GET", f"http://{server.host}/there", {}) as given:
                assert given.read_all(9) == b"x"
        assert len(server.connections) == 2
    # The server's threads close their ends a little later.
    assert wait_until(lambda: open_sockets() <= before, 20)


def open_sockets() -> set[str]:
    """The sockets of this process that are open for a connection."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.add(os.readlink(link))
    return {name for name in found if name.startswith("socket:")}


def test_an_answer_of_more_bytes_than_allowed_is_not_read_to_its_end() -> None:
    with (
        serving(lambda request: (200, {}, b"x" * 1000)) as server,
        HttpClient() as client,
        client.request("GET", f"http://{server.host}/", {}) as answer,
        pytest.raises(Failure, match="longer than 999 bytes"),
    ):
        answer.read_all(999)


def test_a_certificate_counts_for_the_host_that_it_names(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "registry.test"):
        certificate = make_certificate(tmp_path / host / "server", host)
        (tmp_path / host / "ca.crt").write_bytes(certificate.path.read_bytes())
        trusted = Tls((str(tmp_path / host),))
        with serving(lambda request: FOUND, certificate) as server, HttpClient() as client:
            if host == "127.0.0.1":
                assert fetch(client, f"https://{server.host}", trusted) == b"x"
                trusted = Tls()
            with pytest.raises(Failure, match="is not trusted") as raised:
                fetch(client, f"https://{server.host}", trusted)
            assert raised.value.code == "certificate"
            assert fetch(client, f"https://{server.host}", Tls(insecure=True)) == b"x"


def test_a_server_that_refused_tls_once_is_asked_by_tls_again() -> None:
    """Only where plain HTTP succeeded it is what the server speaks."""
    with HttpClient() as client:
        insecure = Tls(insecure=True)
        with serving(lambda request: None) as server:
            with pytest.raises(Failure):
                fetch(client, f"https://{server.host}", insecure)
            assert client.base("https", server.host, insecure).startswith("https://")
        with serving(lambda request: FOUND) as server:
            assert fetch(client, f"https://{server.host}", insecure) == b"x"
            assert client.base("https", server.host, insecure).startswith("http://")
            assert client.base("https", server.host, Tls()).startswith("https://")
