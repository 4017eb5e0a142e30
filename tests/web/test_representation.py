"""The compression of a response, and whether a client has the page already."""

from __future__ import annotations

import pytest

from goe_exporter.web.representation import encoding, is_current


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        ("", "identity"),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("deflate, gzip, br, zstd", "gzip"),
        ("zstd,gzip", "gzip"),
        ("deflate, gzip;q=0.9", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip; q=0.0", "identity"),
        ("x-gzip;q=0", "identity"),
        ("gzip;q=0, x-gzip", "identity"),
        ("gzip;q=0, *", "identity"),
        ("*", "gzip"),
        ("*;q=0", "identity"),
        ("*;q=0, gzip", "gzip"),
        ("br, *;q=0.1", "gzip"),
        ("identity", "identity"),
        ("identity, gzip;q=0.5", "identity"),
        ("identity;q=0.5, gzip", "gzip"),
        ("identity, gzip", "gzip"),
        ("identity;q=0, gzip;q=0.001", "gzip"),
        ("identity;q=0, *", "gzip"),
        ("identity;q=0", "identity"),
        ("gzip;q=0.5, *;q=0.8", "identity"),
        ("gzip;q=1.5", "identity"),
        ("gzipped, br", "identity"),
        ("br", "identity"),
    ],
)
def test_encoding(accept_encoding: str, expected: str) -> None:
    """Weights decide (RFC 9110 §12.5.3); of equal ones gzip wins, without a choice identity."""
    assert encoding(accept_encoding) == expected


@pytest.mark.parametrize(
    ("if_none_match", "expected"),
    [
        ('W/"abc"', True),
        ('"abc"', True),
        ("*", True),
        (" * ", True),
        ('"x", W/"abc"', True),
        ('W/"x,y", "abc" , "z"', True),
        ("", False),
        ('"abcd"', False),
        ('"ab", "c"', False),
        ('W/"ABC"', False),
        ("abc", False),
        ('"x", *', False),
    ],
)
def test_is_current(if_none_match: str, expected: bool) -> None:
    """A list of tags is compared weakly; `*` is any tag."""
    assert is_current(if_none_match, 'W/"abc"') is expected
