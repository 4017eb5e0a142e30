"""The reader of answers, fed without sockets: whole answers, in pieces, and malformed ones."""

from __future__ import annotations

import http.client
import time
import tracemalloc
from collections.abc import Iterator

import pytest
from raw_answers import BAD, CHUNKED, GOOD, MIB, OK

from goe_exporter.errors import TransportError
from goe_exporter.transport.answer import AnswerReader, HttpAnswer, whole
from goe_exporter.transport.failures import translated

LARGE = 10_000
"""Bytes of an answer that is not cut at every place: that takes too long."""


def read(*pieces: bytes) -> HttpAnswer:
    """Return the answer that these pieces are, before the connection ends."""
    reader = AnswerReader()
    for piece in pieces:
        if answer := reader.feed(piece):
            return answer
    return reader.end()


def cuts(raw: bytes) -> Iterator[tuple[bytes, ...]]:
    """Yield a raw answer whole, cut in two at every place, and in single bytes."""
    yield (raw,)
    if len(raw) < LARGE:
        yield from ((raw[:place], raw[place:]) for place in range(1, len(raw)))
        yield tuple(raw[place : place + 1] for place in range(len(raw)))


@pytest.mark.parametrize("name", GOOD)
def test_answer_however_it_is_cut(name: str) -> None:
    """Status and body do not depend on the pieces in which an answer arrives."""
    raw, status, body = GOOD[name]
    for pieces in cuts(raw):
        assert read(*pieces)[::2] == (status, body), pieces


@pytest.mark.parametrize("name", GOOD)
def test_whole_answer(name: str) -> None:
    """`whole` returns what a reader does, also if more bytes follow the answer."""
    raw, status, body = GOOD[name]
    for data in (raw, raw + b"HTTP/1.1 500 No\r\n\r\n", raw):
        answer = whole(data)
        assert answer is None or (answer[::2] == (status, body) and answer == read(data))


def test_whole_answer_of_a_charger() -> None:
    """An ordinary answer needs no reader, and is returned with its last byte."""
    raw = OK + b'Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{"amp":16}\r\n'
    for _time in range(2):
        assert whole(raw) == (200, {"content-type": "application/json", "content-length": "12"},
                              b'{"amp":16}\r\n')  # fmt: skip
        assert whole(raw[:-1]) is None


@pytest.mark.parametrize("name", BAD)
def test_malformed_answer_is_not_whole(name: str) -> None:
    """A malformed answer is left to the reader, which fails with the reason."""
    assert whole(BAD[name][0]) is None


@pytest.mark.parametrize("name", BAD)
def test_malformed_answer_however_it_is_cut(name: str) -> None:
    """The reason of a failure does not depend on the pieces either."""
    raw, reason = BAD[name]
    for pieces in cuts(raw):
        with pytest.raises((http.client.HTTPException, TransportError)) as caught:
            read(*pieces)
        error = translated(caught.value, "box", time.monotonic() + 60)
        assert error.reason == reason, pieces


def test_headers() -> None:
    """Headers are found in any case; of two with the same name the first counts."""
    headers = read(OK + b"Date:  now \r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n").headers
    assert headers["date"] == headers["DATE"] == headers.get("Date") == "now"
    assert headers["X-A"] == "1"
    assert "x-A" in headers
    assert "X-B" not in headers
    assert headers.get("X-B") is None
    assert headers.get("X-B", "none") == "none"


@pytest.mark.parametrize(
    "line",
    [b"no colon", b": no name", b"a b: 1", b"Content-Length : 9", b"a\x00b: 1", b"\xe4: 1"],
)
def test_malformed_header_is_ignored(line: bytes) -> None:
    """A line that is no header does not hide the others."""
    answer = read(OK + line + b"\r\nContent-Length: 2\r\n\r\n{}rest")
    assert answer.body == b"{}"
    assert dict(answer.headers) == {"content-length": "2"}


def test_headers_of_an_interim_response_do_not_count() -> None:
    """The answer has only its own headers."""
    answer = read(b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n")
    assert dict(answer.headers) == {"content-length": "0"}


def test_answer_is_returned_with_its_last_byte() -> None:
    """Neither the end of the connection nor a trailer is waited for."""
    for raw in (OK + b"Content-Length: 2\r\n\r\n{}", CHUNKED + b"2\r\n{}\r\n0\r\n"):
        reader = AnswerReader()
        assert reader.feed(raw[:-1]) is None
        assert reader.feed(raw[-1:]) == HttpAnswer(200, reader._headers, b"{}")


@pytest.mark.parametrize(
    "raw",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 102, OK + b"x" * 70_000],
    ids=["another-protocol", "headers", "a-long-header"],
)
def test_hopeless_head_fails_before_its_end(raw: bytes) -> None:
    """What cannot become an answer any more is not waited for."""
    with pytest.raises(http.client.HTTPException):
        AnswerReader().feed(raw)


@pytest.mark.parametrize(
    ("head", "endless"),
    [(OK, b"X: 1\r\n"), (OK + b"\r\n", b" " * 65_536), (CHUNKED, b"40\r\n%64b\r\n" % b" "),
     (CHUNKED + b"fffffffffff\r\n", b" " * 65_536), (CHUNKED + b"2;", b"x" * 100)],
    ids=["headers", "body", "chunks", "a-chunk", "a-chunk-extension"],
)  # fmt: skip
def test_answer_without_end_fails_with_little_memory(head: bytes, endless: bytes) -> None:
    """Whatever is sent without end, the reader gives up, and keeps no more than the limits."""
    reader = AnswerReader()
    reader.feed(head)
    tracemalloc.start()
    with pytest.raises((http.client.HTTPException, TransportError)):
        _feed(reader, endless)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MIB


def _feed(reader: AnswerReader, endless: bytes) -> None:
    for _ in range(4 * MIB // len(endless)):
        reader.feed(endless)


def test_smaller_limit() -> None:
    """The limit of the body may be lower."""
    raw = OK + b"Content-Length: 9\r\n\r\n123456789"
    assert AnswerReader(9).feed(raw)
    with pytest.raises(TransportError) as caught:
        AnswerReader(8).feed(raw)
    assert caught.value.reason == "too_large"
