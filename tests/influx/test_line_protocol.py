"""A poll as a line: fixed types, correct escapes, and no field for an absent value."""

from __future__ import annotations

import json
import math
import random
import re

import pytest
from hostile import ANY_JSON
from hypothesis import given
from hypothesis import strategies as st
from line_parser import parsed
from paths import GOLDEN

from goe_exporter.channels.decode import decode
from goe_exporter.channels.model import Channel, Kind
from goe_exporter.channels.snapshot import Reading, Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.influx import line_protocol
from goe_exporter.polling.view import Poll

GOLDEN = GOLDEN / "influx_fields.json"
STAMP = 1_780_000_000.1234
ROWS = {channel.name: channel for channel in CHANNELS}

NAMES = [
    "garage",
    "Ladestation im Hof",
    "a,b",
    "a=b",
    'say "hi"',
    "it's",
    "ends in \\",
    "ends in \\\\\\",
    "\\",
    "\\\\ \\",
    "a\\,b",
    "a\\ b",
    "a\\=b",
    "a\\\\b",
    "C:\\box\\1",
    "\\begins",
    "a \\ b \\",
    "two\nlines",
    "two\r\nlines",
    "tab\there",
    " spaces around ",
    "nul\0nul",
    "🚗🔌",
    "👩\u200d🚒",
    "Ätzend€",
    "line\u2028separator",
    "no\u00a0break",
    "#comment",
    "up=false 1\ngoe_charger,charger=forged up=true 1",
    ",",
    "=",
    " ",
    '"',
    "x" * 200,
]


def poll(
    *readings: Reading, name: str = "garage", serial: str = "012345", time: float = STAMP
) -> Poll:
    return Poll(name, serial, time, Snapshot(name, 2, time, 0.0, readings))


def fields(*readings: Reading) -> dict[str, float | bool | str]:
    return parsed(line_protocol.line(poll(*readings), {})).fields


def number(value: float, name: str = "power") -> Reading:
    return Reading(ROWS[name], "", value)


def sample(channel: Channel, label: str) -> Reading:
    """Return a reading as `decode` may return it for a part of a row."""
    if channel.kind in (Kind.STATE, Kind.REASON):
        return Reading(channel, label, "unknown", 99)
    if channel.kind is Kind.TEXT:
        return Reading(channel, label, "some text")
    return Reading(channel, label, True if channel.kind is Kind.FLAG else 1.0)


EVERY = [sample(channel, part.label) for channel in CHANNELS for part in channel.parts]


# The frozen list


def types(found: dict[str, float | bool | str]) -> dict[str, str]:
    words = {float: "float", bool: "boolean", str: "string"}
    return {name: words[type(value)] for name, value in sorted(found.items())}


def test_types_are_frozen(update_golden: bool) -> None:
    """Every possible field has the name and the type in the golden file.

    The type of a field cannot be changed in an existing database: a difference here is a mistake,
    unless no release had the field.
    """
    found = types(fields(*EVERY))
    if update_golden:
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("up", "boolean"),
        ("phase_voltage_l1_v", "float"),
        ("phase_voltage_n_v", "float"),
        ("phase_current_l3_a", "float"),
        ("phase_power_l1_w", "float"),
        ("phase_power_factor_l2_ratio", "float"),
        ("power_w", "float"),
        ("energy_wh", "float"),
        ("session_energy_wh", "float"),
        ("session_energy_limit_wh", "float"),
        ("temperature_board_c", "float"),
        ("grid_frequency_hz", "float"),
        ("max_current_a", "float"),
        ("uptime_s", "float"),
        ("wifi_signal_dbm", "float"),
        ("phases", "float"),
        ("reboots", "float"),
        ("transaction", "float"),
        ("card_energy_10_wh", "float"),
        ("car_state", "string"),
        ("car_state_code", "float"),
        ("error", "string"),
        ("error_code", "float"),
        ("charging_reason", "string"),
        ("charging_reason_code", "float"),
        ("charging_allowed", "boolean"),
        ("phase_contactor_closed_l1", "boolean"),
        ("phase_energized_l3", "boolean"),
        ("firmware", "string"),
        ("model", "string"),
        ("device_name", "string"),
    ],
)
def test_names_and_types_of_the_design(name: str, kind: str) -> None:
    """The golden file contains the promised names and types, typed here by hand."""
    assert json.loads(GOLDEN.read_text())[name] == kind


