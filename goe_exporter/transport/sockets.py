"""Connections that keep a deadline, whatever the other side sends.

Every read ends by the deadline of the thread's request, and a connection receives a limited number
of bytes. A connection serves one request: the charger closes each one, often without saying so.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import queue
import selectors
import socket
import ssl
import threading
import time
from typing import Any, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool, port_by_scheme
from urllib3.exceptions import InsecureRequestWarning, NameResolutionError, NewConnectionError
from urllib3.util import parse_url

from goe_exporter.errors import UsageError
from goe_exporter.transport.answer import MAX_INTERIM_RESPONSES, MAX_RECEIVED_BYTES, too_large
from goe_exporter.transport.workers import Workers

HEAD_START_SECONDS = 0.25
"""Time that an address has alone before the next one is tried too."""


def pools() -> dict[str, type[HTTPConnectionPool]]:
    """Return urllib3 pools, by scheme, whose connections keep the deadline."""
    return {"http": _Pool, "https": _TlsPool}


def tls_context(verify: bool, ca_file: str | None) -> ssl.SSLContext:
    """Return a TLS context whose sockets keep the deadline; raises `UsageError`."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise UsageError(f"cannot use the certificates in {ca_file}: {error}") from error
    if not verify:
        urllib3.disable_warnings(InsecureRequestWarning)  # asked for by the configuration
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.sslsocket_class = _TlsSocket
    return context


class _Deadline(threading.local):
    """The deadline of this thread's request, on the monotonic clock."""

    at = 0.0
    keeps_address = False
    address: Any = None


DEADLINE = _Deadline()

MAX_LOOKUPS = 16
"""Lookups at a time; the system gives up each one after some seconds."""

_LOOKUPS = Workers("look-up", MAX_LOOKUPS)


class _EndsInTime:
    """Ends every read of a socket by the deadline, and limits the bytes received.

    `received` counts the bytes.
    """

    received = 0

    def recv_into(self, *args: Any) -> int:
        left = DEADLINE.at - time.monotonic()
        if left <= 0:
            raise TimeoutError("deadline passed")
        if self.received > MAX_RECEIVED_BYTES:
            raise too_large()
        self.settimeout(left)  # type: ignore[attr-defined]
        count: int = super().recv_into(*args)  # type: ignore[misc]
        self.received += count
        return count


class _Socket(_EndsInTime, socket.socket):
    pass


_PlainSocket = socket.SocketType
"""What `socket.socket` is based on, which takes half the time to open and to close."""

_NON_BLOCKING = getattr(socket, "SOCK_NONBLOCK", 0)


class _TlsSocket(_EndsInTime, ssl.SSLSocket):
    pass


Address = tuple[int, Any]
"""Family and address of a socket."""


def addresses(host: str, port: int, *, numeric: bool = False) -> list[Address]:
    """Return the addresses of a host; raises `socket.gaierror`.

    A name server is asked unless `numeric`, which accepts only addresses in numbers.
    """
    flags = socket.AI_NUMERICHOST if numeric else 0
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, flags)
    except (OSError, UnicodeError) as error:
        raise socket.gaierror(str(error)) from error
    return [(each[0], each[4]) for each in found]


class Race:
    """Attempts to connect to several addresses, the first to accept wins (RFC 8305 §5).

    Nothing here waits. The caller begins an attempt when one fails, and after `head_start` while
    they are silent, which stay in the race; and asks `accepted` when one becomes writable.
    `addresses` are those that were not tried yet, `attempts` the sockets in the race, and `failure`
    is why the last one left it.
    """

    __slots__ = ("_kind", "addresses", "attempts", "failure")

    def __init__(
        self, addresses: list[Address], kind: type[socket.SocketType] | None = None
    ) -> None:
        self.addresses = list(addresses)
        self._kind = kind or _PlainSocket
        self.attempts: list[socket.SocketType] = []
        self.failure: OSError = TimeoutError("deadline passed")

    def begin(self) -> socket.SocketType | None:
        """Begin to connect to the next address that is not unusable; None if there is none."""
        while self.addresses:
            family, address = self.addresses.pop(0)
            try:
                attempt = self._kind(family, socket.SOCK_STREAM | _NON_BLOCKING)
            except OSError as error:  # such as IPv6 that is disabled
                self.failure = error
                continue
            if not _NON_BLOCKING:
                attempt.setblocking(False)
            self.attempts.append(attempt)
            if (code := attempt.connect_ex(address)) in (0, errno.EINPROGRESS):
                return attempt
            self._leave(attempt, code)
        return None

    def head_start(self, left: float) -> float:
        """Return how long to wait before the next attempt, with `left` seconds for all."""
        more = len(self.addresses)
        return min(left / (more + 1), HEAD_START_SECONDS) if more else left

    def accepted(self, attempt: socket.SocketType) -> bool:
        """Return whether an attempt that became writable is connected, and leaves as the winner."""
        if code := attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._leave(attempt, code)
            return False
        self.attempts.remove(attempt)
        return True

    def close(self) -> None:
        """Close all attempts that are still in the race."""
        for attempt in self.attempts:
            attempt.close()
        self.attempts = []

    def _leave(self, attempt: socket.SocketType, code: int) -> None:
        self.failure = OSError(code, os.strerror(code))
        self.attempts.remove(attempt)
        attempt.close()


