"""Sending a write and confirming it by read-back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from clocks import Clock
from paths import FIXTURES

from goe_exporter.channels.table import CHANNELS
from goe_exporter.channels.writable import find, parse
from goe_exporter.charger import api_v1
from goe_exporter.charger.write import Written, write
from goe_exporter.errors import ChargerError, RefusedError, UsageError


class Scripted:
    """A client that answers by a script and records the calls."""

    cloud = False
    age = 0.0

    def __init__(
        self, status: Callable[[Sequence[str]], Mapping[str, object]], api: int = 2
    ) -> None:
        self._status = status
        self._api = api
        self.calls: list[object] = []

    def status(self, keys: Sequence[str], **_options: int) -> SimpleNamespace:
        self.calls.append(tuple(keys))
        return SimpleNamespace(api=self._api, status=self._status(keys), age_seconds=self.age)

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
    before, after = ("car", "typ", "amp", "ama"), ("car", "amp")
    assert client.calls == [before, (2, "amp", 10), after, after, after]


def test_a_write_without_effect() -> None:
    """After ten seconds without the value the write has failed; the error has the old value."""
    clock = Clock(100.0)
    client = Scripted(lambda _keys: {"ama": 16, "amp": 16})
    with pytest.raises(RefusedError) as refused:
        written(client, "max-current", "10", clock)
    message = "max-current did not change: the charger accepted the request but still reports 16 A"
    assert str(refused.value) == message
    assert 110 <= clock.now <= 111


@pytest.mark.parametrize(("delay", "confirmed"), [(14, True), (16, False)])
def test_the_cloud_takes_longer(delay: float, confirmed: bool) -> None:
    """Over the vendor's cloud the value has fifteen seconds to appear."""
    clock = Clock(100.0)
    client = Scripted(lambda _keys: {"ama": 16, "amp": 10 if clock.now >= 100 + delay else 16})
    client.cloud = True
    if confirmed:
        assert written(client, "max-current", "10", clock).seconds == delay
    else:
        with pytest.raises(RefusedError, match="still reports 16 A"):
            written(client, "max-current", "10", clock)
        assert 115 <= clock.now <= 116


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


def field(name: str) -> dict[str, Any]:
    """Return a status from the field."""
    report: dict[str, Any] = json.loads((FIXTURES / "field" / f"{name}.json").read_bytes())
    status: dict[str, Any] = report["status"]
    return status


class V1Hardware(Scripted):
    """V1 or V2 hardware that answers with a status from the field, and `after` a write with more.

    The change shows a second after the write.
    """

    def __init__(self, name: str, clock: Clock, after: Mapping[str, object]) -> None:
        start = clock.now

        def status(_keys: Sequence[str]) -> dict[str, object]:
            shown = after if clock.now >= start + 1 else {}
            return api_v1.status(field(name) | shown)

        super().__init__(status, api=1)


def test_a_temporary_current_that_shows_as_the_current() -> None:
    """No status of V1/V2 hardware has `amx`; there `amp` shows it (docs/protocol.md §5.1)."""
    clock = Clock(100.0)
    client = V1Hardware("write-v1-amx-write-only-V2", clock, {"amp": "10"})
    done = written(client, "max-current-temporary", "10A", clock)
    assert (done.write.key, done.write.value, done.seconds) == ("tcl", 10, 1.0)
    assert (done.shown_as, done.notes) == ("max-current", ())


def test_a_temporary_current_above_the_current() -> None:
    """Since 042 `amp` bounds `amx`: where only `amp` shows, the write had no effect."""
    clock = Clock(100.0)
    client = V1Hardware("write-v1-amx-above-amp-042", clock, {})
    with pytest.raises(RefusedError) as refused:
        written(client, "max-current-temporary", "10A", clock)
    words = "max-current-temporary had no effect: max-current still limits the current to 6 A"
    assert str(refused.value) == words


def test_a_temporary_current_above_the_current_that_shows() -> None:
    """If 042 shows `amx`, the write is confirmed, with the note that `amp` bounds it."""
    clock = Clock(100.0)
    client = V1Hardware("write-v1-amx-above-amp-042", clock, {"amx": "10"})
    done = written(client, "max-current-temporary", "10A", clock)
    assert (done.seconds, done.shown_as) == (1.0, "")
    assert done.notes == ("max-current still limits the current to 6 A",)