def test_kinds_and_types() -> None:
    """For the whole table: a number is a float, a flag a boolean, a state a string and a float."""
    golden = json.loads(GOLDEN.read_text())
    assert set(golden.values()) == {"float", "boolean", "string"}
    for name, kind in golden.items():
        assert kind == "float" or not name.endswith("_code")
    assert "serial" not in golden, "the serial number is a tag"


# Values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (230.0, "230.0"),
        (0.0, "0.0"),
        (-0.5, "-0.5"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e12, "1000000000000.0"),
        (1e16, "1e+16"),
        (5e-324, "5e-324"),
        (1 / 3, "0.3333333333333333"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    """A number is a float with a point or an exponent, exact to the last bit."""
    line = line_protocol.point(poll(number(value)), {})
    assert line.endswith(f",power_w={text}")
    assert fields(number(value))["power_w"] == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number(value: float) -> None:
    """Any finite number is read back as the same number."""
    found = fields(number(value))["power_w"]
    assert isinstance(found, float)
    assert math.copysign(1, found) == math.copysign(1, value)
    assert found == value


def test_flags() -> None:
    """A flag is an unquoted true or false."""
    for value in (True, False):
        reading = Reading(ROWS["charging_allowed"], "", value)
        assert line_protocol.point(poll(reading), {}).endswith(
            f",charging_allowed={str(value).lower()}"
        )


def test_states() -> None:
    """A state is its name and, as a second field, its code as a float."""
    line = line_protocol.point(poll(Reading(ROWS["car_state"], "", "charging", 2)), {})
    assert line.endswith(' up=true,car_state="charging",car_state_code=2.0')


def test_texts() -> None:
    """A text is a string field; the serial number is a tag instead."""
    found = fields(
        Reading(ROWS["firmware"], "", 'say "055.7" \\ ä\nb'),
        Reading(ROWS["serial"], "", "012345"),
    )
    assert found == {"up": True, "firmware": 'say "055.7" \\ ä\\nb'}


def test_absent_is_no_field() -> None:
    """A snapshot without readings has only the field `up`."""
    assert line_protocol.line(poll(), {}) == (
        "goe_charger,charger=garage,serial=012345 up=true 1780000000123"
    )


def test_failed_poll() -> None:
    """A failed poll is `up=false` only, with the tags of a successful one."""
    failed = Poll("garage", "012345", STAMP, None)
    line = line_protocol.line(failed, {"site": "home"})
    assert line == "goe_charger,charger=garage,serial=012345,site=home up=false 1780000000123"


def test_labels_are_tags() -> None:
    """A charger's labels are tags of every point, and win over tags of the same name."""
    labels = {"site": "depot", "feeder": "A 1"}
    failed = Poll("garage", "012345", STAMP, None, labels)
    line = line_protocol.line(failed, {"site": "home", " site": "home", "country": "AT"})
    assert line == (
        "goe_charger,charger=garage,country=AT,feeder=A\\ 1,serial=012345,site=depot"
        " up=false 1780000000123"
    )


def test_charger_that_never_answered() -> None:
    """Without a serial number there is no such tag."""
    assert line_protocol.line(Poll("garage", "", STAMP, None), {}) == (
        "goe_charger,charger=garage up=false 1780000000123"
    )


def test_whole_line() -> None:
    """A complete line, typed by hand."""
    found = line_protocol.line(
        poll(
            Reading(ROWS["phase_voltage"], "L1", 230.0),
            Reading(ROWS["phase_current"], "L1", 15.9),
            Reading(ROWS["energy"], "", 1_234_567.0),
            Reading(ROWS["temperature"], "board", 31.5),
            Reading(ROWS["card_energy"], "3", 2000.0),
            Reading(ROWS["error"], "", "none", 0),
            Reading(ROWS["phase_energized"], "L2", value=False),
        ),
        {"site": "home"},
    )
    assert found == (
        "goe_charger,charger=garage,serial=012345,site=home up=true,phase_voltage_l1_v=230.0,"
        "phase_current_l1_a=15.9,energy_wh=1234567.0,temperature_board_c=31.5,"
        'card_energy_3_wh=2000.0,error="none",error_code=0.0,phase_energized_l2=false'
        " 1780000000123"
    )


@pytest.mark.parametrize(
    ("seconds", "stamp"),
    [
        (STAMP, 1_780_000_000_123),
        (1_780_000_000.9996, 1_780_000_001_000),
        (1_780_000_000.0, 1_780_000_000_000),
        (0.0, 0),
    ],
)
def test_timestamps(seconds: float, stamp: int) -> None:
    """A timestamp is a whole number of ms, or of ns for Telegraf, rounded to ms in both."""
    assert line_protocol.milliseconds(seconds) == stamp
    assert parsed(line_protocol.line(poll(time=seconds), {})).stamp == stamp
    line = line_protocol.line(poll(time=seconds), {}, nanoseconds=True)
    assert parsed(line).stamp == stamp * 1_000_000


# Texts


def stored(text: str) -> str:
    """Return a text as a server stores it, without NUL and line breaks."""
    return text.replace("\0", " ").replace("\n", "\\n")


@pytest.mark.parametrize("name", NAMES)
def test_names_come_back(name: str) -> None:
    """A charger's name can be read back: from the tag if it can hold it, else from a field."""
    point = parsed(line_protocol.line(poll(number(1.0), name=name), {}))
    assert "\n" not in line_protocol.line(poll(number(1.0), name=name), {})
    assert point.fields.get("charger_name", point.tags.get("charger")) == stored(name)
    assert point.fields["power_w"] == 1.0
    assert point.measurement == "goe_charger"
    assert point.stamp == 1_780_000_000_123


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("a,b = c", r"a\,b\ \=\ c"),
        ('say "hi"', r'say\ "hi"'),
        ("C:\\box", "C:\\box"),
        ("🚗", "🚗"),
        ("ends in \\", r"ends\ in"),
        ("a\\,b", r"a\,b"),
        ("a\\\\b", r"a\b"),
        ("two\nlines", r"two\ lines"),
        (" x ", "x"),
    ],
)
def test_escapes(name: str, tag: str) -> None:
    """A tag's value as it is written in the line."""
    line = line_protocol.line(poll(name=name), {})
    assert line.startswith(f"goe_charger,charger={tag},serial=")
    assert ("charger_name=" in line) == (line_protocol.tag_text(name) != name)


