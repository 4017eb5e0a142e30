"""HTTP requests to one host: the only module that sends them.

A charger closes the connection after every answer, often without saying so, and gives many wrong
answers (docs/protocol.md §1). So each request has a connection of its own, an absolute deadline
and a limit to the body; redirects are not followed, proxies are used only on request, and every
failure is a `TransportError` with a reason of a fixed set.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy
from urllib3.connection import HTTPConnection
from urllib3.exceptions import LocationParseError
from urllib3.util import SKIP_HEADER, parse_url

from goe_exporter.errors import UsageError
from goe_exporter.transport.answer import MAX_BODY_BYTES, HttpAnswer, content_length, too_large
from goe_exporter.transport.failures import FAILURES, translated
from goe_exporter.transport.sockets import (
    DEADLINE,
    Address,
    addresses,
    connection_to,
    place_of,
    pools,
    tls_context,
)

_MAX_PREPARED = 16
_OMITTED = {"User-Agent": SKIP_HEADER, "Accept-Encoding": SKIP_HEADER}


class Transport:
    """Requests to `host` ("192.168.1.36", "box.local:8080", "https://example.net").

    Each request carries `token` as a bearer token, or the user name and password of `login`.
    `deadline_seconds` limits a request up to the last byte of the body, except name resolution,
    which the system limits. With `environment_proxies` the proxy set in `HTTP_PROXY` and the like
    is used. `ca_file` holds the certificates to trust instead of the system's.
    """

    def __init__(
        self,
        host: str,
        *,
        token: str | None = None,
        login: tuple[str, str] | None = None,
        deadline_seconds: float,
        environment_proxies: bool = False,
        verify_tls: bool = True,
        ca_file: str | None = None,
    ) -> None:
        self.host = host
        self._base = host if "://" in host else f"http://{host}"
        self._deadline_seconds = deadline_seconds
        self._headers = {"Connection": "close", **_OMITTED}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        elif login is not None:
            self._headers["Authorization"] = f"Basic {credentials(*login)}"
        self.place = place_of(self._base)
        tls = parse_url(self._base).scheme == "https"
        self._context = tls_context(verify_tls, ca_file) if tls else None
        self._verify = (ca_file or True) if verify_tls else False
        proxies = get_environ_proxies(self._base) if environment_proxies else {}
        self._proxies = proxies if _usable(select_proxy(self._base, proxies)) else {}
        self._proxy = _ProxyAdapter() if self._proxies else None
        self._prepared: dict[str, requests.PreparedRequest] = {}
        self._last_post: tuple[object, requests.PreparedRequest] | None = None
        self._around_target: tuple[bytes, bytes] | None = None

    @property
    def direct(self) -> bool:
        """Whether requests go over plain HTTP to `place` (host, port), as a `Loop` sends them."""
        return self._context is None and self._proxy is None

    @cached_property
    def address(self) -> Address | None:
        """The address of a host in numbers, None for a name that must be looked up."""
        host, port = self.place
        if "%" in host:  # the number of the interface behind it may change
            return None
        try:
            return addresses(host, port, numeric=True)[0]
        except socket.gaierror:
            return None

    def request(self, target: str) -> bytes:
        """Return the bytes of the GET request that `get` sends; raises one of `FAILURES`."""
        if self._around_target is None:
            before, _target, after = self._written("/").partition(b"/ HTTP/1.1\r\n")
            self._around_target = before, b" HTTP/1.1\r\n" + after
        before, after = self._around_target
        return before + target.encode("ascii") + after

    def get(self, target: str, until: float | None = None) -> HttpAnswer:
        """Make one GET request within the deadline, or `until` a moment of the monotonic clock.

        Raises `TransportError`.
        """
        DEADLINE.at = time.monotonic() + self._deadline_seconds if until is None else until
        try:
            return self._send(self._prepare(target))
        except FAILURES as error:
            raise translated(error, self.host, DEADLINE.at) from error

    def post(self, target: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        """Make one POST request within the deadline; raises `TransportError`.

        Not for several threads: a request like the last one, except for its body, reuses it.
        """
        DEADLINE.at = time.monotonic() + self._deadline_seconds
        try:
            key = target, {**self._headers, **headers}
            if self._last_post is None or self._last_post[0] != key:
                request = requests.Request("POST", f"{self._base}{target}", key[1])
                self._last_post = key, request.prepare()
            prepared = self._last_post[1]
            prepared.body = body
            prepared.headers["Content-Length"] = str(len(body))
            return self._send(prepared)
        except FAILURES as error:
            raise translated(error, self.host, DEADLINE.at) from error

    @contextlib.contextmanager
    def one_address(self) -> Iterator[None]:
        """Connect to the same address of the host for all requests until the block ends."""
        DEADLINE.keeps_address = True
        try:
            yield
        finally:
            DEADLINE.keeps_address, DEADLINE.address = False, None

    def _send(self, prepared: requests.PreparedRequest) -> HttpAnswer:
        """Send over a connection of its own.

        Bypasses requests' Session (no cookies, redirects or retries are needed), which halves the
        cost; only a proxy goes through it.
        """
        if self._proxy is not None:
            return self._send_through(self._proxy, prepared)
        with contextlib.closing(connection_to(self.place, self._context)) as connection:
            _write(prepared, connection)
            with http.client.HTTPConnection.getresponse(connection) as raw:
                body = _read(raw)
            # Typed as a message, but a case-insensitive mapping.
            return HttpAnswer(raw.status, raw.headers, body)  # type: ignore[arg-type]

    def _written(self, target: str) -> bytes:
        """Return what a connection sends for a target."""
        ours, theirs = socket.socketpair()
        with theirs, contextlib.closing(connection_to(self.place, self._context)) as connection:
            connection.sock = ours
            _write(self._prepared_for(target), connection)
            ours.shutdown(socket.SHUT_WR)
            with theirs.makefile("rb") as sent:
                return sent.read()

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
            if len(self._prepared) >= _MAX_PREPARED:
                self._prepared.clear()
            prepared = self._prepared[target] = self._prepared_for(target)
        return prepared

    def _prepared_for(self, target: str) -> requests.PreparedRequest:
        return requests.Request("GET", f"{self._base}{target}", self._headers).prepare()


def _write(prepared: requests.PreparedRequest, connection: HTTPConnection) -> None:
    connection.request(prepared.method or "GET", prepared.path_url, prepared.body, prepared.headers)


def _usable(proxy: str | None) -> bool:
    """Return whether there is a proxy; raises `UsageError` for an unusable one."""
    if not proxy:
        return False
    try:
        url = parse_url(proxy if "://" in proxy else f"http://{proxy}")
    except LocationParseError:
        url = parse_url("")
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError("the proxy in the environment must be http://HOST:PORT or https://…")
    return True


def credentials(username: str, password: str) -> str:
    """Return the credentials of basic authentication, as a request carries them."""
    return base64.b64encode(f"{username}:{password}".encode()).decode()


class _ProxyAdapter(HTTPAdapter):
    """Requests' adapter for proxies, with connections that keep the deadline."""

    def build_response(self, req: Any, resp: Any) -> Any:  # noqa: ARG002
        """Return urllib3's own response."""
        return resp

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = pools()
        return manager


def _read(raw: http.client.HTTPResponse) -> bytes:
    """Read a body of at most `MAX_BODY_BYTES` bytes; a truncated one raises."""
    content_length(raw.headers.get_all("Content-Length", ()))
    body = raw.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise too_large()
    if raw.length:
        raise http.client.IncompleteRead(body, raw.length)
    return body


def _read_through_proxy(raw: urllib3.HTTPResponse) -> bytes:
    """Read a body of at most `MAX_BODY_BYTES` bytes; a truncated one raises."""
    body = b""
    while chunk := raw.read(MAX_BODY_BYTES + 1 - len(body), decode_content=False):
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raw.close()
            raise too_large()
        if raw.length_remaining == 0:
            break
    return body