def lookup(host: str, port: int) -> list[Address] | socket.gaierror:
    """Return the addresses of a host, or the error."""
    try:
        return addresses(host, port)
    except socket.gaierror as error:
        return error


def _looked_up(host: str, port: int) -> list[Address]:
    """Return the addresses of a host within the deadline; raises `socket.gaierror`.

    A lookup cannot be interrupted, so it runs in another thread, and continues there after the
    deadline if no name server answers.
    """
    with contextlib.suppress(socket.gaierror):
        return addresses(host, port, numeric=True)
    answers: queue.SimpleQueue[list[Address] | socket.gaierror] = queue.SimpleQueue()
    _LOOKUPS.submit(lambda: answers.put(lookup(host, port)))
    try:
        found = answers.get(timeout=max(DEADLINE.at - time.monotonic(), 0))
    except queue.Empty:
        raise socket.gaierror("no answer of a name server") from None
    if isinstance(found, socket.gaierror):
        raise found
    return found


def _open(host: str, port: int, connection: HTTPConnection) -> socket.socket:
    """Connect to the first address of `host` that accepts, within the deadline."""
    try:
        found = _looked_up(host, port)
    except socket.gaierror as error:
        raise NameResolutionError(host, connection, error) from error
    race = Race([each for each in found if DEADLINE.address in (None, each[1])], _Socket)
    try:
        opened = _first_to_accept(race)
    except OSError as error:
        # urllib3 would take a reset here for one after sending, and wait for an answer.
        raise NewConnectionError(connection, str(error)) from error
    finally:
        race.close()
    if DEADLINE.keeps_address:
        DEADLINE.address = opened.getpeername()
    # The time left is for the TLS handshake, which has one timeout.
    opened.settimeout(max(DEADLINE.at - time.monotonic(), 0.001))
    return opened


def _first_to_accept(race: Race) -> socket.socket:
    """Wait for the winner of a race; raises `OSError`."""
    with selectors.DefaultSelector() as pending:
        while (left := DEADLINE.at - time.monotonic()) > 0:
            if attempt := race.begin():
                pending.register(attempt, selectors.EVENT_WRITE)
            elif not pending.get_map():
                break
            for ready, _events in pending.select(race.head_start(left)):
                done = cast("socket.socket", ready.fileobj)
                pending.unregister(done)
                if race.accepted(done):
                    return done
    raise race.failure


class _Response(http.client.HTTPResponse):
    """A response whose status is the final one.

    http.client skips "100 Continue" only, and returns any other interim response (RFC 9110 §15.2)
    as the answer. "101 Switching Protocols" is final here: no request asks for another protocol.
    """

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MAX_INTERIM_RESPONSES + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status >= 200 or status == http.client.SWITCHING_PROTOCOLS:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException("too many interim responses")

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:  # http.client would read to the end of the connection
            raise ValueError("a chunk of negative size")
        return size


class _Connection(HTTPConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        return _open(self._dns_host, self.port or 80, self)


class _TlsConnection(HTTPSConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        return _open(self._dns_host, self.port or 443, self)


class _KeepsNothing:
    """A pool that keeps no connection."""

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.close()
        super()._put_conn(None)  # type: ignore[misc]


class _Pool(_KeepsNothing, HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(_KeepsNothing, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def place_of(base: str) -> tuple[str, int]:
    """Return the host, without brackets, and the port of a URL."""
    url = parse_url(base)
    assert url.host is not None
    return url.host.strip("[]"), url.port or port_by_scheme[url.scheme or "http"]


def connection_to(place: tuple[str, int], context: ssl.SSLContext | None) -> HTTPConnection:
    """Return a connection, with TLS if there is a context for it, that is not opened yet."""
    host, port = place
    if context is None:
        return _Connection(host, port)
    return _TlsConnection(host, port, ssl_context=context)