@pytest.mark.parametrize("name", NAMES)
def test_tags_are_safe_everywhere(name: str) -> None:
    """No tag has a backslash that only some servers read as an escape."""
    point = parsed(line_protocol.line(poll(name=name, serial=name), {"site": name, name: "x"}))
    for text in (*point.tags, *point.tags.values()):
        assert not re.search(r"\\([\\ ,=]|$)", text)
        assert text.isprintable()
        assert text == text.strip() != ""


def test_name_that_leaves_no_tag() -> None:
    """A name without any character for a tag is in the field only."""
    point = parsed(line_protocol.line(poll(name="\\"), {}))
    assert "charger" not in point.tags
    assert point.fields["charger_name"] == "\\"


def test_tags_of_the_configuration() -> None:
    """Configured tags follow in order; one with an empty name or value is omitted."""
    tags = {"site": "Hof 3", "a": "x,y", "empty": "", "\n": "nameless", "z=z": "1"}
    point = parsed(line_protocol.line(poll(), tags))
    assert point.tags == {
        "a": "x,y", "charger": "garage", "serial": "012345", "site": "Hof 3", "z=z": "1"
    }  # fmt: skip
    assert list(point.tags) == sorted(point.tags)


@given(st.text(max_size=40), st.text(max_size=40), st.dictionaries(st.text(max_size=9), st.text()))
def test_any_text(name: str, text: str, tags: dict[str, str]) -> None:
    """Any name, text and tags give one valid, encodable line, and can be read back."""
    kept = {key: value for key, value in tags.items() if key and line_protocol.tag_text(key) == key}
    kept = {key: kept[key] for key in kept if key not in ("charger", "serial")}
    line = line_protocol.line(poll(Reading(ROWS["device_name"], "", text), name=name), kept)
    point = parsed(line.encode().decode())
    sound = text.encode("utf-8", "replace").decode()
    assert point.fields["device_name"] == stored(sound)
    if "charger_name" not in point.fields:
        assert point.tags.get("charger", "") == name
    for key, value in kept.items():
        assert point.tags.get(key, "") == line_protocol.tag_text(value)


