"""Who may ask the web server: basic authentication, a rate, and headers for every answer.

Passwords are checked against bcrypt hashes in a thread of their own, so that hashing holds up
nobody, and each pair of user and password once: the outcome is remembered, for a wrong one too,
which never displaces a right one. An unknown user costs the same hash as a known one. Who guesses
is told by the address of the connection; no header of a request says who somebody is.
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
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import bcrypt
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from goe_exporter.http_server.web_config import WebConfig

_BARE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
"""What a refusal carries, which the application has no hand in."""

HEALTH = ("/-/healthy", "/-/ready")
REMEMBERED = 128
ADDRESSES = 1024
WRONG_AT_ONCE = 10
SECONDS_A_WRONG = 6.0
REFUSAL_SECONDS = 0.5
"""How long who insists on a wrong password waits for the answer, so as not to keep us busy."""

WAITING_LIMIT = 32
LONGEST_PASSWORD_BYTES = 72
"""bcrypt sees no more of a password."""


class Guard:
    """An application that lets only those through whom `config` allows, asked for each request.

    With `open_health` the health endpoints need no password. `clock` is monotonic; `pause` waits
    for seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: Callable[[], WebConfig],
        *,
        open_health: bool = False,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._app = app
        self._config = config
        self._open = HEALTH if open_health else ()
        self._passwords = _Passwords()
        self._wrong = _Buckets(ADDRESSES)
        self._all = _Buckets(1)
        self._clock = clock
        self._pause = pause

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        config = self._config()
        extra = config.http_server_config.headers.by_name()
        if extra:
            send = _with_headers(send, extra)
        refusal = await self._refusal(scope, config)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refusal(scope, receive, send)

    async def _refusal(self, scope: Scope, config: WebConfig) -> PlainTextResponse | None:
        """Return what is said instead of an answer; None where there is nothing against one."""
        now, rate = self._clock(), config.rate_limit
        if rate.interval and not self._all.take("", rate.burst, rate.interval, now):
            return _refused(429, "too many requests", "Retry-After", "1")
        if not config.basic_auth_users or scope["path"] in self._open:
            return None
        given = _credentials(scope)
        known = self._passwords.remembered(given, config.basic_auth_users)
        if given is not None and known is False:
            await self._pause(REFUSAL_SECONDS)
        if known is None:
            address = _network((scope.get("client") or ("",))[0])
            waits = self._passwords.waiting >= WAITING_LIMIT
            # Taken beforehand, so that many at once are not all let in before one is found wrong.
            if waits or not self._wrong.take(address, WRONG_AT_ONCE, SECONDS_A_WRONG, now):
                await self._pause(REFUSAL_SECONDS)
                return _refused(429, "too many wrong passwords", "Retry-After", "10")
            known = await self._passwords.check(given, config.basic_auth_users)
            if known:
                self._wrong.give_back(address)
        realm = 'Basic realm="goe-exporter", charset="UTF-8"'
        return None if known else _refused(401, "unauthorized", "WWW-Authenticate", realm)


class _Passwords:
    """Checks user and password; `waiting` counts the hashes that are due."""

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(32)
        self._outcomes = {right: OrderedDict[bytes, None]() for right in (True, False)}
        self._due: dict[bytes, asyncio.Future[bool]] = {}
        self._worker = ThreadPoolExecutor(1, "password")

    @property
    def waiting(self) -> int:
        """How many hashes are being computed or wait for it."""
        return len(self._due)

    def remembered(self, given: tuple[str, str] | None, users: Mapping[str, str]) -> bool | None:
        """Return what is known of them without hashing; None if that takes a check."""
        if given is None:
            return False
        key = self._key(given, users)
        for right, keys in self._outcomes.items():
            if key in keys:
                keys.move_to_end(key)
                return right
        return None

    async def check(self, given: tuple[str, str] | None, users: Mapping[str, str]) -> bool:
        """Hash the password, once however many ask, and remember what came of it."""
        assert given is not None
        key = self._key(given, users)
        if key not in self._due:
            self._due[key] = asyncio.ensure_future(self._hash(given, users, key))
            self._due[key].add_done_callback(lambda _done: self._due.pop(key))
        return await asyncio.shield(self._due[key])

    async def _hash(self, given: tuple[str, str], users: Mapping[str, str], key: bytes) -> bool:
        user, password = given
        hashed = users.get(user) or self._stand_in(user, users)
        secret = password.encode()[:LONGEST_PASSWORD_BYTES]
        loop = asyncio.get_running_loop()
        fits = await loop.run_in_executor(self._worker, bcrypt.checkpw, secret, hashed.encode())
        right = fits and user in users
        keys = self._outcomes[right]
        keys[key] = None
        while len(keys) > REMEMBERED:
            keys.popitem(last=False)
        return right

    def _stand_in(self, user: str, users: Mapping[str, str]) -> str:
        """Return a hash to try for an unknown user, always the same: costs may differ by user."""
        hashes = sorted(users.values())
        digest = hmac.digest(self._salt, user.encode(), hashlib.sha256)
        return hashes[int.from_bytes(digest, "big") % len(hashes)]

    def _key(self, given: tuple[str, str], users: Mapping[str, str]) -> bytes:
        """Return what stands for a pair and the present hash, and tells nobody the password."""
        user, password = given
        parts = (user.encode(), users.get(user, "").encode(), password.encode())
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._salt, text, hashlib.sha256)


class _Buckets:
    """Token buckets by address, the longest untouched forgotten first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str, burst: int, seconds_each: float, now: float) -> bool:
        """Take a token if one is left."""
        taken, since = self._taken.get(address, (0.0, now))
        taken = max(taken - (now - since) / seconds_each, 0.0) + 1
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
    """Return what stands for an address: of IPv6 the network, in which a host has its pick."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return address


def _credentials(scope: Scope) -> tuple[str, str] | None:
    """Return user and password of a request, None if it has none that can be read."""
    scheme, _space, coded = Headers(scope=scope).get("authorization", "").partition(" ")
    try:
        text = base64.b64decode(coded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon and scheme.lower() == "basic" else None


def _with_headers(send: Send, extra: Mapping[str, str]) -> Send:
    """Return a `send` that adds headers where the answer has none of that name."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, text in extra.items():
                headers.setdefault(name, text)
        await send(message)

    return sending


def _refused(status: int, text: str, header: str, value: str) -> PlainTextResponse:
    return PlainTextResponse(f"{text}\n", status, _BARE | {header: value})
