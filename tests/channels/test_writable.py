"""What a user's text writes: the values of each API, and refusals."""

from __future__ import annotations

import contextlib

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from goe_exporter.channels.table import CHANNELS
from goe_exporter.channels.writable import Write, allowed, find, parse, same
from goe_exporter.charger import api_v1
from goe_exporter.charger.client import write_targets
from goe_exporter.errors import UsageError

WRITABLE = (
    "writable channels: session-energy-limit, charging-allowed, force-state, transaction, phases,"
    " max-current, max-current-temporary, access, awattar-max-price"
)

# Channel, API, text, and the requests of docs/protocol.md §1 and §2.
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
    ("max-current-temporary", 2, "8A", "/api/set?tcl=8"),
    ("max-current-temporary", 2, "off", "/api/set?tcl=null"),
    ("session-energy-limit", 2, "5kWh", "/api/set?dwo=5000"),
    ("session-energy-limit", 2, "5 kWh", "/api/set?dwo=5000"),
    ("session-energy-limit", 2, "1.5kWh", "/api/set?dwo=1500"),
    ("session-energy-limit", 2, "3500", "/api/set?dwo=3500"),
    ("session-energy-limit", 2, "1Wh", "/api/set?dwo=1"),
    ("session-energy-limit", 2, "1000kWh", "/api/set?dwo=1000000"),
    ("session-energy-limit", 2, "off", "/api/set?dwo=null"),
    ("session-energy-limit", 2, "OFF", "/api/set?dwo=null"),
    ("session-energy-limit", 2, "0", "/api/set?dwo=null"),
    ("session-energy-limit", 2, "0 kWh", "/api/set?dwo=null"),
    ("session-energy-limit", 2, "0.0Wh", "/api/set?dwo=null"),
    ("session-energy-limit", 1, "0", "/mqtt?payload=dwo=0 /mqtt?payload=stp=0"),
    ("session-energy-limit", 1, "5kWh", "/mqtt?payload=dwo=50 /mqtt?payload=stp=2"),
    ("session-energy-limit", 1, "100", "/mqtt?payload=dwo=1 /mqtt?payload=stp=2"),
    ("session-energy-limit", 1, "off", "/mqtt?payload=dwo=0 /mqtt?payload=stp=0"),
    ("charging-allowed", 1, "on", "/mqtt?payload=alw=1"),
    ("charging-allowed", 1, "off", "/mqtt?payload=alw=0"),
    ("charging-allowed", 1, "ON", "/mqtt?payload=alw=1"),
    ("charging-allowed", 1, "OFF", "/mqtt?payload=alw=0"),
    ("force-state", 2, "neutral", "/api/set?frc=0"),
    ("force-state", 2, "off", "/api/set?frc=1"),
    ("force-state", 2, "on", "/api/set?frc=2"),
    ("force-state", 2, "On", "/api/set?frc=2"),
    ("force-state", 2, "0", "/api/set?frc=0"),
    ("force-state", 2, "1", "/api/set?frc=1"),
    ("force-state", 2, "2", "/api/set?frc=2"),
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
    ("access", 2, "OPEN", "/api/set?acs=0"),
    ("access", 2, "RFID", "/api/set?acs=1"),
    ("access", 1, "OPEN", "/mqtt?payload=ast=0"),
    ("access", 1, "RFID", "/mqtt?payload=ast=1"),
    ("access", 1, "AWATTAR", "/mqtt?payload=ast=2"),
    ("access", 1, "TIMER", "/mqtt?payload=ast=3"),
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

# Channel, API, and texts outside of its range or choices.
BAD = [
    ("max-current", 2, ["33", "5", "0", "-0", "-6", "10.5", "5.999999", "off", "auto"]),
    ("max-current", 1, ["33", "5", "0", "-0", "10.5", "off"]),
    ("max-current-temporary", 1, ["33", "5", "0", "off"]),
    ("max-current-temporary", 2, ["33", "5", "0", "8.5", "null"]),
    ("session-energy-limit", 2, ["-1", "0.5", "0A", "1000001", "1001kWh", "none", "on", "5000A"]),
    ("session-energy-limit", 1, ["99", "150", "0.15kWh", "1000100"]),
    ("charging-allowed", 1, ["0", "1", "yes", "neutral"]),
    ("force-state", 2, ["3", "-1", "1.0", "00", "auto"]),
    ("phases", 2, ["0", "2", "three", "1.0", "+1", "off"]),
    ("access", 2, ["0", "automatic", "scheduler", "AWATTAR", "TIMER", "closed"]),
    ("access", 1, ["2", "evcms"]),
    ("transaction", 2, ["11", "-1", "1.5", "none", "1A"]),
    ("awattar-max-price", 2, ["400.1", "-50.1", "12.55", "off", "12.5 €"]),
]

ROWS = [(channel.option, api) for channel in CHANNELS for api in channel.write]


def parsed(name: str, api: int, text: str) -> Write:
    return parse(find(CHANNELS, name), text).through(api)


