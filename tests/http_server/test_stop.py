"""The end of the web server: soon, whatever clients do, and without a word in the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from log_records import recorded
from servers import PATIENCE_SECONDS, self_signed, wait_for
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from goe_exporter.http_server import server as server_module
from goe_exporter.http_server.server import Server
from goe_exporter.http_server.web_config import WebSettings

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@contextlib.contextmanager
def stopped(app: ASGIApp, settings: WebSettings | None = None) -> Iterator[Server]:
    """Yield a running server; when the block ends it is stopped, and must end without a log."""
    server = Server([("127.0.0.1", 0)], settings)
    thread = threading.Thread(target=server.run, args=(app,), daemon=True)
    with recorded("uvicorn.error") as web, recorded("asyncio") as loop:
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert [each.getMessage() for each in web + loop if each.levelno > logging.INFO] == []


def connected(server: Server) -> socket.socket:
    return socket.create_connection(
        ("127.0.0.1", urlsplit(server.urls[0]).port), timeout=PATIENCE_SECONDS
    )


def everything(connection: socket.socket) -> bytes:
    """Return what the server sends until it closes or aborts the connection."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            found += piece
    return found


class Slow:
    """An application that answers when `release` is set; `requests` have begun."""

    def __init__(self) -> None:
        self.requests = 0
        self.release = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests += 1
        while not self.release.is_set():  # noqa: ASYNC110, set by another thread
            await asyncio.sleep(0.01)
        await Response("late")(scope, receive, send)


def test_requests_that_are_never_answered() -> None:
    """They are aborted, and none is logged as an error."""
    slow = Slow()
    with contextlib.ExitStack() as stack:
        with stopped(slow) as server:
            clients = [stack.enter_context(connected(server)) for _ in range(20)]
            for client in clients:
                client.sendall(GET)
            wait_for(lambda: slow.requests == 20, "the requests")
        assert {everything(client) for client in clients} == {b""}


def test_a_response_in_progress_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response that is ready soon after the stop is sent, and the connection is closed."""
    monkeypatch.setattr(server_module, "FINISH_SECONDS", PATIENCE_SECONDS)
    slow = Slow()
    with contextlib.ExitStack() as stack:
        with stopped(slow) as server:
            client = stack.enter_context(connected(server))
            client.sendall(GET)
            wait_for(lambda: slow.requests == 1, "the request")
            idle = stack.enter_context(connected(server))
            server.stop()
            assert everything(idle) == b""  # so the server is stopping
            slow.release.set()
        assert everything(client).endswith(b"\r\n\r\nlate")


def test_a_client_that_does_not_read() -> None:
    """An unread response does not delay the stop."""
    large = Response(b"a" * 16_000_000)
    with contextlib.ExitStack() as stack, stopped(large) as server:
        client = stack.enter_context(connected(server))
        client.sendall(GET)
        assert client.recv(12) == b"HTTP/1.1 200"


def test_half_a_request() -> None:
    """Clients that have sent nothing, or half a request, do not delay the stop."""
    with contextlib.ExitStack() as stack, stopped(Response("")) as server:
        stack.enter_context(connected(server))
        stack.enter_context(connected(server)).sendall(GET[:20])
        complete = stack.enter_context(connected(server))
        complete.sendall(GET)
        assert complete.recv(12) == b"HTTP/1.1 200"


@pytest.mark.system
def test_tls(tmp_path: Path) -> None:
    """Neither a stalled handshake nor a TLS client that does not end its side delays the stop."""
    path, both = tmp_path / "web.yaml", self_signed(tmp_path)
    path.write_text(f"tls_server_config: {{cert_file: {both}, key_file: {both}}}\n")
    trusting = ssl.create_default_context(cafile=str(both))
    slow = Slow()
    with contextlib.ExitStack() as stack, stopped(slow, WebSettings(str(path))) as server:
        stack.enter_context(connected(server)).sendall(b"\x16\x03\x01")
        for _ in range(2):
            plain = stack.enter_context(connected(server))
            client = trusting.wrap_socket(plain, server_hostname="127.0.0.1")
            client.sendall(GET)
            stack.enter_context(client)
        wait_for(lambda: slow.requests == 2, "the requests")
