"""Raw bytes as the response of a charger or server, over a real socket, and decoded responses."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import time
from collections.abc import Iterator

import h11

from goe_exporter.charger import client
from goe_exporter.charger.client import Client
from goe_exporter.errors import (
    REASONS,
    ChargerError,
    GoeExporterError,
    RefusedError,
    TransportError,
)
from goe_exporter.influx import write_api
from goe_exporter.influx.write_api import Access, ServerV1, ServerV2, WriteResult
from goe_exporter.transport import http as transport
from goe_exporter.transport import sockets
from goe_exporter.transport.answer import AnswerReader, HttpAnswer, whole
from goe_exporter.transport.failures import translated
from goe_exporter.transport.http import Transport
from tests.fuzz.source import Source

LIMIT = 512
LONGEST = 60_000
"""Bytes that a socket accepts without a reader at the other end."""

_HOST = "charger.test"
_TOKEN = "c0ffee-secret"
_TRANSPORT = Transport(_HOST, deadline_seconds=30)
_ACCESS = Access(timeout_seconds=30)
_SERVERS = (
    ServerV1("http://influx.test:8086", "goe", "me", _TOKEN, _ACCESS),
    ServerV2("http://influx.test:8086", "home", "goe", _TOKEN, _ACCESS),
)
_OUTCOMES = {"written", "rejected", "too_large", "retry"}


@contextlib.contextmanager
def _answering(data: bytes) -> Iterator[None]:
    """Answer connections with `data` and close them; they read it through a real socket."""
    ours, theirs = socket.socketpair()
    opened = sockets._Socket(fileno=ours.detach())
    before, limit = sockets._open, transport.MAX_BODY_BYTES
    sockets._open = lambda *_arguments: opened
    transport.MAX_BODY_BYTES = LIMIT
    try:
        theirs.sendall(data[:LONGEST])
        theirs.shutdown(socket.SHUT_WR)
        yield
    finally:
        theirs.close()
        opened.close()
        sockets._open, transport.MAX_BODY_BYTES = before, limit


def one_line(error: GoeExporterError) -> None:
    """Assert that an error can be printed: one line of UTF-8 text."""
    text = str(error)
    assert text, "an error without words"
    assert text.isprintable(), text
    assert len(text) < 2000, text
    assert _TOKEN not in text, text
    if isinstance(error, ChargerError | TransportError):
        assert error.reason in REASONS, error.reason


def answer(data: bytes) -> None:
    """Any bytes are a response or a `TransportError`; other parsers agree."""
    with _answering(data):
        try:
            found: HttpAnswer | TransportError = _TRANSPORT.get("/api/status?filter=car")
        except TransportError as error:
            one_line(error)
            found = error
    # The library skips only 100 of the informational responses; no charger sends any.
    strict = None if data[9:10] == b"1" else _by_h11(data[:LONGEST])
    bodiless = strict is not None and strict.status in (204, 304)  # one that arrives is read anyway
    if isinstance(found, HttpAnswer):
        assert len(found.body) <= LIMIT, "more than the limit"
        if strict is not None and not bodiless:
            assert found[::2] == strict[::2], (found, strict)
        assert strict is not None or not _cut_short(data), "a body that was cut short"
    elif strict is not None and not bodiless:
        assert found.reason in ("too_large", "truncated"), found.reason
        assert found.reason != "too_large" or len(strict.body) > LIMIT, "not too large"
        assert found.reason != "truncated" or _odd(data), "nothing was cut off"
    _check_reader(data[:LONGEST], found, None if bodiless or _odd(data) else strict)


def _check_reader(
    data: bytes, found: HttpAnswer | TransportError, strict: HttpAnswer | None
) -> None:
    """Assert that the loop's reader agrees with both parsers, in whatever pieces the data arrives.

    Where a response is irregular, the library guesses, and the reader may reject what it accepts.
    """
    read = _by_reader(data, len(data) or 1)
    assert _result(read) == _result(_by_reader(data, 7)), "the pieces matter"
    at_once = whole(data)
    assert at_once is None or len(at_once.body) > LIMIT or at_once == read, "whole, but not so"
    if isinstance(read, TransportError):
        one_line(read)
        assert read.reason in ("too_large", "truncated"), read.reason
    else:
        assert len(read.body) <= LIMIT, "more than the limit"
    if _regular(data):
        assert _result(read) == _result(found), (read, found)
    if strict is not None and len(strict.body) <= LIMIT:
        assert _result(read) == _result(strict), (read, strict)


def _by_reader(data: bytes, size: int) -> HttpAnswer | TransportError:
    reader = AnswerReader(LIMIT)
    try:
        for place in range(0, len(data), size):
            if found := reader.feed(data[place : place + size]):
                return found
        return reader.end()
    except (http.client.HTTPException, TransportError) as error:
        return translated(error, _HOST, time.monotonic() + 30)


def _result(found: HttpAnswer | TransportError) -> object:
    return found[::2] if isinstance(found, HttpAnswer) else found.reason


_LINES = rb"(?:[!#-'*+.0-9A-Z^-z|~-]+:(?:[ -~]*[!-~])?\r?\n)*\r?\n"
_INTERIM = rb"HTTP/1\.[01] 1(?!01)[0-9][0-9][ -~]*\r?\n" + _LINES
_FINAL = rb"HTTP/1\.[01] (?:101|[2-9][0-9][0-9])(?: [ -~]*)?\r?\n" + _LINES
_REGULAR = re.compile(b"(?:%b)*(%b)" % (_INTERIM, _FINAL))
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[ -~]*)?\r?\n")


def _regular(data: bytes) -> bool:
    """Return whether a response has complete, well-formed heads, and chunks of the stated sizes.

    The library accepts a head that ends with the connection, ignores the headers from a malformed
    line on, keeps spaces at the end of a value, takes "+2" or "0x2" for a chunk's size and any two
    bytes for its end, and reads chunks although the status has no body.
    """
    head = _REGULAR.match(data)
    if head is None:
        return False
    lines = head[1].lower()
    if not re.search(rb"\ntransfer-encoding: *chunked\r?\n", lines):
        return True
    rest, bodiless = data[head.end() :], lines[9:12] in (b"101", b"204", b"304")
    while not bodiless and (found := _SIZE.match(rest)):
        size, rest = int(found[1], 16), rest[found.end() :]
        if not size or len(rest) < size + 2:
            return True
        if rest[size : size + 2] != b"\r\n":
            return False
        rest = rest[size + 2 :]
    return not bodiless and not rest


def _by_h11(data: bytes) -> HttpAnswer | None:
    """Return what another parser makes of a response, None if it is not complete."""
    connection, body, head = h11.Connection(h11.CLIENT), b"", None
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", _HOST)]))
    connection.send(h11.EndOfMessage())
    try:
        connection.receive_data(data)
        connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return HttpAnswer(head.status_code, {}, body)
            elif event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None


def _cut_short(data: bytes) -> bool:
    """Return whether a response's only, plain Content-Length exceeds its body."""
    head, _empty, body = data[:LONGEST].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")[1:]
    names = [line.partition(b":")[0].lower() for line in lines]
    if not all(b":" in line for line in lines) or not all(
        name and name.replace(b"-", b"a").isalnum() for name in names
    ):
        return False
    lengths = [line.partition(b":")[2].strip() for line, name in zip(lines, names, strict=True)
               if name == b"content-length"]  # fmt: skip
    plain = lines and not re.search(rb"[\r\n]", head.replace(b"\r\n", b""))
    if not plain or len(lengths) != 1 or b"transfer-encoding" in names:
        return False
    status = data.split(b" ", 2)[1][:3]
    bodiless = status in (b"204", b"304") or status.startswith(b"1")
    return lengths[0].isdigit() and not bodiless and int(lengths[0][:9]) > len(body)


