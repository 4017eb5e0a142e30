"""One connection: reads one request, sends one response or simulates one fault, and closes."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator

from .endpoint import Endpoint
from .faults import BUSY, CANNED, HUGE_BYTES
from .responses import Response

MAX_REQUEST_BYTES = 65_536
MAX_DIGITS = 10
DRIP_INTERVAL_S = 0.2
CHUNK = b"a" * 65_536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def parsed(received: bytes) -> tuple[str, str] | None:
    """Return method and target of a request, None while it is incomplete."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length" and value.strip().isdecimal():
            length = int(value.strip()[:MAX_DIGITS])
            if len(body) < min(length, MAX_REQUEST_BYTES):
                return None
    method, _, rest = first.partition(" ")
    return method, rest.partition(" ")[0]


def huge_body() -> Iterator[bytes]:
    """Yield a JSON object of `HUGE_BYTES` in chunks."""
    start, end = b'{"car":1,"fna":"', b'"}'
    missing = HUGE_BYTES - len(start) - len(end)
    yield start
    for _ in range(missing // len(CHUNK)):
        yield CHUNK
    yield CHUNK[: missing % len(CHUNK)]
    yield end


class Connection(asyncio.Protocol):
    """A client's connection to a box; used only in the simulator's event loop."""

    def __init__(self, box: Endpoint) -> None:
        """Create a connection to a box."""
        self._box = box
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._request: tuple[str, str] | None = None
        self._fault: str | None = None
        self._done = False
        self._timer: asyncio.TimerHandle | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the client, unless the box was closed meanwhile."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._box.connections.add(self)
        if self._box.closed:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """End the request of a client that has disconnected."""
        self._box.connections.discard(self)
        self._finish()

    def data_received(self, data: bytes) -> None:
        """Collect the request; what follows it is ignored, since the charger closes."""
        if self._request is not None or self._box.closed:
            return
        self._received += data
        self._request = parsed(bytes(self._received))
        if self._request is not None:
            self._fault = self._box.request_received(self._request[1])
            self._handle()
        elif len(self._received) > MAX_REQUEST_BYTES:
            self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def pause_writing(self) -> None:
        """Pause the huge body; the client reads more slowly than it is written."""
        self._paused = True

    def resume_writing(self) -> None:
        """Resume the huge body."""
        self._paused = False
        if self._fault == "huge":
            # Deferred: asyncio fails if the transport is closed within this call.
            asyncio.get_running_loop().call_soon(self._write_next)

    def _handle(self) -> None:
        """Simulate the fault, or wait for the API lock and respond."""
        if self._fault == "hang":
            return
        if self._fault == "reset":
            endpoint = self._transport.get_extra_info("socket")
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.abort()
        elif self._fault == "empty":
            self._end()
        elif self._fault == "huge":
            head = Response(200, b"").head(announces_close=True, length=HUGE_BYTES)
            self._transport.write(head)
            self._pieces = huge_body()
            self._write_next()
        elif self._fault is not None and self._fault in CANNED:
            self._send(CANNED[self._fault])
        else:
            self._queue()

    def _queue(self) -> None:
        """Acquire the API lock, or wait for it as long as the charger does."""
        box = self._box
        if box.holder is None:
            box.holder = self
            self.begin()
        else:
            box.waiting.append(self)
            self._timer = asyncio.get_running_loop().call_later(box.lock_wait_s, self._give_up)

    def _give_up(self) -> None:
        self._send(BUSY)

    def begin(self) -> None:
        """Process the request, now that this connection holds the API lock."""
        self._cancel_timer()
        if self._box.holder is not self or self._transport.is_closing():
            return
        if self._box.latency > 0:
            later = asyncio.get_running_loop().call_later
            self._timer = later(self._box.latency, self._respond)
        else:
            self._respond()

    def _respond(self) -> None:
        assert self._request is not None
        response = self._box.respond(*self._request)
        if self._fault == "drip":
            stream = response.head(announces_close=self._box.announces_close()) + response.body
            self._pieces = (stream[index : index + 1] for index in range(len(stream)))
            self._write_byte()
        elif self._fault == "truncated":
            head = response.head(announces_close=self._box.announces_close())
            self._transport.write(head + response.body[: len(response.body) // 2])
            self._end()
        elif self._fault == "bad_request":
            self._send(Response(400, response.body, response.content_type))
        else:
            self._send(response)

    def _send(self, response: Response) -> None:
        self._transport.write(
            response.head(announces_close=self._box.announces_close()) + response.body
        )
        self._end()

    def _write_next(self) -> None:
        """Write the next chunk, then let other connections run."""
        if self._done or self._paused or self._transport.is_closing():
            return
        piece = next(self._pieces, None)
        if piece is None:
            self._end()
            return
        self._transport.write(piece)
        asyncio.get_running_loop().call_soon(self._write_next)

    def _write_byte(self) -> None:
        """Write the next byte, and schedule the one after it."""
        piece = next(self._pieces, None)
        if piece is None:
            self._end()
            return
        self._transport.write(piece)
        self._timer = asyncio.get_running_loop().call_later(DRIP_INTERVAL_S, self._write_byte)

    def _end(self) -> None:
        """Close after the written data has been sent."""
        self._transport.close()
        self._finish()

    def _finish(self) -> None:
        """End the request, which is answered or whose client has disconnected."""
        self._cancel_timer()
        if self._request is not None and not self._done:
            self._done = True
            self._box.request_ended(self)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
