"""HTTP to one host: the only place with requests, timeouts and their error translation.

The charger closes the connection after every answer, often without saying so, and answers in
many wrong ways (PROTOCOL.md §1). So: a fresh connection for each request, an absolute deadline
over all of it, a limit to the body, no redirects, no proxies unless asked for, and every failure
a `ChargerError` with a reason out of a fixed set.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    HTTPError,
    InsecureRequestWarning,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util import SKIP_HEADER, parse_url

from goe_exporter.errors import ChargerError, UsageError

BODY_LIMIT = 1024 * 1024
RECEIVED_LIMIT = 2 * BODY_LIMIT
"""Bytes of a connection, whatever they are: a chunk of "-1" is read to the end by the library."""

MOST_INTERIM_RESPONSES = 10
"""Responses of status 1xx before the final one; more of them are a failure."""

_PREPARED_LIMIT = 16
_UNSAID = {"User-Agent": SKIP_HEADER, "Accept-Encoding": SKIP_HEADER}
_FAILURES = (
    requests.RequestException,
    HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)
_DISCONNECTED = (
    "Connection aborted",
    "Remote end closed",
    "Connection reset",
    "IncompleteRead",
    "Broken pipe",
)


class HttpAnswer(NamedTuple):
    """Status code, headers and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Requests to `host` ("192.168.1.36", "box.local:8080", "https://example.net").

    `headers` go with each request and `token` as a bearer token; `deadline_seconds` bounds a
    request to the body's last byte, but for the resolution of a name, which the system bounds;
    `environment_proxies` lets `HTTP_PROXY` and the like count; `ca_file` holds the certificates
    to trust instead of the system's.
    """

    def __init__(
        self,
        host: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        deadline_seconds: float,
        environment_proxies: bool = False,
        verify_tls: bool = True,
        ca_file: str | None = None,
    ) -> None:
        self.host = host
        self._base = host if "://" in host else f"http://{host}"
        self._deadline_seconds = deadline_seconds
        self._headers = {"Connection": "close", **_UNSAID, **(headers or {})}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._pool = _pool(self._base, verify_tls, ca_file)
        self._verify = (ca_file or True) if verify_tls else False
        proxies = get_environ_proxies(self._base) if environment_proxies else {}
        self._proxies = proxies if _usable(select_proxy(self._base, proxies)) else {}
        self._proxy = _ProxyAdapter() if self._proxies else None
        self._prepared: dict[str, requests.PreparedRequest] = {}

    def get(self, target: str, until: float | None = None) -> HttpAnswer:
        """Make one GET request within the deadline, or `until` a moment of the monotonic clock.

        Raises `ChargerError`.
        """
        _DEADLINE.at = time.monotonic() + self._deadline_seconds if until is None else until
        try:  # as `bounded`, which costs a hundredth of the request
            return self._send(self._prepare(target))
        except _FAILURES as error:
            raise _translate(error, self.host, _DEADLINE.at) from error

    def post(self, target: str, body: bytes) -> HttpAnswer:
        """Make one POST request within the deadline; raises `ChargerError`."""
        with bounded(self.host, self._deadline_seconds):
            request = requests.Request("POST", f"{self._base}{target}", self._headers, data=body)
            return self._send(request.prepare())

    def _send(self, prepared: requests.PreparedRequest) -> HttpAnswer:
        """Send over a connection of its own, without a session or a pool.

        Nobody needs their cookies, redirects and retries here, and they cost as much again as the
        request; only a proxy is left to them.
        """
        if self._proxy is not None:
            return self._send_through(self._proxy, prepared)
        kind: type[HTTPConnection] = self._pool.ConnectionCls  # type: ignore[assignment]
        opened = kind(self._pool.host, port=self._pool.port, **self._pool.conn_kw)
        with contextlib.closing(opened) as connection:
            connection.request(
                prepared.method or "GET", prepared.path_url, prepared.body, prepared.headers
            )
            with http.client.HTTPConnection.getresponse(connection) as raw:
                body = _read(raw)
            # A mapping in all but its type, and names are found in any case.
            return HttpAnswer(raw.status, raw.headers, body)  # type: ignore[arg-type]

    def _send_through(self, proxy: _ProxyAdapter, prepared: requests.PreparedRequest) -> HttpAnswer:
        raw: urllib3.HTTPResponse = proxy.send(  # type: ignore[assignment]
            prepared,
            stream=True,
            timeout=self._deadline_seconds,
            verify=self._verify,
            proxies=self._proxies,
        )
        body = _read_through_proxy(raw)
        raw.close()
        return HttpAnswer(raw.status, raw.headers, body)

    def _prepare(self, target: str) -> requests.PreparedRequest:
        prepared = self._prepared.get(target)
        if prepared is None:
            request = requests.Request("GET", f"{self._base}{target}", self._headers)
            if len(self._prepared) >= _PREPARED_LIMIT:
                self._prepared.clear()
            prepared = self._prepared[target] = request.prepare()
        return prepared


@contextlib.contextmanager
def bounded(host: str, seconds: float) -> Iterator[None]:
    """Bound the requests made inside, over `pools`, and raise their failures as `ChargerError`."""
    _DEADLINE.at = deadline = time.monotonic() + seconds
    try:
        yield
    except _FAILURES as error:
        raise _translate(error, host, deadline) from error


def pools() -> dict[str, type[HTTPConnectionPool]]:
    """Return urllib3 pools, by scheme, whose connections keep to the deadline of `bounded`."""
    return {"http": _Pool, "https": _TlsPool}


def tls_context(verify: bool, ca_file: str | None) -> ssl.SSLContext:
    """Return a TLS context whose sockets keep to the deadline; raises `UsageError`."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise UsageError(f"cannot use the certificates in {ca_file}: {error}") from error
    if not verify:
        urllib3.disable_warnings(InsecureRequestWarning)  # it is wanted, and said each time
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.sslsocket_class = _TlsSocket
    return context


