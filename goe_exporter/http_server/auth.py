"""Access to the web server: basic authentication, a rate limit, and configured headers.

Passwords are checked against bcrypt hashes in a separate thread, so that hashing delays no other
request. The result for each user and password is cached; wrong passwords never displace right
ones. An unknown user costs the same hash as a known one. Failed attempts are counted per peer
address; no request header identifies a client.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

import bcrypt
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from goe_exporter.http_server.web_config import WebConfig

_REJECTION_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
_CHALLENGE = 'Basic realm="goe-exporter", charset="UTF-8"'

MAX_CACHED_RESULTS = 128
MAX_TRACKED_ADDRESSES = 1024
MAX_FAILED_ATTEMPTS = 10
SECONDS_PER_ATTEMPT = 6.0
"""An address may fail `MAX_FAILED_ATTEMPTS` times at once, then once in this time."""

REJECTION_SECONDS = 0.5
"""Delay before a repeated wrong password is rejected, so that retries use little CPU."""

MAX_PENDING_HASHES = 32
MAX_PASSWORD_BYTES = 72
"""bcrypt ignores the rest of a password."""


class Authentication:
    """An ASGI application that passes on the requests that the configuration allows.

    `config` is called for each request. `open_paths` need no password. `clock` is monotonic;
    `pause` waits for a number of seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: Callable[[], WebConfig],
        *,
        open_paths: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._app = app
        self._config = config
        self._open_paths = open_paths
        self._passwords = _Passwords()
        self._failures = _Buckets(MAX_TRACKED_ADDRESSES)
        self._requests = _Buckets(1)
        self._clock = clock
        self._pause = pause

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on to the application."""
        config = self._config()
        extra = config.http_server_config.headers.by_name()
        if extra:
            send = _with_headers(send, extra)
        app = await self._rejection(scope, config) or self._app
        await app(scope, receive, send)

    async def _rejection(self, scope: Scope, config: WebConfig) -> PlainTextResponse | None:
        """Return the response to a request that is not allowed, None for an allowed one."""
        now, rate = self._clock(), config.rate_limit
        if rate.interval and not self._requests.take("", rate.burst, rate.interval, now):
            return rejected(429, "too many requests", "Retry-After", "1")
        users = config.basic_auth_users
        if not users or scope["path"] in self._open_paths:
            return None
        login = _login(scope)
        allowed = login is not None and self._passwords.cached(login, users)
        if login is not None and allowed is None:
            address = _network((scope.get("client") or ("",))[0])
            overloaded = len(self._passwords.pending) >= MAX_PENDING_HASHES
            # Taken before the check, or parallel attempts would all pass before the first fails.
            if overloaded or not self._failures.take(
                address, MAX_FAILED_ATTEMPTS, SECONDS_PER_ATTEMPT, now
            ):
                await self._pause(REJECTION_SECONDS)
                return rejected(429, "too many failed logins", "Retry-After", "10")
            allowed = await self._passwords.check(login, users)
            if allowed:
                self._failures.give_back(address)
        elif login is not None and not allowed:
            await self._pause(REJECTION_SECONDS)
        if allowed:
            return None
        return rejected(401, "unauthorized", "WWW-Authenticate", _CHALLENGE)


class _Passwords:
    """Checks logins (user and password) and caches the results; `pending` are being hashed."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._results = {right: OrderedDict[bytes, None]() for right in (True, False)}
        self.pending: dict[bytes, asyncio.Future[bool]] = {}
        self._worker = ThreadPoolExecutor(1, "password")

    def cached(self, login: tuple[str, str], users: Mapping[str, str]) -> bool | None:
        """Return the result of an earlier check, None if there is none."""
        digest = self._digest(login, users)
        for right, digests in self._results.items():
            if digest in digests:
                digests.move_to_end(digest)
                return right
        return None

    async def check(self, login: tuple[str, str], users: Mapping[str, str]) -> bool:
        """Return whether the password is right; parallel checks of a login share one hash."""
        digest = self._digest(login, users)
        if digest not in self.pending:
            self.pending[digest] = asyncio.ensure_future(self._hash(login, users, digest))
            self.pending[digest].add_done_callback(lambda _done: self.pending.pop(digest))
        return await asyncio.shield(self.pending[digest])

    async def _hash(self, login: tuple[str, str], users: Mapping[str, str], digest: bytes) -> bool:
        user, password = login
        hashed = users.get(user) or self._substitute(user, users)
        secret = password.encode()[:MAX_PASSWORD_BYTES]
        loop = asyncio.get_running_loop()
        matches = await loop.run_in_executor(self._worker, bcrypt.checkpw, secret, hashed.encode())
        right = matches and user in users
        digests = self._results[right]
        digests[digest] = None
        while len(digests) > MAX_CACHED_RESULTS:
            digests.popitem(last=False)
        return right

    def _substitute(self, user: str, users: Mapping[str, str]) -> str:
        """Return a hash to check for an unknown user, always the same, as costs may differ."""
        hashes = sorted(users.values())
        digest = hmac.digest(self._key, user.encode(), hashlib.sha256)
        return hashes[int.from_bytes(digest, "big") % len(hashes)]

    def _digest(self, login: tuple[str, str], users: Mapping[str, str]) -> bytes:
        """Return a digest of a login and the user's current hash, which hides the password."""
        user, password = login
        parts = (user.encode(), users.get(user, "").encode(), password.encode())
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._key, text, hashlib.sha256)


class _Buckets:
    """Token buckets by address; beyond `limit` the least recently used one is deleted."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str, burst: int, seconds_per_token: float, now: float) -> bool:
        """Take a token and return whether there was one."""
        taken, since = self._taken.get(address, (0.0, now))
        taken = max(taken - (now - since) / seconds_per_token, 0.0) + 1
        if taken > max(burst, 1):
            return False
        self._taken[address] = (taken, now)
        self._taken.move_to_end(address)
        while len(self._taken) > self._limit:
            self._taken.popitem(last=False)
        return True

    def give_back(self, address: str) -> None:
        """Put a token back."""
        if address in self._taken:
            taken, since = self._taken[address]
            self._taken[address] = (max(taken - 1, 0.0), since)


def _network(address: str) -> str:
    """Return the key under which an address is counted: for IPv6 its /64 network.

    A host can pick any address of its IPv6 network.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return address


def _login(scope: Scope) -> tuple[str, str] | None:
    """Return user and password of a request, None if there are none or they are malformed."""
    scheme, _space, coded = Headers(scope=scope).get("authorization", "").partition(" ")
    try:
        text = base64.b64decode(coded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon and scheme.lower() == "basic" else None


def _with_headers(send: Send, extra: Mapping[str, str]) -> Send:
    """Return a `send` that adds headers, except those that the response already has."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, text in extra.items():
                headers.setdefault(name, text)
        await send(message)

    return sending


def rejected(status: int, text: str, header: str, value: str) -> PlainTextResponse:
    """Return the response to a request that does not reach the application."""
    return PlainTextResponse(f"{text}\n", status, _REJECTION_HEADERS | {header: value})
