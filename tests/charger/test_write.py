"""Writes: what a person's text means, what is refused, and when a write counts as done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
from clocks import Clock
from hypothesis import given, settings
from hypothesis import strategies as st

from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger import write
from goe_exporter.charger.client import write_targets
from goe_exporter.errors import ChargerError, RefusedError, UsageError

WRITABLE = (
    "what can be written: session-energy-limit, charging-allowed, force-state, transaction, phases,"
    " max-current, max-current-temporary, access, awattar-max-price"
)

# Channel, API, text, and the request by PROTOCOL.md §1 and §2.
GOOD = [
    ("max-current", 2, "10A", "/api/set?amp=10"),
    ("max-current", 2, "6", "/api/set?amp=6"),
    ("max-current", 2, "32", "/api/set?amp=32"),
    ("max-current", 2, " 16 A ", "/api/set?amp=16"),
    ("max-current", 2, "10.0", "/api/set?amp=10"),
    ("max-current", 2, "+10", "/api/set?amp=10"),
    ("max-current", 1, "10A", "/mqtt?payload=amp=10"),
    ("max-current", 1, "32", "/mqtt?payload=amp=32"),
    ("max-current-temporary", 1, "8A", "/mqtt?payload=amx=8"),
    ("max-current-temporary", 1, "32", "/mqtt?payload=amx=32"),
    ("session-energy-limit", 2, "5kWh", "/api/set?dwo=5000"),
    ("session-energy-limit", 2, "5 kWh", "/api/set?dwo=5000"),
    ("session-energy-limit", 2, "1.5kWh", "/api/set?dwo=1500"),
    ("session-energy-limit", 2, "3500", "/api/set?dwo=3500"),
    ("session-energy-limit", 2, "1Wh", "/api/set?dwo=1"),
    ("session-energy-limit", 2, "1000kWh", "/api/set?dwo=1000000"),
    ("session-energy-limit", 2, "off", "/api/set?dwo=null"),
    ("session-energy-limit", 2, "OFF", "/api/set?dwo=null"),
    ("session-energy-limit", 1, "5kWh", "/mqtt?payload=dwo=50 /mqtt?payload=stp=2"),
    ("session-energy-limit", 1, "100", "/mqtt?payload=dwo=1 /mqtt?payload=stp=2"),
    ("session-energy-limit", 1, "off", "/mqtt?payload=dwo=0 /mqtt?payload=stp=0"),
    ("charging-allowed", 1, "on", "/mqtt?payload=alw=1"),
    ("charging-allowed", 1, "off", "/mqtt?payload=alw=0"),
    ("force-state", 2, "neutral", "/api/set?frc=0"),
    ("force-state", 2, "off", "/api/set?frc=1"),
    ("force-state", 2, "on", "/api/set?frc=2"),
    ("force-state", 2, "On", "/api/set?frc=2"),
    ("phases", 2, "auto", "/api/set?psm=0"),
    ("phases", 2, "1", "/api/set?psm=1"),
    ("phases", 2, "3", "/api/set?psm=2"),
    ("access", 2, "open", "/api/set?acs=0"),
    ("access", 2, "wait", "/api/set?acs=1"),
    ("access", 2, "evcms", "/api/set?acs=2"),
    ("access", 1, "open", "/mqtt?payload=ast=0"),
    ("access", 1, "wait", "/mqtt?payload=ast=1"),
    ("access", 1, "automatic", "/mqtt?payload=ast=2"),
    ("access", 1, "scheduler", "/mqtt?payload=ast=3"),
    ("transaction", 2, "0", "/api/set?trx=0"),
    ("transaction", 2, "10", "/api/set?trx=10"),
    ("transaction", 2, "off", "/api/set?trx=null"),
    ("awattar-max-price", 2, "12.5", "/api/set?awp=12.5"),
    ("awattar-max-price", 2, "12.5ct", "/api/set?awp=12.5"),
    ("awattar-max-price", 2, "0.3", "/api/set?awp=0.3"),
    ("awattar-max-price", 2, "-5", "/api/set?awp=-5"),
    ("awattar-max-price", 2, "0", "/api/set?awp=0"),
    ("awattar-max-price", 2, "400", "/api/set?awp=400"),
]

NEVER = [
    "",
    " ",
    "NaN",
    "nan",
    "inf",
    "-Infinity",
    "1e3",
    "1e1",
    "0x10",
    "1_0",
    "10,5",
    "10 bananas",
    "10mA",
    "10 kA",
    "10V",
    "٣",
    "１０",
    "true",
    "null",
    "None",
    "10;12",
    "10&frc=2",
    "10\x00",
    "1\n0",
    "--10",
    "10.",
    ".5",
    "9" * 5000,
    "-1000000000001",
]

# Channel, API, and what its bounds and words leave out.
BAD = [
    ("max-current", 2, ["33", "5", "0", "-0", "-6", "10.5", "5.999999", "off", "auto"]),
    ("max-current", 1, ["33", "5", "0", "-0", "10.5", "off"]),
    ("max-current-temporary", 1, ["33", "5", "0", "off"]),
    ("session-energy-limit", 2, ["0", "-1", "0.5", "1000001", "1001kWh", "none", "on", "5000A"]),
    ("session-energy-limit", 1, ["0", "99", "150", "0.15kWh", "1000100"]),
    ("charging-allowed", 1, ["0", "1", "yes", "neutral"]),
    ("force-state", 2, ["0", "1", "2", "auto"]),
    ("phases", 2, ["0", "2", "three", "1.0", "+1", "off"]),
    ("access", 2, ["0", "automatic", "scheduler", "closed"]),
    ("access", 1, ["2", "evcms"]),
    ("transaction", 2, ["11", "-1", "1.5", "none", "1A"]),
    ("awattar-max-price", 2, ["400.1", "-50.1", "12.55", "off", "12.5 €"]),
]

ROWS = [(channel.option, api) for channel in CHANNELS for api in channel.write]


def parsed(name: str, api: int, text: str, high: float | None = None) -> object:
    channel = write.find(CHANNELS, name)
    return write.parse(channel, write.specification(channel, api), text, high)


@pytest.mark.parametrize(("name", "api", "text", "requests"), GOOD)
def test_a_good_value(name: str, api: int, text: str, requests: str) -> None:
    """A text becomes the request that the charger's API document asks for."""
    channel = write.find(CHANNELS, name)
    spec = write.specification(channel, api)
    value = write.parse(channel, spec, text)
    assert write_targets(api, write.written_key(channel, spec), value) == requests.split()


