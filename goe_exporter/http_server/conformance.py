"""What RFC 9112 requires of a server beyond what h11 and uvicorn check."""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

from goe_exporter.http_server.auth import rejected

_NAME = rb"(?:\[[0-9A-Za-z:.%_~-]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]+)"
_HOST = re.compile(rb"(?:%s(?::[0-9]*)?)?" % _NAME)
_ABSOLUTE = re.compile(rb"(?i:https?)://(%s(?::[0-9]*)?)(/.*)?" % _NAME)


def conforming(app: ASGIApp) -> ASGIApp:
    """Return an ASGI application that gets valid requests only, with the path as the target.

    - A target in absolute form becomes its path, and its authority the `Host` (RFC 9112 §3.2.2).
    - `OPTIONS *` has the path `*`. Any other target, or an invalid `Host` (§3.2), gets 400.
    - A request with two lengths gets 400, and the connection is closed (§6.1): a proxy may have
      seen another request where this one ends.
    """

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        fault = _fault(scope)
        if fault:
            await rejected(400, fault, "Connection", "close")(scope, receive, send)
        else:
            await app(_with_path(scope), receive, send)

    return call


def _fault(scope: Scope) -> str:
    """Return what is wrong with a request, "" if nothing is."""
    headers = dict(scope["headers"])
    if b"content-length" in headers and b"transfer-encoding" in headers:
        return "both Content-Length and Transfer-Encoding"
    if not _HOST.fullmatch(headers.get(b"host", b"")):
        return "invalid Host"
    target = scope["raw_path"]
    if target.startswith(b"/") or _ABSOLUTE.fullmatch(target):
        return ""
    return "" if target == b"*" and scope["method"] == "OPTIONS" else "invalid request target"


def _with_path(scope: Scope) -> Scope:
    """Return the scope of a request, with a target in absolute form replaced by its path."""
    absolute = _ABSOLUTE.fullmatch(scope["raw_path"])
    if absolute is None:
        return scope
    path = absolute[2] or (b"*" if scope["method"] == "OPTIONS" else b"/")
    headers = [header for header in scope["headers"] if header[0] != b"host"]
    return dict(
        scope,
        raw_path=path,
        path=unquote(path.decode("ascii")),
        headers=[*headers, (b"host", absolute[1])],
    )
