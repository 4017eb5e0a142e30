"""Basic authentication: the cost of passwords, and limits on failed attempts."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable

import bcrypt
import pytest
from starlette.types import Message, Receive, Scope, Send

from goe_exporter.http_server import auth
from goe_exporter.http_server.auth import Authentication
from goe_exporter.http_server.web_config import WebConfig

PASSWORD = "näher dran"


def hashed(password: str, rounds: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds)).decode()


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the hashes against which passwords are checked, in order."""
    seen: list[bytes] = []
    real = bcrypt.checkpw

    def checkpw(password: bytes, against: bytes) -> bool:
        seen.append(against)
        return real(password, against)

    monkeypatch.setattr(auth.bcrypt, "checkpw", checkpw)
    return seen


class Site:
    """An application that answers 200 behind authentication, with a manual clock."""

    def __init__(self, **users: str) -> None:
        config = WebConfig(basic_auth_users=users)
        self.now = 0.0
        self.paused = 0
        self._authentication = Authentication(
            _application, lambda: config, clock=lambda: self.now, pause=self._pause
        )

    async def _pause(self, _seconds: float) -> None:
        self.paused += 1

    async def ask(self, user: str, password: str, address: str = "192.0.2.1") -> int:
        """Request the metrics; return the status."""
        coded = base64.b64encode(f"{user}:{password}".encode())
        scope = {
            "type": "http",
            "path": "/metrics",
            "client": (address, 1),
            "headers": [(b"authorization", b"Basic " + coded)],
        }
        statuses: list[int] = []

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await self._authentication(scope, _nothing, send)
        return statuses[0]


async def _application(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def run(act: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine function in a new event loop."""

    async def started() -> None:
        await act()

    asyncio.run(started())


def test_a_burst_of_guesses_is_limited(checked: list[bytes]) -> None:
    """Fifty parallel wrong passwords from one address cost ten hashes, not fifty."""
    site = Site(alice=hashed(PASSWORD))

    async def act() -> None:
        statuses = await asyncio.gather(*(site.ask("alice", f"guess {n}") for n in range(50)))
        assert sorted(statuses) == [401] * 10 + [429] * 40

    run(act)
    assert len(checked) == 10


def test_guesses_are_limited_per_time(checked: list[bytes]) -> None:
    """After the burst an address may fail once every six seconds."""
    site = Site(alice=hashed(PASSWORD))

    async def act() -> None:
        for guess in range(10):
            assert await site.ask("alice", f"guess {guess}") == 401
        assert await site.ask("alice", "guess 10") == 429
        site.now += 6.1
        assert await site.ask("alice", "guess 10") == 401
        assert await site.ask("alice", "guess 11") == 429

    run(act)
    assert len(checked) == 11


def test_guesses_do_not_displace_right_passwords(checked: list[bytes]) -> None:
    """Wrong logins from any number of addresses do not evict a right one from the cache."""
    site = Site(alice=hashed(PASSWORD))

    async def act() -> None:
        assert await site.ask("alice", PASSWORD) == 200
        for guess in range(auth.MAX_CACHED_RESULTS + 10):
            assert await site.ask("alice", f"guess {guess}", f"10.0.0.{guess}") == 401
        before = len(checked)
        assert await site.ask("alice", PASSWORD) == 200
        assert len(checked) == before

    run(act)


def test_parallel_checks_share_one_hash(checked: list[bytes]) -> None:
    """A client with many connections costs one hash and no failed attempt."""
    site = Site(alice=hashed(PASSWORD))

    async def act() -> None:
        statuses = await asyncio.gather(*(site.ask("alice", PASSWORD) for _ in range(8)))
        assert statuses == [200] * 8
        for guess in range(10):
            assert await site.ask("alice", f"guess {guess}") == 401

    run(act)
    assert len(checked) == 11


def test_unknown_users_cost_what_known_ones_do(checked: list[bytes]) -> None:
    """An unknown user is checked against a known user's hash, always the same per name."""
    users = {"alice": hashed("a", 4), "bob": hashed("b", 5)}
    site = Site(**users)

    async def act() -> None:
        for number in range(40):
            for guess in "xy":
                status = await site.ask(f"nobody {number}", guess, f"10.0.0.{number}")
                assert status == 401

    run(act)
    pairs = list(zip(checked[::2], checked[1::2], strict=True))
    assert all(first == second for first, second in pairs)
    assert {first.decode() for first, _second in pairs} == set(users.values())


@pytest.mark.parametrize(
    "password", ["a" * 72 + "b", "ä" * 500, "nul \0 inside", "\N{OGHAM SPACE MARK}"]
)
def test_odd_passwords_are_wrong(password: str) -> None:
    """Passwords that bcrypt handles specially are 401 like any other wrong one."""
    site = Site(alice=hashed(PASSWORD))

    async def act() -> None:
        assert await site.ask("alice", password) == 401

    run(act)


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"),
        ("fe80::1%eth0", "fe80::2%eth0", "fe81::1"),
    ],
)
def test_an_ipv6_network_is_one_client(address: str, same: str, other: str) -> None:
    """All addresses of an IPv6 /64 network count together, as one host can use them all."""
    site = Site(alice=hashed(PASSWORD))

    async def act() -> None:
        for guess in range(10):
            assert await site.ask("alice", f"guess {guess}", address) == 401
        assert await site.ask("alice", "guess 10", same) == 429
        assert await site.ask("alice", "guess 10", other) == 401

    run(act)
