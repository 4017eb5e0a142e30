"""HTTP/1.x answers read from bytes as they arrive, without I/O: any way of waiting can use it.

The reader is strict about everything that decides where an answer ends (the status line, lengths,
chunks) and ignores header lines that are malformed. An answer that breaks these rules, or that ends
too soon, is an `HTTPException`.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeVar

from goe_exporter.errors import TransportError

MAX_BODY_BYTES = 1024 * 1024
MAX_RECEIVED_BYTES = 2 * MAX_BODY_BYTES
"""Maximum bytes of a connection: chunks of one byte are six bytes each."""

MAX_HEAD_BYTES = 64 * 1024
MAX_SHORT_HEAD_BYTES = 1024
"""Maximum size of a head that is remembered."""

MAX_HEADERS = 99
MAX_INTERIM_RESPONSES = 10
"""Maximum responses of status 1xx before the final one."""

MAX_SIZE_LINE_BYTES = 1024
MAX_LENGTH_DIGITS = 18

_STATUS = re.compile(rb"HTTP/1\.[0-9][ \t]+([1-9][0-9]{2})(?:[ \t][^\n]*)?\r?\n")
_HEADER = re.compile(r"^([!-9;-~]+):([^\r\n]*)\r?$", re.MULTILINE)
_FOLD = re.compile(r"\r?\n[ \t]+")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\n]*)?\r?")
_BODILESS = (101, 204, 304)

_Default = TypeVar("_Default")


class HttpAnswer(NamedTuple):
    """Status code, headers and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Headers(dict[str, str]):
    """Header values by name in any case; the keys are lower-case."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: _Default = None) -> str | _Default:  # type: ignore[assignment]
        """Return the value of a header, or `default`."""
        return super().get(name.lower(), default)


def too_large() -> TransportError:
    """Return the error for an answer above the limit."""
    return TransportError("too_large", f"an answer of more than {MAX_BODY_BYTES} bytes")


def content_length(values: Iterable[str]) -> int | None:
    """Return the length that the headers `Content-Length` state, None without any.

    Raises `HTTPException` for one that is no number, and for several that differ.
    """
    lengths = {value.strip(" \t\r\n") for value in values}
    if not lengths:
        return None
    length = lengths.pop()
    if lengths or not length.isdecimal() or len(length) > MAX_LENGTH_DIGITS:
        raise http.client.HTTPException("contradictory or malformed lengths")
    return int(length)


class _Head(NamedTuple):
    """Status and headers of a response, and its body's stated length, or that it is chunked."""

    status: int
    headers: Headers
    length: int | None
    chunked: bool


def _is_interim(status: int) -> bool:
    """Return whether another response follows (RFC 9110 §15.2); no request asks for a 101."""
    return status < 200 and status != http.client.SWITCHING_PROTOCOLS


def _head(raw: bytes) -> _Head | None:
    """Read a complete head; None if it is that of an interim response. Raises `HTTPException`."""
    found = _STATUS.match(raw)
    if found is None:
        raise http.client.BadStatusLine("")
    status, headers, lengths = int(found[1]), Headers(), []
    if _is_interim(status):
        return None
    lines = raw[found.end() :].decode("latin-1")
    if "\n " in lines or "\n\t" in lines:
        lines = _FOLD.sub(" ", lines)
    for name, value in _HEADER.findall(lines):
        key, text = name.lower(), value.strip(" \t")
        headers.setdefault(key, text)
        if key == "content-length":
            lengths.append(text)
    length = content_length(lengths)
    chunked = headers.get("transfer-encoding", "").lower() == "chunked"
    if status in _BODILESS:
        length, chunked = 0, False
    return _Head(status, headers, length, chunked)


@lru_cache(256)
def _short_head(raw: bytes) -> _Head | None:
    """Return the head of an answer that is not chunked; None for any other."""
    if raw.count(b"\n") > MAX_HEADERS or (end := _HEAD_END.search(raw)) is None:
        return None
    try:
        head = _head(raw) if end.end() == len(raw) else None
    except http.client.HTTPException:
        return None
    return None if head is None or head.chunked else head


def whole(data: bytes) -> HttpAnswer | None:
    """Return the answer that `data` begins with, None unless it is complete and an ordinary one.

    Nearly all are. An `AnswerReader` would return the same, and is needed for any other. A head
    that was seen before is not parsed again.
    """
    end = data.find(b"\r\n\r\n") + 4
    head = _short_head(data[:end]) if 4 <= end <= MAX_SHORT_HEAD_BYTES else None
    if head is None or head.length is None or head.length > min(len(data) - end, MAX_BODY_BYTES):
        return None
    return HttpAnswer(head.status, head.headers, data[end : end + head.length])