@pytest.mark.parametrize(("name", "api"), ROWS)
def test_a_text_that_nothing_takes(name: str, api: int) -> None:
    """No channel takes a number that is not plain, another unit, or more than one value."""
    for text in NEVER:
        with pytest.raises(UsageError) as refused:
            parsed(name, api, text)
        assert str(refused.value).startswith(f"{name}: ")
        assert len(str(refused.value)) < 250


@pytest.mark.parametrize(("name", "api", "texts"), BAD)
def test_a_value_out_of_bounds(name: str, api: int, texts: list[str]) -> None:
    """A value beyond the bounds, between the steps or of another API is refused, never bent."""
    for text in texts:
        with pytest.raises(UsageError):
            parsed(name, api, text)


def test_the_cases_cover_the_table() -> None:
    """Every row that can be written has good and bad cases above, for each of its APIs."""
    assert {(name, api) for name, api, _text, _requests in GOOD} == set(ROWS)
    assert {(name, api) for name, api, _texts in BAD} == set(ROWS)


@given(st.sampled_from(ROWS), st.text() | st.from_regex(r"[+-]?[0-9]{0,15}\.?[0-9]* ?k?[A-Za-z]*"))
@settings(deadline=None, max_examples=500)
def test_any_text(row: tuple[str, int], text: str) -> None:
    """Whatever is typed, it is a value or a `UsageError`."""
    with contextlib.suppress(UsageError):
        assert isinstance(parsed(*row, text), int | float | bool | None)


