"""Requests as RFC 9110 and 9112 allow or forbid them, sent as bytes to the web server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import bcrypt
import pytest
from servers import PATIENCE_SECONDS
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from goe_exporter.http_server.server import Server
from goe_exporter.http_server.web_config import WebSettings


class Answer(NamedTuple):
    """A response: status, headers in lower case, and body."""

    status: int
    headers: dict[str, str]
    body: bytes


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the parts of the request that the application sees."""
    request = Request(scope)
    path, query = scope["path"], scope["query_string"].decode()
    raw_path = scope["raw_path"].decode()
    text = f"{request.method} {path} {raw_path} ?{query} @{request.headers.get('host')}"
    await PlainTextResponse(text)(scope, receive, send)


@contextlib.contextmanager
def serving(settings: WebSettings | None = None) -> Iterator[Server]:
    """Run a server of `echo`; `/open` needs no password."""
    server = Server([("127.0.0.1", 0)], settings, open_paths=["/open"])
    thread = threading.Thread(target=server.run, args=(echo,))
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Yield a running server."""
    with serving() as server:
        yield server


def answers(server: Server, sent: bytes, count: int) -> list[Answer]:
    """Send bytes; return `count` responses, or fewer if the server closes the connection."""
    found: list[Answer] = []
    address = ("127.0.0.1", urlsplit(server.urls[0]).port)
    with socket.create_connection(address, timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(sent)
        with connection.makefile("rb") as stream:
            while len(found) < count and (status := stream.readline()):
                lines = iter(stream.readline, b"\r\n")
                pairs = (line.decode().strip().split(": ", 1) for line in lines)
                headers = {name.lower(): value for name, value in pairs}
                length = int(headers.get("content-length", -1))
                head_only = sent.startswith(b"HEAD ") or status.split()[1] == b"204"
                body = b"" if head_only else stream.read(length)
                found.append(Answer(int(status.split()[1]), headers, body))
    return found


def answer(server: Server, *lines: str) -> Answer:
    """Send a request's head of several lines and return the response."""
    return answers(server, "\r\n".join((*lines, "", "")).encode(), 1)[0]


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("GET /a HTTP/1.1", "GET /a /a ? @own.example"),
        ("GET http://b.example/a HTTP/1.1", "GET /a /a ? @b.example"),
        (
            "GET HTTP://b.example:8080/a?c=http://d/ HTTP/1.1",
            "GET /a /a ?c=http://d/ @b.example:8080",
        ),
        ("GET https://[::1]:10332/a%2Fb HTTP/1.1", "GET /a/b /a%2Fb ? @[::1]:10332"),
        ("GET http://b.example HTTP/1.1", "GET / / ? @b.example"),
        ("GET http://b.example?c HTTP/1.1", "GET / / ?c @b.example"),
        ("OPTIONS * HTTP/1.1", "OPTIONS * * ? @own.example"),
        ("OPTIONS http://b.example HTTP/1.1", "OPTIONS * * ? @b.example"),
        ("OPTIONS http://b.example/ HTTP/1.1", "OPTIONS / / ? @b.example"),
    ],
)
def test_targets(server: Server, line: str, seen: str) -> None:
    """A target in absolute form is its path, and its authority replaces `Host`."""
    found = answer(server, line, "Host: own.example")
    assert (found.status, found.body.decode()) == (200, seen)


@pytest.mark.parametrize(
    "line",
    [
        "GET * HTTP/1.1",
        "GET a HTTP/1.1",
        "GET ftp://b.example/a HTTP/1.1",
        "GET http:///a HTTP/1.1",
        "GET http://:80/a HTTP/1.1",
        "GET http://user@b.example/a HTTP/1.1",
        "GET http:a HTTP/1.1",
        "CONNECT b.example:443 HTTP/1.1",
        "PRI * HTTP/2.0",
    ],
)
def test_invalid_targets(server: Server, line: str) -> None:
    """Any other target gets 400."""
    found = answer(server, line, "Host: own.example")
    assert (found.status, found.body) == (400, b"invalid request target\n")