class _Deadline(threading.local):
    """The deadline of this thread's request, on the monotonic clock."""

    at = 0.0


_DEADLINE = _Deadline()


class _EndsInTime:
    """Makes every read of a socket end by the deadline, so that no drip of bytes outlasts it.

    And no flood outgrows the memory: `received` counts the bytes.
    """

    received = 0

    def recv_into(self, *args: Any) -> int:
        left = _DEADLINE.at - time.monotonic()
        if left <= 0:
            raise TimeoutError("deadline passed")
        if self.received > RECEIVED_LIMIT:
            raise _too_large()
        self.settimeout(left)  # type: ignore[attr-defined]
        count: int = super().recv_into(*args)  # type: ignore[misc]
        self.received += count
        return count


class _Socket(_EndsInTime, socket.socket):
    pass


class _TlsSocket(_EndsInTime, ssl.SSLSocket):
    pass


def _open(host: str, port: int, connection: HTTPConnection) -> socket.socket:
    """Connect to the first address of `host` that takes us, within the deadline."""
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NameResolutionError(host, connection, socket.gaierror(str(error))) from error
    failure: OSError = TimeoutError("deadline passed")
    for family, _kind, _protocol, _name, address in found:
        left = _DEADLINE.at - time.monotonic()
        if left <= 0:
            break
        attempt = _Socket(family, socket.SOCK_STREAM)
        try:
            attempt.settimeout(left)
            attempt.connect(address)
        except OSError as error:
            failure = error
            attempt.close()
        else:
            # What is left is for the TLS handshake, which is bounded as a whole.
            attempt.settimeout(max(_DEADLINE.at - time.monotonic(), 0.001))
            return attempt
    # Not as it is: urllib3 takes a reset for one after sending, and looks for the answer.
    raise NewConnectionError(connection, str(failure)) from failure