@pytest.mark.parametrize(("name", "api", "text", "requests"), GOOD)
def test_a_good_value(name: str, api: int, text: str, requests: str) -> None:
    """A text becomes the requests of the charger's API document."""
    write = parsed(name, api, text)
    assert write_targets(api, write.key, write.value) == requests.split()


@pytest.mark.parametrize(("name", "api"), ROWS)
def test_a_text_that_no_channel_accepts(name: str, api: int) -> None:
    """No channel accepts an unusual number, another unit, or more than one value."""
    for text in NEVER:
        with pytest.raises(UsageError) as refused:
            parsed(name, api, text)
        assert str(refused.value).startswith(f"{name}: ")
        assert len(str(refused.value)) < 250


@pytest.mark.parametrize(("name", "api", "texts"), BAD)
def test_a_value_out_of_bounds(name: str, api: int, texts: list[str]) -> None:
    """A value out of range, between the steps or of another API is refused, never adjusted."""
    for text in texts:
        with pytest.raises(UsageError):
            parsed(name, api, text)


def test_the_cases_cover_the_table() -> None:
    """Every writable row has good and bad cases above, for each of its APIs."""
    assert {(name, api) for name, api, _text, _requests in GOOD} == set(ROWS)
    assert {(name, api) for name, api, _texts in BAD} == set(ROWS)


@given(st.sampled_from(ROWS), st.text() | st.from_regex(r"[+-]?[0-9]{0,15}\.?[0-9]* ?k?[A-Za-z]*"))
@examples(500)
def test_any_text(row: tuple[str, int], text: str) -> None:
    """Any text is a value or a `UsageError`."""
    with contextlib.suppress(UsageError):
        assert isinstance(parsed(*row, text).value, int | float | bool | None)


@pytest.mark.parametrize(
    ("name", "api", "text", "message"),
    [
        ("max-current", 2, "33", "max-current: 6 to 32 A in whole amperes, not '33'"),
        ("max-current", 1, "10.5", "max-current: 6 to 32 A in whole amperes, not '10.5'"),
        (
            "max-current",
            2,
            "10 bananas",
            "max-current: 6 to 32 A in whole amperes, not '10 bananas'",
        ),
        ("force-state", 2, "auto", "force-state: neutral, off or on, not 'auto'"),
        (
            "session-energy-limit",
            1,
            "150",
            "session-energy-limit: off, or 100 to 1000000 Wh in steps of 100, not '150'",
        ),
    ],
)
def test_refusal_says_what_is_allowed(name: str, api: int, text: str, message: str) -> None:
    """A refusal names the channel, the allowed values and the given text, in one line."""
    with pytest.raises(UsageError) as refused:
        parsed(name, api, text)
    assert str(refused.value) == message


def test_a_refusal_by_the_chargers_own_limit() -> None:
    """A value above the charger's own limit is refused, and the message has that limit."""
    channel = find(CHANNELS, "max-current")
    assert parse(channel, "16").through(2, {"ama": 16}).value == 16
    assert parse(channel, "32").through(2, {"ama": 63}).value == 32
    assert parse(channel, "20").through(2, {"ama": 5}).value == 20
    for text in ("20", "33", "10.5", "ten"):
        with pytest.raises(UsageError) as refused:
            parse(channel, text).through(2, {"ama": 16})
        words = f"max-current: this charger accepts 6 to 16 A in whole amperes, not {text!r}"
        assert str(refused.value) == words


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("max-current", "33", "max-current: 6 to 32 A in whole amperes, not '33'"),
        (
            "access",
            "closed",
            "access: v1: open, wait, automatic or scheduler; v2: open, wait or evcms, not 'closed'",
        ),
        ("phases", "2", "phases: auto, 1 or 3, not '2'"),
    ],
)
def test_a_refusal_for_an_unknown_charger(name: str, text: str, message: str) -> None:
    """Where the charger is not known, a refusal has what each API accepts."""
    change = parse(find(CHANNELS, name), text)
    assert change.writes == {}
    assert str(change.refusal()) == message


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
    """A channel is found by its name, with - or _, and by each of its openHAB ids."""
    assert find(CHANNELS, name).option == option


@pytest.mark.parametrize("name", ["", "a", "nosuch", "\u0661", "x" * 5000])
def test_find_nothing(name: str) -> None:
    """An unknown name is refused with the list of the writable channels."""
    with pytest.raises(UsageError) as refused:
        find(CHANNELS, name)
    assert str(refused.value) == f"unknown channel {name!r:.80}; {WRITABLE}"


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("amp", "max-current"),
        ("frc", "force-state"),
        ("psm", "phases"),
        ("dwo", "session-energy-limit"),
        ("Max-Current", "max-current"),
        ("maxcurrent", "max-current"),
        ("max current", "max-current"),
        ("max-curent", "max-current"),
        ("maxCurrentTmp", "max-current-temporary"),
        ("forcestate", "force-state"),
        ("force-sate", "force-state"),
        ("alow-charging", "charging-allowed"),
        ("phase", "phases"),
        ("current", "max-current or max-current-temporary"),
        ("stop-charging", "charging-allowed"),
        ("volt", "phase-voltage"),
        ("energy-limit", "session-energy-limit"),
        ("accessconfig", "access"),
    ],
)
def test_a_suggestion(name: str, suggested: str) -> None:
    """An unknown name that resembles a channel's name, openHAB id or key gets a suggestion."""
    with pytest.raises(UsageError) as refused:
        find(CHANNELS, name)
    words = f"unknown channel {name!r}; did you mean {suggested}"
    assert str(refused.value).startswith(words), str(refused.value)
    assert str(refused.value).endswith(f"?; {WRITABLE}")


