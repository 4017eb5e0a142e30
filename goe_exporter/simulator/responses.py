"""The charger's HTTP responses: paths, statuses and bodies (docs/protocol.md §1)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import parse_qsl

from .api_v1 import set_v1, status_v1
from .api_v2 import filtered, set_v2, status_v2
from .state import State

__all__ = ["Response", "respond", "set_v1", "set_v2", "status_v1", "status_v2"]

PHRASES = {
    200: "OK",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response: status, body, content type, and further header lines."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: str = ""

    def head(self, *, announces_close: bool, length: int | None = None) -> bytes:
        """Return status line and headers; `length` is claimed instead of the body's length."""
        claimed = len(self.body) if length is None else length
        close = "Connection: close\r\n" if announces_close else ""
        return (
            f"HTTP/1.1 {self.status} {PHRASES[self.status]}\r\n"
            f"Content-Type: {self.content_type}\r\n"
            f"Content-Length: {claimed}\r\n"
            f"Access-Control-Allow-Origin: *\r\n{self.headers}{close}\r\n"
        ).encode()


def plain_text(status: int, text: str) -> Response:
    """Return a response in plain text."""
    return Response(status, text.encode(), "text/plain")


def as_json(status: int, value: object) -> Response:
    """Return a response in JSON, which a charger declares as plain text if its status is 500."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    body = text.encode(errors="replace")
    return Response(status, body, "text/plain" if status == 500 else "application/json")


def parameter(query: str, name: str) -> str | None:
    """Return a parameter of a query, None if it is absent."""
    return dict(parse_qsl(query, keep_blank_values=True)).get(name)


def respond(charger: State, api: str, method: str, target: str) -> Response:
    """Return the response to a request; `api` is the enabled APIs: both, 1 or 2."""
    if method != "GET":
        return plain_text(405, "Request method for this URI is not handled by server")
    path, _, query = target.partition("?")
    if not charger.hardware.v2 and path not in ("/status", "/mqtt"):
        return plain_text(404, f"Not found: {path}")
    if api in ("both", "1") and path in ("/status", "/mqtt"):
        return _respond_v1(charger, path, query)
    if api in ("both", "2") and path in ("/api/status", "/api/set"):
        return _respond_v2(charger, path, query)
    return plain_text(404, "This URI does not exist")


def _respond_v1(charger: State, path: str, query: str) -> Response:
    if path == "/status":
        return as_json(200, status_v1(charger))
    return as_json(200, set_v1(charger, parameter(query, "payload") or ""))


def _respond_v2(charger: State, path: str, query: str) -> Response:
    if path == "/api/status":
        return as_json(*filtered(charger, parameter(query, "filter")))
    status, body = set_v2(charger, query)
    return plain_text(status, body) if isinstance(body, str) else as_json(status, body)