def _odd(data: bytes) -> bool:
    """Return whether a response has something about which h11 is more lenient."""
    head = data.partition(b"\r\n\r\n")[0].partition(b"\n\n")[0]
    plain = data.startswith((b"HTTP/1.0 ", b"HTTP/1.1 ")) and data[9:10] in b"2345"
    listed = re.search(rb"(?i)\ncontent-length:[^\n]*,", head)
    return head.count(b"\n") > 99 or not plain or listed is not None


class _Answers:
    """Stands for the transport: responses in turn, the last one repeatedly."""

    one_address = contextlib.nullcontext

    def __init__(self, answers: list[HttpAnswer]) -> None:
        self._answers = answers

    def get(self, _target: str, _until: float | None = None) -> HttpAnswer:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


_STATUSES = (200, 400, 404, 500, 202, 422, 401, 403, 503, 301)
_BODIES = (
    *(b"{}", b"[]", b"null", b"{", b"", b'{"amp":true}', b'{"amp":"no\\ud800\\n"}', b'"api lock"'),
    *(b"Not found: /api", b"This URI does not exist", b"1 succeeded and 0 failed.", b"outdated"),
    *(b'{"' + _TOKEN.encode() + b'":1}', b'{"\\n\\ud800":1}', b"couldn't take api lock in 3s"),
)


