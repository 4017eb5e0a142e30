"""The web server: its sockets, TLS, and limits against slow, idle and hostile clients.

uvicorn speaks HTTP. This module adds an absolute deadline for the TLS handshake, for receiving a
request and for sending the response, and a maximum number of connections: beyond it the
longest-idle connection is closed, so clients cannot lock out others by holding connections open.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from goe_exporter.config.values import not_listening
from goe_exporter.errors import UsageError
from goe_exporter.http_server.auth import Authentication
from goe_exporter.http_server.conformance import conforming
from goe_exporter.http_server.connection import Listener, Protocol
from goe_exporter.http_server.web_config import WebSettings

KEEP_ALIVE_SECONDS = 75
MAX_HEAD_BYTES = 16 * 1024
TLS_SHUTDOWN_SECONDS = 2.0
TLS_BUFFER_BYTES = 32 * 1024
"""Read buffer of a TLS connection, 256 KiB by default in asyncio; a TLS record has 16 KiB."""

REFRESH_TICKS = 10
MAX_TICK_AGE_SECONDS = 60.0
"""The server has stalled if its event loop, which ticks ten times a second, is busy this long."""

BACKLOG = 512

FINISH_SECONDS = 1.0
"""Time limit for the responses in progress when the server stops."""

ABORT_SECONDS = 0.5
"""Time limit for the connections that are aborted then."""

CLOSED_SECONDS = 0.02
"""Interval of the check whether all connections are closed."""


class Limits(NamedTuple):
    """Maximum number of connections, and the deadline for a handshake or a complete request."""

    connections: int = 512
    request_seconds: float = 10.0


class Server:
    """The web server on all of `addresses` (host, port), and one limit on their connections.

    Port 0 picks a free one, an empty host is all interfaces. The constructor binds the sockets, so
    a port in use is a `UsageError` before anything starts. `settings` are checked for changes every
    second. `open_paths` need no password. The page is at `home`.
    """

    def __init__(
        self,
        addresses: Iterable[tuple[str, int]],
        settings: WebSettings | None = None,
        limits: Limits | None = None,
        *,
        open_paths: Collection[str] = (),
        home: str = "/",
    ) -> None:
        self._settings = settings or WebSettings(None)
        self._limits = limits or Limits()
        self._open_paths = open_paths
        self._home = home
        self._running: _Uvicorn | None = None
        self._stopping = False
        self._sockets: list[tuple[str, socket.socket]] = []
        try:
            for host, port in addresses:
                self._sockets.append((host or "localhost", _bind(host, port)))
        except UsageError:
            self.close()
            raise

    @property
    def urls(self) -> list[str]:
        """The URLs of the page, in the order of the addresses."""
        scheme = "http" if self._settings.tls is None else "https"
        return [
            f"{scheme}://{f'[{host}]' if ':' in host else host}:{each.getsockname()[1]}{self._home}"
            for host, each in self._sockets
        ]

    def close(self) -> None:
        """Close the sockets of a server that does not run."""
        for _host, each in self._sockets:
            each.close()

    def run(self, app: ASGIApp) -> None:
        """Serve until `stop` is called; returns within about 2 s of it, whatever clients do."""
        config = uvicorn.Config(
            _ending_when_cancelled(
                conforming(
                    Authentication(app, lambda: self._settings.config, open_paths=self._open_paths)
                )
            ),
            http="h11",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
        asyncio.sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES  # type: ignore[attr-defined]
        self._running = _Uvicorn(config, self._settings, self._limits)
        self._running.should_exit = self._stopping
        self._running.run(sockets=[each for _host, each in self._sockets])

    def stop(self) -> None:
        """Stop serving, or do not start; safe to call in a signal handler."""
        self._stopping = True
        if self._running is not None:
            self._running.should_exit = True

    def is_stalled(self) -> bool:
        """Return whether the event loop has stopped ticking."""
        running = self._running
        return running is not None and time.monotonic() - running.ticked > MAX_TICK_AGE_SECONDS


def _bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; an empty host is all interfaces, IPv6 and IPv4."""
    try:
        if not host and socket.has_dualstack_ipv6():
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
            )
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise not_listening("--web.listen-address", host, port, error) from error


def _ending_when_cancelled(app: ASGIApp) -> ASGIApp:
    """Return `app` that ends when it is cancelled; uvicorn would log this as an internal error."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await app(scope, receive, send)

    return call


class _Uvicorn(uvicorn.Server):
    """uvicorn with its own accept loop: TLS per connection, and a limit on connections."""

    def __init__(self, config: uvicorn.Config, settings: WebSettings, limits: Limits) -> None:
        super().__init__(config)
        self._settings = settings
        self._limits = limits
        self.ticked = time.monotonic()
        self._handshakes: dict[Protocol, asyncio.Task[None]] = {}

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the service."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start accepting connections."""
        await self.lifespan.startup()
        self.servers = [Listener(each, self._accepted) for each in sockets or []]  # type: ignore[misc]
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Record the tick and refresh the settings; return whether to stop."""
        self.ticked = time.monotonic()
        if counter % REFRESH_TICKS == 0:
            self._settings.refresh()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close idle connections at once, the others after their response or when time is up.

        A request that is still being answered then is cancelled with the event loop.
        """
        for listener in self.servers:
            listener.close()
            await listener.wait_closed()
        for each in sockets or []:
            each.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._closed(FINISH_SECONDS)
        for connection in list(self.server_state.connections):
            assert isinstance(connection, Protocol)
            connection.abort()
        await self._closed(ABORT_SECONDS)

    async def _closed(self, seconds: float) -> None:
        """Wait until all connections are closed, but not longer than `seconds`."""
        end = time.monotonic() + seconds
        while self.server_state.connections and time.monotonic() < end:  # noqa: ASYNC110, uvicorn has no event for it
            await asyncio.sleep(CLOSED_SECONDS)

    def _accepted(self, connection: socket.socket) -> None:
        """Start a connection, and close another one if there are too many."""
        connections = self.server_state.connections
        # A connection is in both while its handshake task ends.
        if len(connections | self._handshakes.keys()) >= self._limits.connections:
            self._make_room()
        settings, seconds = self._settings, self._limits.request_seconds
        protocol = Protocol(self, settings.config.tls_server_config, seconds)
        handshake = self._handshake(connection, protocol, settings.tls)
        task = asyncio.get_running_loop().create_task(handshake)
        self._handshakes[protocol] = task
        task.add_done_callback(lambda _task: self._handshakes.pop(protocol))

    async def _handshake(
        self, connection: socket.socket, protocol: Protocol, tls: ssl.SSLContext | None
    ) -> None:
        """Perform the TLS handshake, if any, within its deadline, then start the protocol."""
        seconds = self._limits.request_seconds
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=tls,
                ssl_handshake_timeout=seconds if tls else None,
                ssl_shutdown_timeout=TLS_SHUTDOWN_SECONDS if tls else None,
            )

    def _make_room(self) -> None:
        """Close the longest-idle connection; those with a request being answered come last."""
        connections = self.server_state.connections
        candidates: list[tuple[bool, float, Callable[[], object]]] = [
            (False, each.since, task.cancel)
            for each, task in self._handshakes.items()
            if each not in connections
        ]
        for each in connections:
            assert isinstance(each, Protocol)
            candidates.append((each.answering, each.since, each.abort))
        _answering, _since, close = min(candidates, key=lambda each: each[:2])
        close()
