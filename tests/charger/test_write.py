"""Sending a write and confirming it by read-back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
from clocks import Clock

from goe_exporter.channels.table import CHANNELS
from goe_exporter.channels.writable import find, parse
from goe_exporter.charger.write import Written, write
from goe_exporter.errors import ChargerError, RefusedError, UsageError


class Scripted:
    """A client that answers by a script and records the calls."""

    def __init__(self, status: Callable[[Sequence[str]], dict[str, object]], api: int = 2) -> None:
        self._status = status
        self._api = api
        self.calls: list[object] = []

    def status(self, keys: Sequence[str]) -> SimpleNamespace:
        self.calls.append(tuple(keys))
        return SimpleNamespace(api=self._api, status=self._status(keys))

    def write(self, api: int, key: str, value: object) -> None:
        self.calls.append((api, key, value))


def written(client: Scripted, name: str, text: str, clock: Clock) -> Written:
    change = parse(find(CHANNELS, name), text)
    return write(client, change, clock=clock, sleep=clock.sleep)


def test_a_write_is_confirmed_by_the_read_back() -> None:
    """First the charger's own limit is read, then written, then read back until it matches."""
    clock = Clock(100.0)
    client = Scripted(lambda _keys: {"ama": 16, "amp": 10 if clock.now >= 101 else 16})
    done = written(client, "max-current", "10", clock)
    assert (done.api, done.write.value, done.seconds) == (2, 10, 1.0)
    assert client.calls == [("ama",), (2, "amp", 10), ("amp",), ("amp",), ("amp",)]


def test_a_write_without_effect() -> None:
    """After ten seconds without the value the write has failed; the error has the old value."""
    clock = Clock(100.0)
    client = Scripted(lambda _keys: {"ama": 16, "amp": 16})
    with pytest.raises(RefusedError) as refused:
        written(client, "max-current", "10", clock)
    message = "max-current did not change: the charger accepted the request but still reports 16 A"
    assert str(refused.value) == message
    assert 110 <= clock.now <= 111


def test_a_charger_that_fails_during_the_read_back() -> None:
    """A failed read-back is retried; a later one confirms the write."""
    clock = Clock(100.0)

    def status(_keys: Sequence[str]) -> dict[str, object]:
        if 100 < clock.now < 103:
            raise ChargerError("busy", "couldn't take api lock")
        return {"ama": 16, "amp": 10 if clock.now >= 103 else 16}

    assert written(Scripted(status), "max-current", "10", clock).seconds == 3.0


def test_a_charger_that_goes_offline_during_the_read_back() -> None:
    """If it does not answer within ten seconds, its last failure is the error."""
    clock = Clock(100.0)

    def status(_keys: Sequence[str]) -> dict[str, object]:
        if clock.now > 100:
            raise ChargerError("refused", "box refuses the connection")
        return {"ama": 16, "amp": 16}

    with pytest.raises(ChargerError, match=r"^box refuses the connection$"):
        written(Scripted(status), "max-current", "10", clock)
    assert 110 <= clock.now <= 111


@pytest.mark.parametrize("text", ["NaN", "33", "", "10 bananas"])
def test_no_request_for_a_text_that_no_charger_accepts(text: str) -> None:
    """A text that no API accepts is refused without a request."""
    client = Scripted(lambda _keys: {})
    with pytest.raises(UsageError):
        written(client, "max-current", text, Clock())
    assert client.calls == []


@pytest.mark.parametrize(
    ("ama", "accepted"),
    [(16, False), (32, True), (None, True), ("x", True), (True, True), (0, True), (-1, True)],
)
def test_the_chargers_own_limit(ama: object, accepted: bool) -> None:
    """`ama` lowers the upper bound; an implausible one is ignored."""
    client = Scripted(lambda _keys: {"ama": ama, "amp": 20})
    with contextlib.nullcontext() if accepted else pytest.raises(UsageError):
        written(client, "max-current", "20", Clock())
    assert ((2, "amp", 20) in client.calls) == accepted