def test_passwords(tmp_path: Path) -> None:
    """Whether a target needs a password depends on its path, whatever its form."""
    hashed = bcrypt.hashpw(b"word", bcrypt.gensalt(4)).decode()
    config = tmp_path / "web.yaml"
    config.write_text(f"basic_auth_users: {{alice: {hashed}}}")
    with serving(WebSettings(str(config))) as server:
        for line, status in (
            ("GET http://b.example/open HTTP/1.1", 200),
            ("GET http://b.example/a HTTP/1.1", 401),
            ("OPTIONS /a HTTP/1.1", 401),
            ("OPTIONS * HTTP/1.1", 401),
        ):
            assert answer(server, line, "Host: own.example").status == status


@pytest.mark.parametrize("line", ["GET /a HTTP/1.1", "GET http://b.example/a HTTP/1.1"])
@pytest.mark.parametrize("host", ["a b", "a/b", "user@a", "[::1", "a:b", "a:80:90", "ä"])
def test_invalid_host(server: Server, line: str, host: str) -> None:
    """An invalid `Host` gets 400, with a target in absolute form too."""
    found = answer(server, line, f"Host: {host}")
    assert (found.status, found.body) == (400, b"invalid Host\n")


@pytest.mark.parametrize(
    "host",
    ["", "a", "A.example.", "a_b:1", "192.0.2.1:10332", "[2001:db8::1]:80", "[fe80::1%25eth0]"],
)
def test_valid_host(server: Server, host: str) -> None:
    """Names, addresses and an empty `Host` are valid."""
    assert answer(server, "GET / HTTP/1.1", f"Host: {host}").body.decode().endswith(f"@{host}")


@pytest.mark.parametrize(
    "lines",
    [
        ["GET / HTTP/1.1"],
        ["GET / HTTP/1.1", "Host: a", "Host: a"],
        ["GET / HTTP/1.1", "Host: a", "Content-Length: 0", "Content-Length: 1"],
        ["GET / HTTP/1.1", "Host: a", "Content-Length: +0"],
        ["GET / HTTP/1.1", "Host: a", "Content-Length : 0"],
        ["GET / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip, chunked"],
        ["GET / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["GET / HTTP/1.1", "Host: a", "X: a\0b"],
    ],
)
def test_malformed_requests(server: Server, lines: list[str]) -> None:
    """An ambiguous head gets 400, and the connection is closed."""
    (found,) = answers(server, "\r\n".join((*lines, "", "")).encode(), 2)
    assert (found.status, found.headers["connection"]) == (400, "close")


@pytest.mark.parametrize(
    "lines",
    [
        ["GET / HTTP/1.0"],
        ["GET / HTTP/1.1", "Host: a", "Content-Length: 0", "Content-Length: 0"],
        ["GET / HTTP/1.1", "Host: a", "X: a", "  b"],
    ],
)
def test_old_and_lenient_forms(server: Server, lines: list[str]) -> None:
    """HTTP/1.0 without a host, equal lengths and a folded header are accepted."""
    assert answer(server, *lines).status == 200


SMUGGLED = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD"])
@pytest.mark.parametrize(
    "lengths",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n" % len(SMUGGLED),
        b"transfer-encoding: Chunked\r\ncontent-length: 0\r\n",
    ],
)
def test_two_lengths(server: Server, method: bytes, lengths: bytes) -> None:
    """A request with both lengths gets 400 and is the last one of its connection."""
    sent = method + b" / HTTP/1.1\r\nHost: a\r\n" + lengths + b"\r\n" + SMUGGLED
    (found,) = answers(server, sent, 2)
    assert (found.status, found.headers["connection"]) == (400, "close")
    assert method == b"HEAD" or found.body == b"both Content-Length and Transfer-Encoding\n"


def test_two_lengths_and_an_unfinished_body(server: Server) -> None:
    """The connection is closed even if the body has not arrived."""
    sent = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert [each.status for each in answers(server, sent, 2)] == [400]


def test_one_length(server: Server) -> None:
    """With one length the next request of the connection is answered."""
    sent = (
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        b"GET /c HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    found = answers(server, sent, 3)
    assert [each.body.split()[1] for each in found] == [b"/a", b"/b", b"/c"]
