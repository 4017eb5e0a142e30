"""The two write endpoints over real sockets: the requests, and the result of each answer."""

from __future__ import annotations

import base64
import errno
import logging
import socket
import ssl
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import fake_influx
import pytest
import servers
from fake_influx import UNREAD, FakeInflux, Reply, http_date
from servers import PATIENCE_SECONDS, free_port, returned
from speaker import Speaker

from goe_exporter.influx.write_api import (
    Access,
    ServerV1,
    ServerV2,
    WriteResult,
    WriteServer,
    result,
)

TOKEN = "s3cret-t0ken-of-ours=="
LINES = [b'goe_charger,charger=a up=true,x="\xc3\xa4 \\"q" 1750000000000', b"m v=1 2", b"m v=2 3"]
NOW = 1_780_000_000.0
ACCESS = Access(PATIENCE_SECONDS)

Open = Callable[..., WriteServer]


def v2(url: str, access: Access = ACCESS) -> WriteServer:
    return ServerV2(url, "our org", "goe/autogen", TOKEN, access)


def v1(url: str, access: Access = ACCESS) -> WriteServer:
    return ServerV1(url, "goe db", "writer", TOKEN, access)


both_apis = pytest.mark.parametrize("server", [v2, v1], ids=["v2", "v1"])


@pytest.fixture
def fake() -> Iterator[FakeInflux]:
    with FakeInflux() as running:
        yield running


# What is sent


def test_v2_request(fake: FakeInflux) -> None:
    """API v2 posts to /api/v2/write with org, bucket and ms, and the token in a header."""
    assert v2(fake.url).write(LINES).outcome == "written"
    (request,) = fake.received
    assert (request.method, request.path) == ("POST", "/api/v2/write")
    assert request.query == {"org": ["our org"], "bucket": ["goe/autogen"], "precision": ["ms"]}
    assert request.headers["authorization"] == f"Token {TOKEN}"
    assert request.headers["content-type"].startswith("text/plain")


def test_v1_request(fake: FakeInflux) -> None:
    """API v1 posts to /write with the database and ms, and user and password in a header."""
    assert v1(fake.url).write(LINES).outcome == "written"
    (request,) = fake.received
    assert (request.method, request.path) == ("POST", "/write")
    assert request.query == {"db": ["goe db"], "precision": ["ms"]}
    secret = base64.b64encode(f"writer:{TOKEN}".encode()).decode()
    assert request.headers["authorization"] == f"Basic {secret}"


def test_v1_without_a_user(fake: FakeInflux) -> None:
    """Without a user name there is no Authorization header."""
    ServerV1(fake.url, "goe", "", "", Access(PATIENCE_SECONDS)).write(LINES)
    assert "authorization" not in fake.received[0].headers


@both_apis
def test_url_with_a_path(fake: FakeInflux, server: Open) -> None:
    """A path in the URL, as behind a proxy, precedes the endpoint's path."""
    server(f"{fake.url}/influx/").write(LINES)
    assert fake.received[0].path in ("/influx/api/v2/write", "/influx/write")


@both_apis
def test_body_is_the_lines(fake: FakeInflux, server: Open) -> None:
    """The body is the lines, joined by newlines and compressed, always the same bytes."""
    for _ in range(2):
        server(fake.url).write(LINES)
    first, second = fake.received
    assert first.body == b"\n".join(LINES)
    assert first.headers["content-encoding"] == "gzip"
    assert first.sent == second.sent


@both_apis
def test_body_is_small(fake: FakeInflux, server: Open) -> None:
    """A batch is compressed to less than a quarter of its size."""
    fields = b",".join(b"some_field_%d_w=%d.5" % (number, number * 7919) for number in range(60))
    lines = [b"goe_charger,charger=garage %b %d" % (fields, n) for n in range(500)]
    assert server(fake.url).write(lines).outcome == "written"
    assert len(fake.received[0].sent) * 4 < len(fake.received[0].body)
    assert fake.received[0].lines == lines


@both_apis
def test_large_body(fake: FakeInflux, server: Open) -> None:
    """5,000 long lines arrive unchanged."""
    lines = [b"m,t=%d v=%d %d" % (n, n, n) for n in range(5000)]
    assert server(fake.url).write(lines).outcome == "written"
    assert fake.received[0].lines == lines


@both_apis
def test_no_lines_ask_for_an_answer(fake: FakeInflux, server: Open) -> None:
    """A request without lines gets an answer with the server's time."""
    fake.play(Reply(400, b"no points", date=NOW))
    found = server(fake.url).write([])
    assert found.answered
    assert found.server_time == NOW
    assert fake.received[0].body == b""