@given(st.text(alphabet=st.sampled_from(list('\\ ,="a\n\t🚗')), max_size=12))
def test_any_treacherous_name(name: str) -> None:
    """Any sequence of special characters can be read back."""
    point = parsed(line_protocol.line(poll(name=name), {"site": name}))
    assert point.fields.get("charger_name", point.tags.get("charger", "")) == stored(name)
    for text in point.tags.values():
        assert not re.search(r"\\([\\ ,=]|$)", text)


@pytest.mark.parametrize("text", ["\ud83d", "\udc00\ud800", "ok \udcff"])
def test_half_a_surrogate_pair(text: str) -> None:
    """A name from arguments that are not UTF-8 does not end the export."""
    line = line_protocol.line(poll(Reading(ROWS["model"], "", text), name=text), {"site": text})
    assert parsed(line.encode().decode()).measurement == "goe_charger"


# Whatever a charger sends

_KEYS = sorted({key for channel in CHANNELS for key in channel.key.split()})


@given(st.dictionaries(st.sampled_from(_KEYS), ANY_JSON), st.sampled_from([1, 2]))
def test_any_status(status: dict[str, object], api: int) -> None:
    """Any charger's answer gives one valid line, finite numbers, and the fixed types."""
    _check_status(status, api)


@given(st.randoms(use_true_random=False), st.sampled_from([1, 2]))
def test_any_numbers(chance: random.Random, api: int) -> None:
    """The same with a number, plausible or not, in every place."""
    odd = (float("nan"), float("inf"), float("-inf"), 10**400, 1e308, -1e308, -16843.01, True, None)

    def value() -> object:
        return chance.choice(odd) if chance.random() < 0.2 else chance.uniform(-1, 3000)

    status: dict[str, object] = {key: value() for key in _KEYS}
    status |= {key: [value() for _ in range(16)] for key in ("nrg", "tma")}
    status["cards"] = [{"energy": value()} for _ in range(10)]
    _check_status(status, api)


def _check_status(status: dict[str, object], api: int) -> None:
    readings = decode(status, api).readings
    line = line_protocol.line(poll(*readings), {})
    point = parsed(line.encode().decode())
    golden = json.loads(GOLDEN.read_text())
    assert all(golden[name] == kind for name, kind in types(point.fields).items())
    numbers = [value for value in point.fields.values() if isinstance(value, float)]
    assert all(math.isfinite(value) for value in numbers)
    named = {reading.channel.field(reading.label if reading.channel.label else ""): reading.value
             for reading in readings if isinstance(reading.value, float)}  # fmt: skip
    assert all(point.fields[name] == value for name, value in named.items())
