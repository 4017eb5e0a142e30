"""The faulty responses of a charger (docs/protocol.md §1, "Other answers")."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .responses import Response, plain_text

BUSY = plain_text(500, "couldn't take api lock in 3s, please try again later")
HUGE_BYTES = 32 * 2**20
DEPTH = 100_000

FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "array": "200 with a JSON array instead of an object",
        "bad_request": "a correct JSON object, with status 400",
        "busy": "500, the API lock is taken",
        "deep": "200 with 100000 open brackets",
        "drip": "a correct response, one byte every 200 ms",
        "empty": "the connection is closed without a response",
        "foreign": "200 with a JSON object of another device",
        "hang": "no response, the connection stays open",
        "html": "200 with an HTML page",
        "huge": "200 with a body of 32 MB",
        "invalid_utf8": "200 with JSON whose strings are not UTF-8",
        "nan": "200 with an object that holds NaN and Infinity",
        "not_found": "404, this URI does not exist",
        "null": "200 with null instead of an object",
        "redirect": "302 to an address that refuses connections",
        "reset": "the connection is reset",
        "string": "200 with a JSON string instead of an object",
        "truncated": "the body ends in the middle of the JSON",
        "unauthorized": "401",
        "unavailable": "503",
    }
)
"""Each fault and what the client receives."""

CANNED: Mapping[str, Response] = MappingProxyType(
    {
        "array": Response(200, b'[{"car":1},{"amp":16}]'),
        "busy": BUSY,
        "deep": Response(200, b"[" * DEPTH),
        "foreign": Response(200, b'{"error":"not authenticated"}'),
        "html": Response(200, b"<html><body><h1>It works!</h1></body></html>", "text/html"),
        "invalid_utf8": Response(200, b'{"car":1,"amp":16,"fna":"gar\xff\xfeage\xc3("}'),
        "nan": Response(
            200,
            b'{"car":NaN,"amp":Infinity,"wh":-Infinity,"eto":NaN,"err":0,'
            b'"nrg":[NaN,NaN,NaN,NaN,Infinity,NaN,NaN,NaN,NaN,NaN,NaN,-Infinity,NaN,NaN,NaN,NaN]}',
        ),
        "not_found": plain_text(404, "This URI does not exist"),
        "null": Response(200, b"null"),
        "redirect": Response(302, b"", "text/plain", "Location: http://127.0.0.1:1/\r\n"),
        "string": Response(200, b'"car"'),
        "unauthorized": plain_text(401, "Unauthorized"),
        "unavailable": plain_text(503, "Service Unavailable"),
    }
)
"""The faults with a fixed response; `Connection` simulates the others."""