def answers(data: bytes) -> None:
    """Whatever a charger responds, a status is an `Answer` or a `ChargerError`, as are writes."""
    source = Source(data)
    given = []
    for _ in range(1 + source.below(3)):
        status = source.pick(_STATUSES)
        body = source.pick(_BODIES) if source.below(2) else source.take(200)
        given.append(HttpAnswer(status, {}, body))
    api = source.pick(client.Api.__args__)  # type: ignore[attr-defined]
    asking = Client("charger.test", api, token=_TOKEN)
    asking._transport = _Answers([*given, HttpAnswer(200, {}, source.rest())])  # type: ignore[assignment]
    for _ in range(2):
        try:
            answer = asking.status(("car", "amp", "fwv"))
            assert answer.api in (1, 2)
            assert isinstance(answer.status, dict)
        except ChargerError as error:
            one_line(error)
    try:
        asking.write(1 if api == "1" else 2, "amp", 16)
    except (ChargerError, RefusedError) as error:
        one_line(error)


def delivery(data: bytes) -> None:
    """Whatever an InfluxDB server responds, a write has a result that keeps the contract."""
    source = Source(data)
    server = source.pick(_SERVERS)
    raw = source.rest()
    with _answering(raw):
        found = server.write([b"goe_charger,charger=a up=true 1"])
    _check(found)


def headers(data: bytes) -> None:
    """The times of a result are plausible, whatever `Date` and `Retry-After` contain."""
    source = Source(data)
    status = source.pick((503, 204, 200, 429, 400, 413, 500, 404))
    date, retry = source.take(60).decode("latin-1"), source.take(60).decode("latin-1")
    said = {"Date": date, "Retry-After": retry}
    found = write_api.result(status, said, source.rest().decode("utf-8", "replace"))
    _check(found)
    if (mine := _imf_date(date)) is not None:
        assert found.server_time == mine, (date, found.server_time, mine)


def _check(found: WriteResult) -> None:
    assert found.outcome in _OUTCOMES, found
    assert (found.outcome == "written") == (found.reason == ""), found
    assert found.answered or found.outcome == "retry", found
    assert found.reason.isascii(), found
    assert len(found.message) < 700, found
    assert "\n" not in found.message, found
    wait, stamp = found.retry_after_seconds, found.server_time
    assert wait is None or 0 <= wait < float("inf"), found
    assert stamp is None or -1e12 < stamp < 1e12, found


_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def _imf_date(text: str) -> float | None:
    """Return the Unix time of an HTTP date, None for any other text."""
    words = text.split(" ")
    if (
        len(words) != 6
        or words[5] not in ("GMT", "-0000")
        or words[2] not in _MONTHS
        or len(words[0]) != 4
    ):
        return None
    plain = f"{words[1]} {_MONTHS.index(words[2]) + 1:02d} {words[3]} {words[4]}"
    if not (words[0][:3].isalpha() and words[0].isascii() and words[0][3] == ","):
        return None
    if [len(word) for word in plain.split(" ")] != [2, 2, 4, 8] or not plain.isascii():
        return None
    try:
        moment = time.strptime(plain, "%d %m %Y %H:%M:%S")
    except ValueError:
        return None
    return float(_seconds(moment)) if moment.tm_year >= 1000 else None


def _seconds(moment: time.struct_time) -> int:
    """Return the Unix time of a moment in UTC, computed by counting days."""
    year = moment.tm_year - 1
    days = year * 365 + year // 4 - year // 100 + year // 400 + moment.tm_yday - 719_163
    return days * 86_400 + moment.tm_hour * 3600 + moment.tm_min * 60 + moment.tm_sec
