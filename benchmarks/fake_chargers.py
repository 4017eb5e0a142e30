"""Thousands of chargers with a fixed status: `python -m benchmarks.fake_chargers COUNT DEAD`.

A simulated charger takes twice the CPU of a poll, so 5,000 of them take more than a core. These
return the status of a charging V4, each on its own loopback address, at a fraction of that cost.
Of the dead ones every other refuses connections; the rest accept the request and never answer.
Prints "ready" when all listen, and ends when its standard input is closed.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import sys
from collections.abc import Callable
from functools import cache
from urllib.parse import parse_qs, urlsplit

from benchmarks.chargers import PORT, address
from goe_exporter.simulator import Car, Charger
from goe_exporter.simulator.api_v2 import status_v2

HEAD_BYTES = 8192
BACKLOG = 16


def _charging() -> dict[str, object]:
    charger = Charger(model="V4")
    charger.plug(Car())
    charger.advance(60)
    return status_v2(charger)


STATUS = _charging()


@cache
def _answer(target: str) -> bytes:
    """Return the response to a request; there is one per filter."""
    keys = parse_qs(urlsplit(target).query)["filter"][0].split(",")
    body = json.dumps({key: STATUS[key] for key in keys if key in STATUS}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


class _Chargers:
    """All chargers on one selector; the data of a key is the function that handles the socket."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def listen(self, host: str, *, hanging: bool) -> None:
        listener = socket.create_server((host, PORT), backlog=BACKLOG)
        self._on(listener, self._accept_only if hanging else self._accept)

    def run(self) -> None:
        """Answer until standard input ends."""
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _events in self._selector.select():
                if key.data is None:
                    return
                key.data(key.fileobj)

    def _on(self, readable: socket.socket, work: Callable[[socket.socket], None]) -> None:
        self._selector.register(readable, selectors.EVENT_READ, work)

    def _accept(self, listener: socket.socket) -> None:
        self._on(listener.accept()[0], self._reply)

    def _accept_only(self, listener: socket.socket) -> None:
        self._on(listener.accept()[0], self._wait_for_its_end)

    def _reply(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            request = connection.recv(HEAD_BYTES).decode()
            if request:
                connection.sendall(_answer(request.split()[1]))
        self._close(connection)

    def _wait_for_its_end(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if connection.recv(HEAD_BYTES):
                return
        self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()


def main(count: int, dead: int) -> None:
    """Answer for `count` chargers, the first `dead` of them dead."""
    chargers = _Chargers()
    for number in range(count):
        if number >= dead or number % 2 == 0:
            chargers.listen(address(number), hanging=number < dead)
    print("ready", flush=True)
    chargers.run()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
