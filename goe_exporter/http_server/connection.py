"""One client's connection: uvicorn's HTTP/1.1 protocol with deadlines, and the accept loop.

`tests/http_server/test_uvicorn_internals.py` lists the private parts of uvicorn that this module
and `server` rely on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from operator import attrgetter

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from goe_exporter.http_server.tls import TlsServer

RESPONSE_SECONDS = 60.0
"""Deadline for a client to read a response."""

MAX_UNSENT_BYTES = 16 * 1024 * 1024
ACCEPT_RETRY_SECONDS = 0.1


class Listener:
    """Accepts connections on a socket; stands in for an asyncio server in `uvicorn.Server`."""

    def __init__(self, listening: socket.socket, accepted: Callable[[socket.socket], None]) -> None:
        listening.setblocking(False)
        self._socket = listening
        self._accepted = accepted
        self._task = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Stop accepting."""
        self._task.cancel()

    async def wait_closed(self) -> None:
        """Wait until the accept loop has ended."""
        await asyncio.wait([self._task])

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _address = await loop.sock_accept(self._socket)
            except OSError:
                # The client has left already, or the process has no free file descriptor.
                await asyncio.sleep(ACCEPT_RETRY_SECONDS)
            else:
                # As asyncio sets it for its own servers; otherwise responses are delayed by 40 ms.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._accepted(connection)


class Protocol(H11Protocol):
    """A connection with deadlines for receiving a complete request and for sending the response.

    `since` is when the client last sent something (monotonic).
    """

    def __init__(
        self, server: uvicorn.Server, tls: TlsServer | None, request_seconds: float
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server.config, server.server_state, server.lifespan.state, loop)
        self.since = time.monotonic()
        self._tls = tls
        self._request_seconds = request_seconds
        self._deadline: asyncio.TimerHandle | None = None
        self._between_requests = False

    @property
    def answering(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def abort(self) -> None:
        """Close the connection immediately."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the first deadline; abort if the client's certificate has no allowed name."""
        super().connection_made(transport)
        self._set_deadline(self._request_seconds)
        if self._tls is not None and not self._tls.allows(transport.get_extra_info("peercert")):
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline."""
        self._set_deadline(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process received bytes; the first byte of a request starts its deadline."""
        self.since = time.monotonic()
        if self._between_requests:
            self._between_requests = False
            self._set_deadline(self._request_seconds)
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._set_deadline(RESPONSE_SECONDS)
            self._limit_unsent()

    def send_400_response(self, msg: str) -> None:
        """Reject malformed HTTP; abort if it is the body of a request that is being answered.

        uvicorn would send a second response, or a body to HEAD, and log a traceback for each.
        """
        if self.answering:
            self.abort()
            return
        with contextlib.suppress(h11.LocalProtocolError):
            super().send_400_response(msg)
        self._close()

    def on_response_complete(self) -> None:
        """Prepare for the next request; close the connection if a body is still being received."""
        if self.conn.their_state not in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED):
            self._close()
        before = self.cycle
        super().on_response_complete()
        if self.cycle is not before:
            self._set_deadline(RESPONSE_SECONDS)
        else:
            self._between_requests = True

    def _close(self) -> None:
        """Close the connection after the response, unless uvicorn has done so.

        asyncio loses track of a TLS connection that is closed twice.
        """
        if not self.transport.is_closing():
            self.transport.close()

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        """Abort the connection, unless it is idle between two requests."""
        if not self._between_requests or _unsent_bytes(self.transport):
            self.abort()

    def _limit_unsent(self) -> None:
        """Abort the longest-idle connections while all together have too many unsent bytes."""
        unsent = {each: _unsent_bytes(each.transport) for each in self.connections}
        total = sum(unsent.values())
        for client in sorted(filter(unsent.get, unsent), key=attrgetter("since"))[:-1]:
            if total <= MAX_UNSENT_BYTES:
                break
            total -= unsent[client]
            client.transport.abort()


def _unsent_bytes(transport: asyncio.Transport) -> int:
    """Return the size of what the client has not read yet; 0 if asyncio has lost track of it."""
    try:
        return transport.get_write_buffer_size()
    except AttributeError:  # a TLS connection that was closed twice
        return 0