@pytest.mark.parametrize(
    ("name", "api", "text", "message"),
    [
        ("max-current", 2, "33", "max-current: 6 to 32 A, not '33'"),
        ("max-current", 2, "10 bananas", "max-current: 6 to 32 A, not '10 bananas'"),
        ("force-state", 2, "auto", "force-state: neutral, off or on, not 'auto'"),
        (
            "session-energy-limit",
            1,
            "150",
            "session-energy-limit: off, or 100 to 1000000 Wh in steps of 100, not '150'",
        ),
    ],
)
def test_a_refusal_says_what_is_allowed(name: str, api: int, text: str, message: str) -> None:
    """The channel, what it takes, and what was given, in one line."""
    with pytest.raises(UsageError) as refused:
        parsed(name, api, text)
    assert str(refused.value) == message


def test_a_refusal_by_the_chargers_own_limit() -> None:
    """The upper bound is the charger's own where it is the lower one, and the message says so."""
    assert parsed("max-current", 2, "16", high=16.0) == 16
    assert parsed("max-current", 2, "32", high=63.0) == 32
    with pytest.raises(UsageError) as refused:
        parsed("max-current", 2, "20", high=16.0)
    assert str(refused.value) == "max-current: 6 to 16 A on this charger, not '20'"
    with pytest.raises(UsageError):
        parsed("max-current", 2, "33", high=63.0)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("max-current", "max-current"),
        ("max_current", "max-current"),
        ("maxCurrent", "max-current"),
        ("maxCurrentTemp", "max-current-temporary"),
        ("sessionChargeEnergyLimit", "session-energy-limit"),
        ("allowCharging", "charging-allowed"),
        ("accessConfiguration", "access"),
        ("forceState", "force-state"),
        ("phases", "phases"),
        ("awattar-max-price", "awattar-max-price"),
        ("pwmSignal", "car-state"),
        ("voltageL2", "phase-voltage"),
        ("temperatureType2Port", "temperature"),
    ],
)
def test_find(name: str, option: str) -> None:
    """A channel goes by our name, with - or _, and by each of its openHAB ids."""
    assert write.find(CHANNELS, name).option == option


@pytest.mark.parametrize("name", ["", "amp", "Max-Current", "maxcurrent", "voltage", "max current"])
def test_find_nothing(name: str) -> None:
    """An unknown name is refused with the list of what can be written."""
    with pytest.raises(UsageError) as refused:
        write.find(CHANNELS, name)
    assert str(refused.value) == f"no channel {name!r}; {WRITABLE}"


@pytest.mark.parametrize(
    ("name", "api", "text"),
    [
        ("max-current", 1, "6 to 32 A"),
        ("max-current", 2, "6 to 32 A"),
        ("max-current-temporary", 1, "6 to 32 A"),
        ("session-energy-limit", 1, "off, or 100 to 1000000 Wh in steps of 100"),
        ("session-energy-limit", 2, "off, or 1 to 1000000 Wh"),
        ("charging-allowed", 1, "off or on"),
        ("force-state", 2, "neutral, off or on"),
        ("phases", 2, "auto, 1 or 3"),
        ("access", 1, "open, wait, automatic or scheduler"),
        ("access", 2, "open, wait or evcms"),
        ("transaction", 2, "off, or 0 to 10"),
        ("awattar-max-price", 2, "-50 to 400 ct in steps of 0.1"),
    ],
)
def test_allowed(name: str, api: int, text: str) -> None:
    """What may be written is said in words, the same in the README, `channels` and refusals."""
    channel = write.find(CHANNELS, name)
    assert write.allowed(channel, write.specification(channel, api)) == text


@pytest.mark.parametrize(
    ("name", "api", "message"),
    [
        ("power", 2, f"power can only be read; {WRITABLE}"),
        ("phases", 1, "phases cannot be written through API v1, only through API v2"),
        (
            "charging-allowed",
            2,
            "charging-allowed cannot be written through API v2, only through API v1",
        ),
    ],
)
def test_what_cannot_be_written(name: str, api: int, message: str) -> None:
    """A reading, or a channel of the other API, is refused with what can be done instead."""
    with pytest.raises(UsageError) as refused:
        write.specification(write.find(CHANNELS, name), api, CHANNELS)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("shown", "value"),
    [(10, 10), (10.0, 10), (5000.02, 5000), (12.5, 12.5), (None, None), (True, True), (0, 0)],
)
def test_same(shown: object, value: object) -> None:
    """A status shows a value also as a float, and rounded as 32 bits round."""
    assert write.same(shown, value)