@pytest.mark.parametrize(
    ("key", "suggested"),
    [
        ("amx", "max-current-temporary"),
        ("ast", "access"),
        ("stp", "session-energy-limit"),
        ("dwo", "session-energy-limit"),
        ("uby", "transaction"),
    ],
)
def test_a_suggestion_for_a_key_of_api_v1(key: str, suggested: str) -> None:
    """A key of API v1 gets a suggestion too."""
    with pytest.raises(UsageError, match=f"^unknown channel '{key}'; did you mean {suggested}[?]"):
        find(CHANNELS, key, api_v1.KEYS)


@pytest.mark.parametrize(
    ("name", "api", "text"),
    [
        ("max-current", 1, "6 to 32 A in whole amperes"),
        ("max-current", 2, "6 to 32 A in whole amperes"),
        ("max-current-temporary", 1, "6 to 32 A in whole amperes"),
        ("max-current-temporary", 2, "off, or 6 to 32 A in whole amperes"),
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
    """The text of the allowed values, as in the documentation, `channels` and refusals."""
    channel = find(CHANNELS, name)
    assert allowed(channel, channel.write[api]) == text


@pytest.mark.parametrize(
    ("name", "api", "text", "message"),
    [
        ("power", 2, "1", f"power is read-only; {WRITABLE}"),
        ("phase-mode", 2, "1", f"phase-mode is read-only; use phases instead; {WRITABLE}"),
        (
            "allowed-current",
            2,
            "9",
            f"allowed-current is read-only; use max-current instead; {WRITABLE}",
        ),
        (
            "force-state",
            1,
            "off",
            (
                "force-state cannot be written through API v1, only through API v2;"
                " use charging-allowed (off or on) instead"
            ),
        ),
        ("phases", 1, "1", "phases cannot be written through API v1, only through API v2"),
        (
            "charging-allowed",
            2,
            "on",
            (
                "charging-allowed cannot be written through API v2, only through API v1;"
                " use force-state (neutral, off or on) instead"
            ),
        ),
    ],
)
def test_what_cannot_be_written(name: str, api: int, text: str, message: str) -> None:
    """A read-only channel, or one of the other API, is refused with the alternatives."""
    with pytest.raises(UsageError) as refused:
        parsed(name, api, text)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("shown", "value"),
    [(10, 10), (10.0, 10), (5000.02, 5000), (12.5, 12.5), (None, None), (True, True), (0, 0)],
)
def test_same(shown: object, value: object) -> None:
    """A float confirms an integer, also if it was rounded to 32 bits."""
    assert same(shown, value)


@pytest.mark.parametrize(
    ("shown", "value"),
    [
        (9, 10),
        (500_001, 500_000),
        (1_000_000, 999_995),
        (None, 10),
        (10, None),
        (10**400, 10),
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
    """Another value, or a value of another type, does not confirm a write."""
    assert not same(shown, value)


@pytest.mark.parametrize(
    ("name", "api", "text", "reported", "described"),
    [
        ("max-current", 2, "10", 16, "16 A"),
        ("max-current", 2, "10", 10.0, "10 A"),
        ("max-current", 2, "10", None, "no value"),
        ("max-current", 2, "10", "\x1b[2J", r"'\x1b[2J'"),
        ("max-current", 2, "10", True, "True"),
        ("max-current", 2, "10", 10**16, "10000000000000000"),
        ("session-energy-limit", 2, "5kWh", 5000, "5000 Wh"),
        ("session-energy-limit", 2, "5kWh", None, "off"),
        ("awattar-max-price", 2, "-5", -5, "-5 ct"),
        ("phases", 2, "3", 2, "3"),
        ("phases", 2, "3", 7, "7"),
        ("charging-allowed", 1, "off", False, "off"),
        ("transaction", 2, "3", 3, "3"),
    ],
)
def test_describe(name: str, api: int, text: str, reported: object, described: str) -> None:
    """A reported value is shown as a user would write it, anything unexpected as its repr."""
    assert parsed(name, api, text).describe(reported) == described


def test_a_text_that_only_one_api_accepts() -> None:
    """A change has a write for each API that accepts the text, and a refusal for the other."""
    change = parse(find(CHANNELS, "session-energy-limit"), "150")
    assert set(change.writes) == {2}
    assert change.through(2).value == 150
    with pytest.raises(UsageError, match="in steps of 100, not '150'"):
        change.through(1)
