"""One connection: reads one request, gives one answer or one fault, and closes."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator

from .box import Box
from .faults import BUSY, CANNED, HUGE_BYTES
from .speech import Answer

REQUEST_LIMIT = 65_536
LONGEST_NUMBER = 10
DRIP_S = 0.2
CHUNK = b"a" * 65_536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def parsed(received: bytes) -> tuple[str, str] | None:
    """Return method and target of a complete request, None while something of it is missing."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length" and value.strip().isdecimal():
            length = int(value.strip()[:LONGEST_NUMBER])
            if len(body) < min(length, REQUEST_LIMIT):
                return None
    method, _, rest = first.partition(" ")
    return method, rest.partition(" ")[0]


def huge_body() -> Iterator[bytes]:
    """Yield a JSON object of `HUGE_BYTES`, piece by piece."""
    start, end = b'{"car":1,"fna":"', b'"}'
    missing = HUGE_BYTES - len(start) - len(end)
    yield start
    for _ in range(missing // len(CHUNK)):
        yield CHUNK
    yield CHUNK[: missing % len(CHUNK)]
    yield end


class Connection(asyncio.Protocol):
    """A client's connection to a box. It lives in the simulator's event loop only."""

    def __init__(self, box: Box) -> None:
        """Belong to this box."""
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
        """Welcome the client, unless the box was closed meanwhile."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._box.connections.add(self)
        if self._box.closed:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Forget a client that has gone."""
        self._box.connections.discard(self)
        self._finish()

    def data_received(self, data: bytes) -> None:
        """Collect the request; what follows it is ignored, as on a charger that will close."""
        if self._request is not None:
            return
        self._received += data
        self._request = parsed(bytes(self._received))
        if self._request is not None:
            self._fault = self._box.arrived(self._request[1])
            self._handle()
        elif len(self._received) > REQUEST_LIMIT:
            self.abort()

    def abort(self) -> None:
        """Drop the client at once."""
        self._transport.abort()

    def pause_writing(self) -> None:
        """Stop pouring: the client reads slower than we write."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on pouring."""
        self._paused = False
        if self._fault == "huge":
            # Not at once: asyncio stumbles over a transport that is closed from within this call.
            asyncio.get_running_loop().call_soon(self._pour)

    def _handle(self) -> None:
        """Show the fault, or wait for the API lock and answer."""
        if self._fault == "hang":
            return
        if self._fault == "reset":
            endpoint = self._transport.get_extra_info("socket")
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.abort()
        elif self._fault == "empty":
            self._end()
        elif self._fault == "huge":
            head = Answer(200, b"").head(says_close=True, length=HUGE_BYTES)
            self._transport.write(head)
            self._pieces = huge_body()
            self._pour()
        elif self._fault is not None and self._fault in CANNED:
            self._send(CANNED[self._fault])
        else:
            self._queue()

    def _queue(self) -> None:
        """Take the API lock, or wait for it for as long as the charger does."""
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
        """Go to work on the request, now that this connection holds the API lock."""
        self._cancel_timer()
        if self._box.holder is not self or self._transport.is_closing():
            return
        if self._box.latency > 0:
            later = asyncio.get_running_loop().call_later
            self._timer = later(self._box.latency, self._speak)
        else:
            self._speak()

    def _speak(self) -> None:
        assert self._request is not None
        answer = self._box.ask(*self._request)
        if self._fault == "drip":
            stream = answer.head(says_close=self._box.says_close()) + answer.body
            self._pieces = (stream[index : index + 1] for index in range(len(stream)))
            self._drip()
        elif self._fault == "truncated":
            head = answer.head(says_close=self._box.says_close())
            self._transport.write(head + answer.body[: len(answer.body) // 2])
            self._end()
        elif self._fault == "bad_request":
            self._send(Answer(400, answer.body, answer.content_type))
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        self._transport.write(answer.head(says_close=self._box.says_close()) + answer.body)
        self._end()

    def _pour(self) -> None:
        """Write the next large piece, then let others have their turn."""
        if self._done or self._paused or self._transport.is_closing():
            return
        piece = next(self._pieces, None)
        if piece is None:
            self._end()
            return
        self._transport.write(piece)
        asyncio.get_running_loop().call_soon(self._pour)

    def _drip(self) -> None:
        """Write the next byte, and come back for the one after it."""
        piece = next(self._pieces, None)
        if piece is None:
            self._end()
            return
        self._transport.write(piece)
        self._timer = asyncio.get_running_loop().call_later(DRIP_S, self._drip)

    def _end(self) -> None:
        """Close after what was written has gone out."""
        self._transport.close()
        self._finish()

    def _finish(self) -> None:
        """Leave the box's books: the request is answered or nobody waits for it any more."""
        self._cancel_timer()
        if self._request is not None and not self._done:
            self._done = True
            self._box.left(self)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