@both_apis
def test_proxies_of_the_environment_do_not_count(
    fake: FakeInflux, server: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY is not used for points and the token."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert server(fake.url).write(LINES).outcome == "written"


@both_apis
def test_redirects_are_not_followed(fake: FakeInflux, server: Open) -> None:
    """A redirect is a failure, and the token is not sent elsewhere."""
    fake.play(Reply(307, headers=(("Location", f"{fake.url}/elsewhere"),)))
    assert server(fake.url).write(LINES).outcome == "retry"
    assert len(fake.received) == 1


@both_apis
def test_one_server_many_requests(fake: FakeInflux, server: Open) -> None:
    """A server object is used for many requests, successful and failed."""
    asker = server(fake.url)
    fake.play(Reply(), Reply(503), Reply(400, b"bad"), Reply(manner="nothing"), Reply())
    outcomes = [asker.write(LINES).outcome for _ in range(5)]
    assert outcomes == ["written", "retry", "rejected", "retry", "written"]


# What answers mean


@pytest.mark.parametrize(
    ("status", "body", "outcome", "reason"),
    [
        (204, "", "written", ""),
        (200, "", "written", ""),
        (200, " \n", "written", ""),
        (200, "<html>Welcome</html>", "retry", "unexpected_answer"),
        (201, "", "retry", "http_status"),
        (202, "", "retry", "http_status"),
        (301, "", "retry", "http_status"),
        (302, "", "retry", "http_status"),
        (400, "partial write", "rejected", "rejected"),
        (422, "", "rejected", "rejected"),
        (401, "", "retry", "unauthorized"),
        (403, "", "retry", "forbidden"),
        (404, "", "retry", "not_found"),
        (405, "", "retry", "http_status"),
        (407, "", "retry", "http_status"),
        (408, "", "retry", "http_status"),
        (413, "", "too_large", "too_large"),
        (429, "", "retry", "too_many_requests"),
        (500, "", "retry", "server_error"),
        (502, "", "retry", "server_error"),
        (503, "", "retry", "server_error"),
        (504, "", "retry", "server_error"),
        (599, "", "retry", "server_error"),
    ],
)
def test_result(status: int, body: str, outcome: str, reason: str) -> None:
    """Only 204, and 200 without a body, are success; only 400 and 422 are caused by the lines."""
    found = result(status, {}, body)
    assert (found.outcome, found.reason, found.answered) == (outcome, reason, True)


def test_result_holds_the_servers_message() -> None:
    """The message is the status and the body on one line, at most 500 characters of it."""
    assert result(400, {}, ' {"message":\n "field  type"}\r\n').message == (
        'HTTP 400: {"message": "field type"}'
    )
    assert len(result(400, {}, "x" * 10_000).message) == len("HTTP 400: ") + 500


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 120 ", 120.0),
        ("999999999", 999_999_999.0),
        ("Thu, 28 May 2026 20:28:20 GMT", 1700.0),
        ("Thu, 28 May 2026 20:28:20 +0000", 1700.0),
        ("Thursday, 28-May-26 20:28:20 GMT", 1700.0),
        ("Thu, 28 May 2026 19:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", 3.0),
        ("9" * 400, None),
        ("Thu, 99 May 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after(header: str, seconds: float | None) -> None:
    """`Retry-After` is read as seconds or as a date by the server's own clock."""
    headers = {"Retry-After": header, "Date": "Thu, 28 May 2026 20:00:00 GMT"}
    assert result(503, headers, "").retry_after_seconds == seconds
    assert (
        result(429, {k.lower(): v for k, v in headers.items()}, "").retry_after_seconds == seconds
    )


def test_retry_after_as_a_date_without_a_date() -> None:
    """A date is ignored if the server's time is unknown."""
    headers = {"Retry-After": "Thu, 28 May 2026 20:28:20 GMT"}
    assert result(503, headers, "").retry_after_seconds is None


@pytest.mark.parametrize("text", ["", "yesterday", "Thu, 99 May 2026 00:00:00 GMT", "0"])
def test_server_time_that_is_none(text: str) -> None:
    """An invalid `Date` is ignored."""
    assert result(204, {"Date": text}, "").server_time is None


def test_server_time() -> None:
    """The server's time is the `Date` in Unix seconds, whatever the result."""
    headers = {"date": "Thu, 28 May 2026 20:26:40 GMT"}
    assert {result(status, headers, "").server_time for status in (204, 200, 400, 500)} == {NOW}


@both_apis
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429, 500, 502, 503])
@pytest.mark.parametrize("body", [b"", b'{"code":"x","message":"no such bucket"}'])
def test_errors_over_http(fake: FakeInflux, server: Open, status: int, body: bytes) -> None:
    """An error's status, message, `Retry-After` and `Date` are reported, also without a body."""
    fake.play(Reply(status, body, (("Retry-After", "17"),), date=NOW))
    found = server(fake.url).write(LINES)
    words = body.decode()
    expected = result(status, {}, words)
    assert (found.outcome, found.reason) == (expected.outcome, expected.reason)
    assert found.message == f"HTTP {status}: {words}"
    assert (found.retry_after_seconds, found.server_time) == (17.0, NOW)
    assert found.answered


