"""The failures of HTTP requests: whatever the libraries raise becomes a `TransportError`."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Iterable

import requests
from urllib3.exceptions import HTTPError, LocationParseError, NameResolutionError

from goe_exporter.errors import TransportError

FAILURES = (
    requests.RequestException,
    HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)
"""What requests, urllib3, http.client and sockets raise when a request fails."""

_DISCONNECTED = (
    "Connection aborted",
    "Remote end closed",
    "Connection reset",
    "IncompleteRead",
    "Broken pipe",
)


def translated(error: Exception, host: str, deadline: float) -> TransportError:
    """Return the `TransportError` for an exception of `FAILURES`.

    `deadline` is the request's, on the monotonic clock.
    """
    if isinstance(error, TransportError):
        return error
    causes = list(_causes(error))
    for cause in causes:
        for kind, reason in _BY_KIND:
            if isinstance(cause, kind):
                return TransportError(reason, _sentence(reason, host))
    text = " ".join(map(str, causes))
    if time.monotonic() >= deadline or "timed out" in text:
        return TransportError("timeout", _sentence("timeout", host))
    if any(word in text for word in _DISCONNECTED):
        return TransportError("truncated", _sentence("truncated", host))
    return TransportError("unreachable", f"{host}: {type(causes[-1]).__name__}: {causes[-1]}")


def _causes(error: BaseException) -> Iterable[BaseException]:
    """Yield an exception and all its causes, however they are wrapped."""
    seen: list[BaseException] = []
    todo: list[object] = [error]
    while todo:
        cause = todo.pop(0)
        if isinstance(cause, BaseException) and cause not in seen:
            seen.append(cause)
            todo += [getattr(cause, "reason", None), *cause.args, cause.__cause__]
            yield cause


_BY_KIND: tuple[tuple[type[BaseException], str], ...] = (
    (requests.exceptions.SSLError, "tls"),
    (ssl.SSLError, "tls"),
    (NameResolutionError, "dns"),
    (socket.gaierror, "dns"),
    (requests.exceptions.InvalidURL, "dns"),
    (LocationParseError, "dns"),
    (ConnectionRefusedError, "refused"),
    (TimeoutError, "timeout"),
    (ConnectionError, "truncated"),
    (http.client.HTTPException, "truncated"),
)


def _sentence(reason: str, host: str) -> str:
    return {
        "dns": f"{host}: the host name cannot be resolved",
        "refused": f"{host} refuses the connection",
        "timeout": f"{host} did not answer in time",
        "truncated": f"{host} closed the connection before the answer was complete",
        "tls": f"{host}: TLS failed",
    }[reason]
