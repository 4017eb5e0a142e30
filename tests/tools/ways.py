"""The two ways of a GET request: `Transport.get`, which waits, and the polling loop."""

from __future__ import annotations

import time

import pytest
from servers import PATIENCE_SECONDS, returned
from speaker import Speaker

from goe_exporter.errors import TransportError
from goe_exporter.transport.answer import HttpAnswer
from goe_exporter.transport.http import Transport
from goe_exporter.transport.loop import fetched
from goe_exporter.transport.steps import Request

SHORT_SECONDS = 0.4
"""The deadline of a request that must not get its answer; all others have plenty of time."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
TOKEN = "s3cret-t0ken"

INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 199 Unheard of\r\n\r\n",
)


waited = Transport.get
"""The way that waits, also while a test replaces it."""


def looped(transport: Transport, target: str, until: float | None = None) -> HttpAnswer:
    """Make one GET request as `waited` does, on a loop of its own if it is one for a loop."""
    if not transport.direct:
        return waited(transport, target, until)
    end = time.monotonic() + transport._deadline_seconds if until is None else until
    return fetched(Request(transport, target, end))


def transport(
    host: str,
    token: str | None = None,
    deadline_seconds: float = PATIENCE_SECONDS,
    *,
    environment_proxies: bool = False,
) -> Transport:
    return Transport(
        host,
        token=token,
        deadline_seconds=deadline_seconds,
        environment_proxies=environment_proxies,
    )


def said(asker: Transport, target: str) -> tuple[int, bytes]:
    """Return status and body of a request that must succeed."""
    answer = asker.get(target)
    return answer.status, answer.body


def failure(host: str | Speaker, deadline_seconds: float = PATIENCE_SECONDS) -> TransportError:
    """Return the error of a request that must fail."""
    address = host if isinstance(host, str) else host.address
    asker = transport(address, deadline_seconds=deadline_seconds)
    with pytest.raises(TransportError) as caught:
        returned(lambda: asker.get("/api/status?filter=car"))
    return caught.value