@both_apis
def test_html_with_200(fake: FakeInflux, server: Open) -> None:
    """A web page with status 200 is not a success."""
    fake.play(Reply(200, b"<!doctype html><title>Router</title>"))
    found = server(fake.url).write(LINES)
    assert (found.outcome, found.reason) == ("retry", "unexpected_answer")
    assert "Router" in found.message


@both_apis
@pytest.mark.parametrize("status", [200, 204])
def test_success(fake: FakeInflux, server: Open, status: int) -> None:
    """204, and 200 with an empty body, are success."""
    fake.play(Reply(status, date=NOW))
    assert server(fake.url).write(LINES) == WriteResult("written", server_time=NOW)


@both_apis
def test_answer_that_is_no_text(fake: FakeInflux, server: Open) -> None:
    """An answer of arbitrary bytes is a message too."""
    fake.play(Reply(400, bytes(range(256))))
    assert server(fake.url).write(LINES).outcome == "rejected"


@both_apis
def test_answer_without_date(fake: FakeInflux, server: Open) -> None:
    """An answer without a date is an answer."""
    fake.play(Reply(date=0))
    assert server(fake.url).write(LINES) == WriteResult("written")


# What the network does


def ended(server: WriteServer, lines: list[bytes]) -> WriteResult:
    """Return the result of a write without an answer, and check that it ends by a deadline."""
    found = returned(lambda: server.write(lines))
    assert (found.outcome, found.answered) == ("retry", False)
    return found


@both_apis
def test_refused(server: Open) -> None:
    """A closed port is `refused`."""
    assert ended(server(f"http://127.0.0.1:{free_port()}"), LINES).reason == "refused"


