# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""How the tests' own servers run: in a thread, for the length of a block."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from socketserver import ThreadingTCPServer


@contextmanager
def in_background(server: ThreadingHTTPServer | ThreadingTCPServer) -> Iterator[None]:
    """Answer requests to ``server`` until the end of the block, and close it."""
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
