"""The listening side of the web: sockets, TLS, and clients that mean ill or have fallen asleep.

uvicorn speaks HTTP; what it lacks is added here. Every connection has an absolute deadline, for
the handshake, for a request to arrive and for its answer to be taken; there are only so many of
them, and beyond that the one that has been idle the longest goes, so that nobody can keep others
out by holding connections open.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import NamedTuple

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from goe_exporter.config.values import not_listening
from goe_exporter.http_server.auth import Guard
from goe_exporter.http_server.web_config import WebConfig, WebSettings

KEEP_ALIVE_SECONDS = 75
ANSWER_SECONDS = 60.0
HEAD_BYTES = 16 * 1024
UNSENT_BYTES = 16 * 1024 * 1024
TLS_GOODBYE_SECONDS = 2.0
TLS_BUFFER_BYTES = 32 * 1024
"""What asyncio holds of each TLS connection, 256 KiB by itself; a record has 16 KiB."""

ACCEPT_PAUSE_SECONDS = 0.1
REFRESH_TICKS = 10
HUNG_SECONDS = 60.0
"""So long the loop may be busy with one thing; a tick comes ten times a second."""

BACKLOG = 512


class Limits(NamedTuple):
    """How many clients at once, and the seconds for a handshake or a request to arrive."""

    connections: int = 512
    request_seconds: float = 10.0


class Server:
    """The web server on `host`:`port`; port 0 takes a free one, an empty host all interfaces.

    The socket is bound here, so a port in use is a `UsageError` before anything else starts.
    `settings` say who is let in and by which certificate, and are looked at again every second;
    with `open_health` the health endpoints are for everybody.
    """

    def __init__(
        self,
        host: str,
        port: int,
        settings: WebSettings | None = None,
        limits: Limits | None = None,
        *,
        open_health: bool = False,
    ) -> None:
        self._socket = _bind(host, port)
        self._settings = settings or WebSettings(None)
        self._limits = limits or Limits()
        self._open_health = open_health
        self._running: _Uvicorn | None = None
        self._stopping = False
        self.host = host or "localhost"
        self.port: int = self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        """Where a person finds the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "http" if self._settings.tls is None else "https"
        return f"{scheme}://{host}:{self.port}/"

    def run(self, app: ASGIApp) -> None:
        """Serve until `stop`; returns once the answers under way are out."""
        config = uvicorn.Config(
            Guard(app, lambda: self._settings.config, open_health=self._open_health),
            http="h11",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        asyncio.sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES  # type: ignore[attr-defined]
        self._running = _Uvicorn(config, self._settings, self._limits)
        self._running.should_exit = self._stopping
        self._running.run(sockets=[self._socket])

    def stop(self) -> None:
        """Serve no more, or not at all; a signal's handler may call this."""
        self._stopping = True
        if self._running is not None:
            self._running.should_exit = True

    def hangs(self) -> bool:
        """Tell whether the loop that serves has come to a stand."""
        running = self._running
        return running is not None and time.monotonic() - running.ticked > HUNG_SECONDS


def _bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; an empty host means all interfaces, IPv6 and IPv4."""
    try:
        if not host and socket.has_dualstack_ipv6():
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
            )
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise not_listening("--web.listen-address", host, port, error) from error


class _Uvicorn(uvicorn.Server):
    """uvicorn with an accept loop of its own: TLS by the connection, and room for the next one."""

    def __init__(self, config: uvicorn.Config, settings: WebSettings, limits: Limits) -> None:
        super().__init__(config)
        self._settings = settings
        self._limits = limits
        self.ticked = time.monotonic()
        self._handshakes: dict[asyncio.Task[None], float] = {}

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs all of this."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        await self.lifespan.startup()
        self.servers = [_Listener(each, self._welcome) for each in sockets or []]  # type: ignore[misc]
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Look after what has to be done now and then; tells whether to end."""
        self.ticked = time.monotonic()
        if counter % REFRESH_TICKS == 0:
            self._settings.refresh()
        return await super().on_tick(counter)

    def _welcome(self, connection: socket.socket) -> None:
        """Take a connection in, and let another one go for it if there are too many."""
        connections = self.server_state.connections
        if len(connections) + len(self._handshakes) >= self._limits.connections:
            self._make_room()
        task = asyncio.get_running_loop().create_task(self._greet(connection))
        self._handshakes[task] = time.monotonic()
        task.add_done_callback(self._handshakes.pop)

    async def _greet(self, connection: socket.socket) -> None:
        """Shake hands, as long as that may take; then the protocol has the connection."""
        loop = asyncio.get_running_loop()
        tls, patience = self._settings.tls, self._limits.request_seconds
        with contextlib.suppress(OSError):
            await loop.connect_accepted_socket(
                lambda: _Protocol(self, self._settings.config, patience),
                connection,
                ssl=tls,
                ssl_handshake_timeout=patience if tls else None,
                ssl_shutdown_timeout=TLS_GOODBYE_SECONDS if tls else None,
            )

    def _make_room(self) -> None:
        """Drop whoever has said nothing for the longest time; who waits for an answer, last."""
        waiting: list[tuple[bool, float, Callable[[], object]]] = [
            (False, since, task.cancel) for task, since in self._handshakes.items()
        ]
        for each in self.server_state.connections:
            assert isinstance(each, _Protocol)
            waiting.append((each.answering, each.since, each.abort))
        _answering, _since, drop = min(waiting, key=lambda each: each[:2])
        drop()


class _Listener:
    """Accepts on a socket until it is closed; what uvicorn holds for an asyncio server."""

    def __init__(self, listening: socket.socket, welcome: Callable[[socket.socket], None]) -> None:
        listening.setblocking(False)
        self._socket = listening
        self._welcome = welcome
        self._task = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Accept no more."""
        self._task.cancel()

    async def wait_closed(self) -> None:
        """Wait until it does not."""
        await asyncio.wait([self._task])

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _address = await loop.sock_accept(self._socket)
            except OSError:
                # A client that left already, or no descriptor to be had; others may go meanwhile.
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
            else:
                # asyncio does so for sockets of its own; else an answer waits 40 ms for the client.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._welcome(connection)


class _Protocol(H11Protocol):
    """A connection with a deadline: for a request to be whole, and for its answer to be taken.

    `since` is when it last said something (monotonic).
    """

    def __init__(self, server: uvicorn.Server, web: WebConfig, patience_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server.config, server.server_state, server.lifespan.state, loop)
        self.since = time.monotonic()
        self._web = web
        self._patience_seconds = patience_seconds
        self._deadline: asyncio.TimerHandle | None = None
        self._between_requests = False

    @property
    def answering(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def abort(self) -> None:
        """Drop the client at once."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request, if the client's certificate is a welcome one."""
        super().connection_made(transport)
        self._end_in(self._patience_seconds)
        if not self._web.welcomes(transport.get_extra_info("peercert")):
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._end_in(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request; its first byte sets the time for the rest."""
        self.since = time.monotonic()
        if self._between_requests:
            self._between_requests = False
            self._end_in(self._patience_seconds)
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._end_in(ANSWER_SECONDS)
            self._relieve()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; if it is the body of a request being answered, say nothing.

        uvicorn would answer twice, or HEAD with a body, and a traceback be logged for each.
        """
        if self.answering:
            self.abort()
            return
        with contextlib.suppress(h11.LocalProtocolError):
            super().send_400_response(msg)
        self.transport.close()

    def on_response_complete(self) -> None:
        """Wait for the next request; a body that nobody asked for is not waited for."""
        if self.conn.their_state not in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED):
            self.transport.close()
        before = self.cycle
        super().on_response_complete()
        if self.cycle is not before:
            self._end_in(ANSWER_SECONDS)
        else:
            self._between_requests = True

    def _end_in(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        """End the connection, unless it only rests between two requests."""
        if not self._between_requests or self.transport.get_write_buffer_size():
            self.transport.abort()

    def _relieve(self) -> None:
        """Drop those who let answers lie the longest, while all together let too many bytes lie."""
        unsent = {each: each.transport.get_write_buffer_size() for each in self.connections}
        total = sum(unsent.values())
        for client in sorted(filter(unsent.get, unsent), key=attrgetter("since"))[:-1]:
            if total <= UNSENT_BYTES:
                break
            total -= unsent[client]
            client.transport.abort()