@both_apis
def test_reset_while_connecting(server: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reset while connecting, as from a server that stops, is a failure like others."""
    reset = "goe_exporter.transport.sockets._Socket.connect_ex"
    monkeypatch.setattr(reset, lambda _socket, _address: errno.ECONNRESET)
    assert ended(server("http://127.0.0.1:1"), LINES).reason == "truncated"


@both_apis
def test_no_such_host(server: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown host name is `dns`."""

    def unknown(*_args: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    asker = server("http://influx.invalid:8086", Access(PATIENCE_SECONDS))
    assert ended(asker, LINES).reason == "dns"


INTERIM = b"".join(b"HTTP/1.1 %d Interim\r\nX-Note: 1\r\n\r\n" % n for n in (100, 102, 103))


@both_apis
def test_interim_response_is_skipped(speak: Callable[..., Speaker], server: Open) -> None:
    """1xx responses before the final one, from a server or proxy, are skipped."""
    speaker = speak(INTERIM, b"HTTP/1.1 204 No Content\r\n\r\n")
    assert server(f"http://{speaker.address}").write(LINES).outcome == "written"
    speaker = speak(INTERIM, b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nno")
    found = server(f"http://{speaker.address}").write(LINES)
    assert (found.outcome, found.message) == ("rejected", "HTTP 400: no")


@both_apis
def test_too_many_interim_responses(speak: Callable[..., Speaker], server: Open) -> None:
    """More than ten interim responses are a failure; the lines are kept."""
    speaker = speak(INTERIM * 4, b"HTTP/1.1 204 No Content\r\n\r\n")
    assert ended(server(f"http://{speaker.address}"), LINES).reason == "truncated"


@both_apis
def test_switching_protocols_is_a_failure(speak: Callable[..., Speaker], server: Open) -> None:
    """101 is a failure, whatever follows it; the lines are kept."""
    speaker = speak(b"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
    found = server(f"http://{speaker.address}").write(LINES)
    assert (found.outcome, found.reason) == ("retry", "http_status")


@both_apis
def test_nothing_comes_back(fake: FakeInflux, server: Open) -> None:
    """A connection that closes without an answer is `truncated`."""
    fake.play(Reply(manner="nothing"))
    assert ended(server(fake.url), LINES).reason == "truncated"


@both_apis
@pytest.mark.parametrize("status", [200, 400, 500])
def test_reset_in_the_answer(fake: FakeInflux, server: Open, status: int) -> None:
    """A truncated answer decides nothing: the lines are kept."""
    fake.play(Reply(status, b"x" * 1000, manner="cut"))
    assert ended(server(fake.url), LINES).reason == "truncated"


@both_apis
def test_reset_in_the_body(fake: FakeInflux, server: Open) -> None:
    """A reset while the lines are being sent decides nothing."""
    fake.rule = UNREAD
    assert ended(server(fake.url), [b"m v=1 1" * 1000] * 3000).reason == "truncated"


@both_apis
@pytest.mark.parametrize("status", [200, 500])
def test_dripping_answer(fake: FakeInflux, server: Open, status: int) -> None:
    """An answer sent a byte at a time ends by the deadline."""
    fake.play(Reply(status, manner="drip"))
    assert ended(server(fake.url, Access(0.4)), LINES).reason == "timeout"


@both_apis
def test_hanging_server(fake: FakeInflux, server: Open) -> None:
    """A server that does not answer ends by the deadline."""
    fake.play(Reply(manner="hang"))
    assert ended(server(fake.url, Access(0.4)), LINES).reason == "timeout"


@both_apis
@pytest.mark.parametrize("status", [200, 400, 500])
def test_huge_answer(fake: FakeInflux, server: Open, status: int) -> None:
    """An endless answer exceeds neither the memory nor the deadline."""
    fake.play(Reply(status, b"x" * 65536, manner="endless"))
    asker = server(fake.url, Access(3600.0))
    tracemalloc.start()
    try:
        found = returned(lambda: asker.write(LINES))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.outcome != "written"
    assert peak < 8 * 2**20


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory, processes: None) -> Path:  # noqa: ARG001
    return servers.self_signed(tmp_path_factory.mktemp("influx_tls"))


@pytest.fixture
def secure(certificate: Path) -> Iterator[FakeInflux]:
    context: ssl.SSLContext = fake_influx.context(certificate)
    with FakeInflux(context) as running:
        yield running


@both_apis
def test_wrong_certificate(secure: FakeInflux, server: Open) -> None:
    """An untrusted certificate is `tls`: nothing is sent, nothing is lost."""
    assert ended(server(secure.url), LINES).reason == "tls"
    assert secure.received == []


@both_apis
def test_certificate_of_another_host(secure: FakeInflux, server: Open, certificate: Path) -> None:
    """A certificate for another name is `tls`, though its issuer is trusted."""
    url = secure.url.replace("127.0.0.1", "localhost")
    assert (
        ended(server(url, Access(PATIENCE_SECONDS, ca_file=str(certificate))), LINES).reason
        == "tls"
    )


@both_apis
def test_certificate_of_ones_own(secure: FakeInflux, server: Open, certificate: Path) -> None:
    """The certificates in `ca_file` are trusted."""
    access = Access(PATIENCE_SECONDS, ca_file=str(certificate))
    assert server(secure.url, access).write(LINES).outcome == "written"
    assert secure.received[0].lines == LINES


@both_apis
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_any_certificate_when_asked_for(secure: FakeInflux, server: Open) -> None:
    """With `verify_tls: false` any certificate is accepted."""
    assert (
        server(secure.url, Access(PATIENCE_SECONDS, verify_tls=False)).write(LINES).outcome
        == "written"
    )


@both_apis
def test_deadline_with_tls(secure: FakeInflux, server: Open, certificate: Path) -> None:
    """The deadline applies inside TLS too."""
    secure.play(Reply(200, manner="drip"))
    access = Access(0.5, ca_file=str(certificate))
    assert ended(server(secure.url, access), LINES).reason == "timeout"


@both_apis
def test_no_tls_at_the_other_end(fake: FakeInflux, server: Open) -> None:
    """A server that does not speak TLS is `tls`."""
    assert ended(server(fake.url.replace("http:", "https:")), LINES).reason == "tls"


# The secret


@both_apis
def test_secret_in_no_words(
    fake: FakeInflux, server: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """Token and password are in no message, log or `repr`."""
    basic = base64.b64encode(f"writer:{TOKEN}".encode()).decode()
    caplog.set_level(logging.DEBUG)
    logging.getLogger("goe_exporter").setLevel(logging.DEBUG)
    said = []
    for reply in (
        Reply(),
        Reply(401, b"unauthorized access"),
        Reply(500, b'{"message":"x"}'),
        Reply(200, b"<html>", (("X-Y", "z"),)),
        Reply(manner="nothing"),
        Reply(400, b"no", manner="cut"),
    ):
        fake.play(reply)
        said.append(repr(server(fake.url).write(LINES)))
    said += [repr(server(f"http://127.0.0.1:{free_port()}").write(LINES)), repr(server(fake.url))]
    said.append(repr(server("http://[::1]:1", Access(PATIENCE_SECONDS)).write(LINES)))
    said += [record.getMessage() for record in caplog.records]
    assert all(TOKEN not in words and basic not in words for words in said)
    assert all(TOKEN not in str(request.query) for request in fake.received)


def test_retry_after_of_a_coming_date(fake: FakeInflux) -> None:
    """A date 90 s ahead, from a server with the right time, is about 90 s."""
    fake.play(Reply(503, headers=(("Retry-After", http_date(90)),)))
    seconds = v2(fake.url).write(LINES).retry_after_seconds
    assert seconds is not None
    assert 88 <= seconds <= 91