class AnswerReader:
    """Reads one answer: pass what arrives to `feed`, and the end of the connection to `end`.

    Interim responses are skipped. Both methods raise `HTTPException`, and `feed` the
    `TransportError` of an answer above the limit.
    """

    __slots__ = (
        *("_body", "_chunk_left", "_chunked", "_headers", "_interim", "_length", "_max_body_bytes"),
        *("_raw", "_received", "_status"),
    )

    def __init__(self, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._max_body_bytes = max_body_bytes
        self._raw = bytearray()
        self._received = 0
        self._interim = 0
        self._status = 0
        self._headers = Headers()
        self._length: int | None = None
        self._chunked = False
        self._chunk_left: int | None = None
        self._body = bytearray()

    def feed(self, data: bytes) -> HttpAnswer | None:
        """Take bytes; return the answer once it is complete."""
        self._received += len(data)
        self._raw += data
        answer = None
        if self._status or self._find_head(len(data)):
            answer = self._read_chunks() if self._chunked else self._read_body()
        if answer is None and self._received > MAX_RECEIVED_BYTES:
            raise too_large()
        return answer

    def end(self) -> HttpAnswer:
        """Return the answer that ends with the connection."""
        if not self._status:
            raise http.client.RemoteDisconnected("connection closed within the head")
        if self._chunked or self._length is not None:
            raise http.client.IncompleteRead(b"")
        return HttpAnswer(self._status, self._headers, bytes(self._raw))

    def _find_head(self, fresh: int) -> bool:
        """Read the heads that are complete, and return whether the final one is among them.

        `fresh` is the number of bytes in which the end of a head was not searched yet.
        """
        start = max(len(self._raw) - fresh - 3, 0)
        while found := _HEAD_END.search(self._raw, start):
            head = bytes(self._raw[: found.end()])
            del self._raw[: found.end()]
            self._check_head(head)
            if self._read_head(head):
                return True
            start = 0
        self._check_head(self._raw)
        if b"\n" in self._raw and not _STATUS.match(self._raw):
            raise http.client.BadStatusLine("")
        return False

    def _check_head(self, head: bytes | bytearray) -> None:
        # Beside the headers, a head has the status line and an empty line.
        if len(head) > MAX_HEAD_BYTES or head.count(b"\n") > MAX_HEADERS + 2:
            raise http.client.HTTPException("the head is too long")

    def _read_head(self, head: bytes) -> bool:
        """Read a complete head, and return whether it is the final one."""
        found = _head(head)
        if found is None:
            self._interim += 1
            if self._interim > MAX_INTERIM_RESPONSES:
                raise http.client.HTTPException("too many interim responses")
            return False
        self._status, self._headers, self._length, self._chunked = found
        return True

    def _read_body(self) -> HttpAnswer | None:
        """Return the answer once its body has the stated length."""
        length, arrived = self._length, len(self._raw)
        complete = length is not None and arrived >= length
        if (length if complete else arrived) > self._max_body_bytes:  # type: ignore[operator]
            raise too_large()
        if not complete:
            return None
        return HttpAnswer(self._status, self._headers, bytes(self._raw[:length]))

    def _read_chunks(self) -> HttpAnswer | None:
        """Collect the chunks that arrived; return the answer at the last one.

        The trailer behind it says nothing that anybody reads, and is not waited for.
        """
        raw, place = self._raw, 0
        while True:
            if self._chunk_left is None:
                end = raw.find(b"\n", place)
                if (len(raw) if end < 0 else end) - place > MAX_SIZE_LINE_BYTES:
                    raise http.client.HTTPException("a chunk's size is too long")
                if end < 0:
                    break
                size = _CHUNK_SIZE.fullmatch(raw, place, end)
                if size is None:
                    raise http.client.HTTPException("a chunk without a size")
                place, self._chunk_left = end + 1, int(size[1], 16)
                if not self._chunk_left:
                    return HttpAnswer(self._status, self._headers, bytes(self._body))
            piece = raw[place : place + self._chunk_left]
            self._body += piece
            place, self._chunk_left = place + len(piece), self._chunk_left - len(piece)
            if len(self._body) > self._max_body_bytes:
                raise too_large()
            if self._chunk_left or len(raw) < place + 2:
                break
            if raw[place : place + 2] != b"\r\n":
                raise http.client.HTTPException("a chunk longer than its size")
            place, self._chunk_left = place + 2, None
        del raw[:place]
        return None