@pytest.mark.parametrize(
    ("shown", "value"),
    [
        (9, 10),
        (None, 10),
        (10, None),
        (0, None),
        (..., None),
        (..., 0),
        (True, 1),
        (1, True),
        (False, 0),
        (False, None),
        ("10", 10),
        (float("nan"), 10),
        ([10], 10),
        (12.4, 12.5),
    ],
)
def test_not_the_same(shown: object, value: object) -> None:
    """Another value, or the value in another type, does not show the write."""
    assert not write.same(shown, value)


class Scripted:
    """A client that answers by a script and notes what was asked of it."""

    def __init__(self, status: Callable[[Sequence[str]], dict[str, object]], api: int = 2) -> None:
        self._status = status
        self._api = api
        self.calls: list[object] = []

    def status(self, keys: Sequence[str]) -> SimpleNamespace:
        self.calls.append(tuple(keys))
        return SimpleNamespace(api=self._api, status=self._status(keys))

    def write(self, api: int, key: str, value: object) -> None:
        self.calls.append((api, key, value))


def written(client: Scripted, name: str, text: str, clock: Clock) -> write.Written:
    channel = write.find(CHANNELS, name)
    return write.write(client, channel, text, clock=clock, sleep=clock.sleep)


def test_a_write_counts_once_the_charger_shows_it() -> None:
    """First the charger's own limit is read, then written, then read back until it shows."""
    clock = Clock(100.0)
    client = Scripted(lambda _keys: {"ama": 16, "amp": 10 if clock.now >= 101 else 16})
    assert written(client, "max-current", "10", clock) == (2, 10, 1.0)
    assert client.calls == [("ama",), (2, "amp", 10), ("amp",), ("amp",), ("amp",)]


def test_a_write_without_effect() -> None:
    """After five seconds without the value the write has failed, and what is shown is named."""
    clock = Clock(100.0)
    client = Scripted(lambda _keys: {"ama": 16, "amp": 16})
    with pytest.raises(RefusedError) as refused:
        written(client, "max-current", "10", clock)
    message = "the charger took max-current without effect: it is still 16"
    assert str(refused.value) == message
    assert 105 <= clock.now <= 106


def test_a_charger_that_stumbles_during_the_read_back() -> None:
    """A failed read-back is tried again; the write counts when the charger shows it."""
    clock = Clock(100.0)

    def status(_keys: Sequence[str]) -> dict[str, object]:
        if 100 < clock.now < 103:
            raise ChargerError("busy", "couldn't take api lock")
        return {"ama": 16, "amp": 10 if clock.now >= 103 else 16}

    assert written(Scripted(status), "max-current", "10", clock).seconds == 3.0


def test_a_charger_that_goes_during_the_read_back() -> None:
    """If it does not come back within five seconds, that is the error."""
    clock = Clock(100.0)

    def status(_keys: Sequence[str]) -> dict[str, object]:
        if clock.now > 100:
            raise ChargerError("refused", "box refuses the connection")
        return {"ama": 16, "amp": 16}

    with pytest.raises(ChargerError, match=r"^box refuses the connection$"):
        written(Scripted(status), "max-current", "10", clock)
    assert 105 <= clock.now <= 106


@pytest.mark.parametrize("text", ["NaN", "33", "", "10 bananas"])
def test_nothing_is_asked_for_what_no_charger_takes(text: str) -> None:
    """A value that no charger takes is refused without a request."""
    client = Scripted(lambda _keys: {})
    with pytest.raises(UsageError):
        written(client, "max-current", text, Clock())
    assert client.calls == []


@pytest.mark.parametrize(
    ("ama", "taken"),
    [(16, False), (32, True), (None, True), ("x", True), (True, True), (0, True), (-1, True)],
)
def test_the_chargers_own_limit(ama: object, taken: bool) -> None:
    """`ama` lowers the upper bound; one that makes no sense leaves it to the charger to refuse."""
    client = Scripted(lambda _keys: {"ama": ama, "amp": 20})
    with contextlib.nullcontext() if taken else pytest.raises(UsageError):
        written(client, "max-current", "20", Clock())
    assert ((2, "amp", 20) in client.calls) == taken
