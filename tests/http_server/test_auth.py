"""Who is let in: what a password costs, whoever asks, and what guessing spoils for others."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable

import bcrypt
import pytest
from starlette.types import Message, Receive, Scope, Send

from goe_exporter.http_server import auth
from goe_exporter.http_server.auth import Guard
from goe_exporter.http_server.web_config import WebConfig

PASSWORD = "näher dran"


def hashed(password: str, rounds: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds)).decode()


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the hashes against which passwords are checked, as they come."""
    seen: list[bytes] = []
    real = bcrypt.checkpw

    def checkpw(password: bytes, against: bytes) -> bool:
        seen.append(against)
        return real(password, against)

    monkeypatch.setattr(auth.bcrypt, "checkpw", checkpw)
    return seen


class Door:
    """A guard with a clock that stands still, before an application that says 200."""

    def __init__(self, **users: str) -> None:
        config = WebConfig(basic_auth_users=users)
        self.now = 0.0
        self.paused = 0
        self._guard = Guard(_application, lambda: config, clock=lambda: self.now, pause=self._pause)

    async def _pause(self, _seconds: float) -> None:
        self.paused += 1

    async def ask(self, user: str, password: str, address: str = "192.0.2.1") -> int:
        """Ask for the metrics; return the status."""
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

        await self._guard(scope, _nothing, send)
        return statuses[0]


async def _application(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def at(act: Callable[[], Awaitable[None]]) -> None:
    """Run an act in a loop of its own."""

    async def run() -> None:
        await act()

    asyncio.run(run())


def test_a_burst_of_guesses_is_hashed_no_further_than_allowed(checked: list[bytes]) -> None:
    """Fifty wrong passwords at once from an address cost ten hashes, not fifty."""
    door = Door(alice=hashed(PASSWORD))

    async def act() -> None:
        statuses = await asyncio.gather(*(door.ask("alice", f"guess {n}") for n in range(50)))
        assert sorted(statuses) == [401] * 10 + [429] * 40

    at(act)
    assert len(checked) == 10


def test_guessing_may_go_on_slowly(checked: list[bytes]) -> None:
    """Every six seconds an address may guess once more."""
    door = Door(alice=hashed(PASSWORD))

    async def act() -> None:
        for guess in range(10):
            assert await door.ask("alice", f"guess {guess}") == 401
        assert await door.ask("alice", "guess 10") == 429
        door.now += 6.1
        assert await door.ask("alice", "guess 10") == 401
        assert await door.ask("alice", "guess 11") == 429

    at(act)
    assert len(checked) == 11


def test_guesses_do_not_displace_who_is_known(checked: list[bytes]) -> None:
    """However many wrong pairs are tried, from wherever, the right one is not hashed again."""
    door = Door(alice=hashed(PASSWORD))

    async def act() -> None:
        assert await door.ask("alice", PASSWORD) == 200
        for guess in range(auth.REMEMBERED + 10):
            assert await door.ask("alice", f"guess {guess}", f"10.0.0.{guess}") == 401
        before = len(checked)
        assert await door.ask("alice", PASSWORD) == 200
        assert len(checked) == before

    at(act)


def test_one_pair_at_once_is_hashed_once(checked: list[bytes]) -> None:
    """A client with many connections is no guesser, nor are its passwords hashed over and over."""
    door = Door(alice=hashed(PASSWORD))

    async def act() -> None:
        statuses = await asyncio.gather(*(door.ask("alice", PASSWORD) for _ in range(8)))
        assert statuses == [200] * 8
        for guess in range(10):
            assert await door.ask("alice", f"guess {guess}") == 401

    at(act)
    assert len(checked) == 11


def test_unknown_users_cost_what_known_ones_do(checked: list[bytes]) -> None:
    """An unknown user is tried against some user's hash, always the same for the same name."""
    users = {"alice": hashed("a", 4), "bob": hashed("b", 5)}
    door = Door(**users)

    async def act() -> None:
        for number in range(40):
            for guess in "xy":
                status = await door.ask(f"nobody {number}", guess, f"10.0.0.{number}")
                assert status == 401

    at(act)
    pairs = list(zip(checked[::2], checked[1::2], strict=True))
    assert all(first == second for first, second in pairs)
    assert {first.decode() for first, _second in pairs} == set(users.values())


@pytest.mark.parametrize(
    "password", ["a" * 72 + "b", "ä" * 500, "nul \0 inside", "\N{OGHAM SPACE MARK}"]
)
def test_odd_passwords_are_wrong_ones(password: str) -> None:
    """What bcrypt may stumble over is 401 like any other."""
    door = Door(alice=hashed(PASSWORD))

    async def act() -> None:
        assert await door.ask("alice", password) == 401

    at(act)


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"),
        ("fe80::1%eth0", "fe80::2%eth0", "fe81::1"),
    ],
)
def test_who_has_many_addresses_is_one(address: str, same: str, other: str) -> None:
    """A host has its pick of the addresses of an IPv6 network, so that counts as one."""
    door = Door(alice=hashed(PASSWORD))

    async def act() -> None:
        for guess in range(10):
            assert await door.ask("alice", f"guess {guess}", address) == 401
        assert await door.ask("alice", "guess 10", same) == 429
        assert await door.ask("alice", "guess 10", other) == 401

    at(act)
