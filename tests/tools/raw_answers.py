"""Raw HTTP answers, good and bad, with their meaning, typed by hand (RFC 9112)."""

from __future__ import annotations

from typing import NamedTuple

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"Content-Length: "
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MIB = 1024 * 1024


class Good(NamedTuple):
    """An answer that is sent before the connection is closed; its status and body."""

    raw: bytes
    status: int
    body: bytes


GOOD = {
    "length": Good(LENGTH + b"2\r\n\r\n{}", 200, b"{}"),
    "more-than-its-length": Good(LENGTH + b"2\r\n\r\n{}{}", 200, b"{}"),
    "length-between-spaces": Good(LENGTH + b"\t2 \r\n\r\n{}", 200, b"{}"),
    "length-twice": Good(LENGTH + b"2\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}"),
    "length-of-zeros": Good(LENGTH + b"0002\r\n\r\n{}", 200, b"{}"),
    "length-in-a-folded-line": Good(OK + b"Content-Length:\r\n 2\r\n\r\n{}", 200, b"{}"),
    "length-zero": Good(LENGTH + b"0\r\n\r\n", 200, b""),
    "binary": Good(
        b"HTTP/1.1 418 Teapot\r\nContent-Length: 4\r\n\r\n\x00\xff\r\n", 418, b"\0\xff\r\n"
    ),
    "until-the-end": Good(b"HTTP/1.0 200 OK\r\n\r\n{}", 200, b"{}"),
    "until-the-end-empty": Good(b"HTTP/1.0 200 OK\r\n\r\n", 200, b""),
    "header-without-a-value": Good(OK + b"X:\r\nContent-Length:2\r\n\r\n{}", 200, b"{}"),
    "bare-newlines": Good(b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", 200, b"{}"),
    "without-a-phrase": Good(b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", 404, b""),
    "odd-phrase": Good(b"HTTP/1.1 404 \xe4\xf6 200\r\nContent-Length: 0\r\n\r\n", 404, b""),
    "compressed": Good(OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}"),
    "unknown-coding": Good(
        OK + b"Transfer-Encoding: zip\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}"
    ),
    "no-content": Good(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "not-modified": Good(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b""),
    "redirect": Good(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.9/\r\n\r\n", 302, b""),
    "switching": Good(b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n" + OK + b"\r\n{}", 101, b""),
    "interim": Good(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nContent-Length: 9\r\n\r\n"
        + LENGTH
        + b"2\r\n\r\n{}",
        200,
        b"{}",
    ),
    "interim-ten": Good(b"HTTP/1.1 102 Wait\r\n\r\n" * 10 + OK + b"\r\n{}", 200, b"{}"),
    "headers-99": Good(OK + b"X: 1\r\n" * 98 + b"Content-Length: 1\r\n\r\n{}", 200, b"{"),
    "chunks": Good(CHUNKED + b'6\r\n{"car"\r\n3\r\n:1}\r\n0\r\n\r\n', 200, b'{"car":1}'),
    "chunk-extension": Good(CHUNKED + b"2;x=y\r\n{}\r\n0;last\r\n\r\n", 200, b"{}"),
    "chunk-in-hexadecimal": Good(CHUNKED + b"0A\r\n0123456789\r\n0\r\n\r\n", 200, b"0123456789"),
    "chunk-with-newlines": Good(CHUNKED + b"4\r\n\r\n\r\n\r\n0\r\n\r\n", 200, b"\r\n\r\n"),
    "chunks-none": Good(CHUNKED + b"0\r\n\r\n", 200, b""),
    "chunk-trailer": Good(CHUNKED + b"2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n", 200, b"{}"),
    "chunk-trailer-cut-off": Good(CHUNKED + b"2\r\n{}\r\n0\r\n", 200, b"{}"),
    "chunked-in-capitals": Good(OK + b"TRANSFER-ENCODING: Chunked\r\n\r\n0\r\n\r\n", 200, b""),
    "chunked-with-a-length": Good(
        LENGTH + b"9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 200, b"{}"
    ),
    "one-mebibyte": Good(LENGTH + b"1048576\r\n\r\n" + b" " * MIB, 200, b" " * MIB),
}


class Bad(NamedTuple):
    """An answer that is sent before the connection is closed, and the reason of the failure."""

    raw: bytes
    reason: str = "truncated"


BAD = {
    "nothing": Bad(b""),
    "another-protocol": Bad(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "another-protocol-with-an-empty-line": Bad(b"220 smtp\r\n\r\n"),
    "no-text": Bad(b"\x00\xff" * 100),
    "empty-line-first": Bad(b"\r\n" + LENGTH + b"2\r\n\r\n{}"),
    "version-2": Bad(b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
    "status-of-letters": Bad(b"HTTP/1.1 abc\r\n\r\n{}"),
    "status-of-two-digits": Bad(b"HTTP/1.1 99 Low\r\nContent-Length: 2\r\n\r\n{}"),
    "status-of-four-digits": Bad(b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}"),
    "status-missing": Bad(b"HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"),
    "half-a-status-line": Bad(b"HTTP/1.1 "),
    "half-a-body": Bad(LENGTH + b"30\r\n\r\n{"),
    "no-body": Bad(LENGTH + b"30\r\n\r\n"),
    "lengths-that-differ": Bad(LENGTH + b"2\r\nContent-Length: 3\r\n\r\n{}"),
    "lengths-in-one-header": Bad(LENGTH + b"2, 2\r\n\r\n{}"),
    "length-negative": Bad(LENGTH + b"-1\r\n\r\n{}"),
    "length-signed": Bad(LENGTH + b"+2\r\n\r\n{}"),
    "length-of-letters": Bad(LENGTH + b"two\r\n\r\n{}"),
    "length-of-superscripts": Bad(LENGTH + b"\xb2\r\n\r\n{}"),
    "length-of-5000-digits": Bad(LENGTH + b"9" * 5000 + b"\r\n\r\n{}"),
    "length-malformed-with-chunks": Bad(
        LENGTH + b"x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    ),
    "chunk-cut-off": Bad(CHUNKED + b"20\r\n{}"),
    "chunks-without-an-end": Bad(CHUNKED + b"2\r\n{}\r\n"),
    "chunks-missing": Bad(CHUNKED),
    "chunk-size-cut-off": Bad(CHUNKED + b"2"),
    "chunk-size-negative": Bad(CHUNKED + b"-5\r\n{}\r\n"),
    "chunk-size-minus-one": Bad(CHUNKED + b"2\r\n{}\r\n-1\r\n{}"),
    "chunk-size-of-letters": Bad(CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n"),
    "chunk-size-empty": Bad(CHUNKED + b"\r\n{}\r\n0\r\n\r\n"),
    # Older versions of Python count the empty line as a header.
    "headers-101": Bad(OK + b"X: 1\r\n" * 100 + b"Content-Length: 1\r\n\r\n{}"),
    "header-of-70000-bytes": Bad(OK + b"X: " + b"x" * 70_000 + b"\r\nContent-Length: 2\r\n\r\n{}"),
    "interim-only": Bad(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "interim-eleven": Bad(b"HTTP/1.1 102 Wait\r\n\r\n" * 11 + LENGTH + b"2\r\n\r\n{}"),
    "interim-malformed": Bad(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 OK\r\n\r\n{}"),
    "a-byte-too-long": Bad(LENGTH + b"1048577\r\n\r\n" + b" " * (MIB + 1), "too_large"),
    "until-the-end-too-long": Bad(OK + b"\r\n" + b" " * (MIB + 1), "too_large"),
    "chunks-too-long": Bad(
        CHUNKED
        + b"80001\r\n"
        + b" " * 0x80001
        + b"\r\n80000\r\n"
        + b" " * 0x80000
        + b"\r\n0\r\n\r\n",
        "too_large",
    ),
    "chunks-of-one-byte": Bad(CHUNKED + b"1\r\n \r\n" * 400_000, "too_large"),
    "long-and-cut-off": Bad(LENGTH + b"33554432\r\n\r\n{}"),
}