def test_a_temporary_current_that_is_ignored() -> None:
    """Where `amp` shows the current and stays above, nothing happened."""
    clock = Clock(100.0)
    client = V1Hardware("write-v1-amx-write-only-V2", clock, {})
    with pytest.raises(RefusedError) as refused:
        written(client, "max-current-temporary", "10A", clock)
    assert str(refused.value) == (
        "max-current-temporary did not change: the charger accepted the request but still"
        " reports max-current 16 A"
    )


EXPIRES = "it expires after 10 minutes unless it is set again, then max-current applies"


@pytest.mark.parametrize(
    ("text", "amp", "value", "notes"),
    [
        ("8", 16, 8, (EXPIRES,)),
        ("16", 16, 16, (EXPIRES,)),
        ("16", 10, 16, ("max-current still limits the current to 10 A", EXPIRES)),
        ("16", None, 16, (EXPIRES,)),
        ("off", 16, None, ()),
    ],
)
def test_the_temporary_current_of_api_v2(
    text: str, amp: object, value: object, notes: tuple[str, ...]
) -> None:
    """`tcl` is confirmed by itself; it expires, and `amp` bounds it (docs/protocol.md §5.1)."""
    clock = Clock(100.0)

    def status(_keys: Sequence[str]) -> dict[str, object]:
        return field("v2-tcl") | {"ama": 32, "amp": amp, "tcl": value if clock.now > 100 else 9}

    done = written(Scripted(status), "max-current-temporary", text, clock)
    assert (done.write.key, done.write.value, done.shown_as) == ("tcl", value, "")
    assert done.notes == notes


@pytest.mark.parametrize(
    ("name", "text"),
    [("max-current-temporary", "8"), ("max-current-temporary", "off"), ("phases", "1")],
)
def test_a_setting_that_the_charger_does_not_have(name: str, text: str) -> None:
    """A v2 status without the key means a charger without the setting; nothing is written."""
    client = Scripted(lambda _keys: {"car": 1, "amp": 16, "ama": 16})
    with pytest.raises(UsageError, match=rf"^this charger has no {name} ") as refused:
        written(client, name, text, Clock())
    assert len(client.calls) == 1
    hint = "; use max-current (6 to 16 A in whole amperes) instead"
    assert str(refused.value).endswith(hint) == (name == "max-current-temporary")


def test_a_key_that_is_missing_from_the_read_back() -> None:
    """On API v2 a missing key does not confirm that a setting is off."""

    def status(_keys: Sequence[str]) -> dict[str, object]:
        return {"car": 1} | ({"dwo": 5000} if len(client.calls) == 1 else {})

    client = Scripted(status)
    with pytest.raises(RefusedError, match=r"still reports no value$"):
        written(client, "session-energy-limit", "off", Clock(100.0))


@pytest.mark.parametrize("text", ["NaN", "33", "", "10 bananas"])
def test_a_text_that_no_charger_accepts(text: str) -> None:
    """A text that no API accepts is refused with what this charger accepts; nothing is written."""
    client = Scripted(lambda _keys: {"car": 1, "amp": 10, "ama": 16})
    with pytest.raises(UsageError) as refused:
        written(client, "max-current", text, Clock())
    words = f"max-current: this charger accepts 6 to 16 A in whole amperes, not {text!r}"
    assert str(refused.value) == words
    assert client.calls == [("car", "typ", "amp", "ama")]


@pytest.mark.parametrize("text", ["33", "10"])
def test_a_charger_that_does_not_answer(text: str) -> None:
    """A text that no API accepts is refused even if the charger does not answer."""

    def status(_keys: Sequence[str]) -> dict[str, object]:
        raise ChargerError("refused", "box refuses the connection")

    expected = UsageError if text == "33" else ChargerError
    with pytest.raises(expected):
        written(Scripted(status), "max-current", text, Clock())


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


def test_a_value_that_was_measured_before_the_write() -> None:
    """The cloud's old status that shows the value by chance confirms nothing."""
    clock = Clock(100.0)
    client = Scripted(lambda _keys: {"ama": 16, "amp": 10})
    client.cloud, client.age = True, 30.0
    with pytest.raises(RefusedError):
        written(client, "max-current", "10", clock)


def test_another_device_at_the_read_back() -> None:
    """If the address has passed to another device, the error says what may have happened."""
    clock = Clock(100.0)
    client = Scripted(lambda _keys: {"ama": 16, "amp": 16})

    def status(_keys: Sequence[str]) -> Mapping[str, object]:
        if len(client.calls) > 1:
            raise ChargerError("wrong_device", "another charger answered")
        return {"ama": 16, "amp": 16}

    client._status = status
    with pytest.raises(ChargerError, match="another charger answered; it may have received"):
        written(client, "max-current", "10", clock)
    assert clock.now == 100.0