class _Response(http.client.HTTPResponse):
    """A response whose status is the final one.

    The library skips "100 Continue" only, and takes any other interim response (RFC 9110 §15.2)
    for the answer. "101 Switching Protocols" is final: nobody here asks for another protocol.
    """

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MOST_INTERIM_RESPONSES + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status >= 200 or status == http.client.SWITCHING_PROTOCOLS:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException("too many interim responses")


class _Connection(HTTPConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        return _open(self._dns_host, self.port or 80, self)


class _TlsConnection(HTTPSConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        return _open(self._dns_host, self.port or 443, self)


class _KeepsNothing:
    """A pool without connections: the charger closes each one, often without saying so."""

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.close()
        super()._put_conn(None)  # type: ignore[misc]


class _Pool(_KeepsNothing, HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(_KeepsNothing, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def _pool(base: str, verify_tls: bool, ca_file: str | None) -> HTTPConnectionPool:
    """Return a pool for what stands at `base`: here only a maker of connections."""
    url = parse_url(base)
    assert url.host is not None
    if url.scheme == "https":
        context = tls_context(verify_tls, ca_file)
        return _TlsPool(url.host, url.port, ssl_context=context)
    return _Pool(url.host, url.port)


def _usable(proxy: str | None) -> bool:
    """Tell whether there is a proxy; raises `UsageError` for one of no use, which is not shown."""
    if not proxy:
        return False
    try:
        url = parse_url(proxy if "://" in proxy else f"http://{proxy}")
    except LocationParseError:
        url = parse_url("")
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError("the proxy in the environment must be http://HOST:PORT or https://…")
    return True


class _ProxyAdapter(HTTPAdapter):
    """Requests' way through a proxy, with connections that keep to the deadline."""

    def build_response(self, req: Any, resp: Any) -> Any:  # noqa: ARG002
        """Return urllib3's own response: nobody here asks for more."""
        return resp

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = pools()
        return manager


def _read(raw: http.client.HTTPResponse) -> bytes:
    """Read a body of at most `BODY_LIMIT` bytes; one that ends too soon raises."""
    if len(set(raw.headers.get_all("Content-Length", ()))) > 1:
        raise http.client.HTTPException("contradictory lengths")
    body = raw.read(BODY_LIMIT + 1)
    if len(body) > BODY_LIMIT:
        raise _too_large()
    if raw.length:
        raise http.client.IncompleteRead(body, raw.length)
    return body


def _read_through_proxy(raw: urllib3.HTTPResponse) -> bytes:
    """Read a body of at most `BODY_LIMIT` bytes; one that ends too soon raises."""
    body = b""
    while chunk := raw.read(BODY_LIMIT + 1 - len(body), decode_content=False):
        body += chunk
        if len(body) > BODY_LIMIT:
            raw.close()
            raise _too_large()
        if raw.length_remaining == 0:
            break
    return body


def _too_large() -> ChargerError:
    return ChargerError("too_large", f"an answer of more than {BODY_LIMIT} bytes")


def _translate(error: Exception, host: str, deadline: float) -> ChargerError:
    """Return the `ChargerError` for whatever requests, urllib3 or the socket raised."""
    causes = list(_causes(error))
    for cause in causes:
        for kind, reason in _BY_KIND:
            if isinstance(cause, kind):
                return ChargerError(reason, _sentence(reason, host))
    text = " ".join(map(str, causes))
    if time.monotonic() >= deadline or "timed out" in text:
        return ChargerError("timeout", _sentence("timeout", host))
    if any(word in text for word in _DISCONNECTED):
        return ChargerError("truncated", _sentence("truncated", host))
    return ChargerError("unreachable", f"{host}: {type(causes[-1]).__name__}: {causes[-1]}")


def _causes(error: BaseException) -> Iterable[BaseException]:
    """Yield an exception and what lies behind it, however it was wrapped."""
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
        "dns": f"{host}: the name cannot be resolved",
        "refused": f"{host} refuses the connection",
        "timeout": f"{host} did not answer in time",
        "truncated": f"{host} broke off its answer",
        "tls": f"{host}: TLS failed",
    }[reason]
