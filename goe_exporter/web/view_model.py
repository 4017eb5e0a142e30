"""What the page says of a charger: a view becomes texts in the reader's language. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from goe_exporter.channels.model import Kind
from goe_exporter.channels.snapshot import Reading
from goe_exporter.polling.view import ChargerView
from goe_exporter.web.current_limit import current_limit
from goe_exporter.web.locale import NO_BREAK_SPACE, Language
from goe_exporter.web.units import ABSENT, Quantity, duration, energy, power

GOOD_WIFI_DBM, POOR_WIFI_DBM = -67, -78


class Tile(NamedTuple):
    """A figure that stands out; `share` of 0 to 1 draws a bar, None draws none."""

    label: str
    value: str
    note: str
    share: float | None = None


class Phase(NamedTuple):
    """A row of the table of phases; `live` tells whether the car can draw from it."""

    label: str
    values: tuple[str, ...]
    live: bool


class Fact(NamedTuple):
    """A line of details."""

    label: str
    value: str


class Fault(NamedTuple):
    """The error that stands: its name, its number, and what it means."""

    title: str
    code: str
    help: str


@dataclass(frozen=True)
class Portrait:
    """A charger in words.

    `condition` is live, stale (the last poll failed, the values are not too old yet), blank (it
    answers without readings), unreachable, never (answered) or waiting (not asked yet). `mood` is
    the name of an icon and of a colour. `path` is the name as part of a URL.
    """

    name: str
    path: str
    condition: str
    mood: str
    state: str
    why: str
    failure: str
    age: float | None
    age_text: str
    power: Quantity
    session: str
    error: Fault | None
    tiles: tuple[Tile, ...]
    phases: tuple[Phase, ...]
    temperatures: tuple[Fact, ...]
    facts: tuple[Fact, ...]


_MOODS = {"waiting_for_car": "waiting", "initializing": "waiting"}
_CONDITION_MOODS = {"waiting": "waiting", "blank": "unknown"}


def portrait(view: ChargerView, language: Language) -> Portrait:
    """Return what the page says of a charger."""
    values = _Values(view, language)
    condition = _condition(view)
    error = _fault(values)
    state, mood = _state(values, condition, error is not None)
    failure = view.stats.reason if view.stats.up is False else ""
    return Portrait(
        name=view.name,
        path=url_part(view.name),
        condition=condition,
        mood=mood,
        state=state,
        why=_why(values, condition),
        failure=language.say(f"failure.{failure}") if failure else "",
        age=view.age,
        age_text="" if view.age is None else duration(view.age),
        power=power(values.number("power"), language),
        session=energy(values.number("session_energy"), language).text,
        error=error,
        tiles=tuple(_tiles(values)),
        phases=tuple(_phases(values)),
        temperatures=tuple(_temperatures(values)),
        facts=tuple(_facts(values, view)),
    )


def url_part(name: str) -> str:
    """Return a charger's name as one part of a URL's path."""
    return quote(name, safe="")


class _Values:
    """A snapshot's readings by channel and part, and how to say them."""

    def __init__(self, view: ChargerView, language: Language) -> None:
        self.language = language
        self.api = view.snapshot.api if view.snapshot else None
        readings = view.snapshot.readings if view.snapshot else ()
        self._readings: dict[tuple[str, str], Reading] = {
            (reading.channel.name, _part(reading)): reading for reading in readings
        }

    def get(self, name: str, part: str = "") -> Reading | None:
        return self._readings.get((name, part))

    def number(self, name: str, part: str = "") -> float | None:
        reading = self.get(name, part)
        return None if reading is None else float(reading.value)

    def whole(self) -> Mapping[str, float | bool | str]:
        """Return the values of channels without parts."""
        return {name: each.value for (name, part), each in self._readings.items() if not part}

    def shown(self, name: str, part: str = "", decimals: int = 0) -> str:
        """Return a number with its unit, or a dash."""
        reading = self.get(name, part)
        if reading is None:
            return ABSENT
        unit = reading.channel.unit.symbol
        number = self.language.number(float(reading.value), decimals)
        return f"{number}{NO_BREAK_SPACE}{unit}" if unit else number

    def word(self, name: str) -> str:
        """Return a state in words, with its number where no list knows it; empty if absent."""
        reading = self.get(name)
        if reading is None:
            return ""
        number = reading.code if reading.value == "unknown" else None
        return self.language.say(f"{name}.{reading.value}", number=number)

    def say(self, key: str) -> str:
        return self.language.say(key)


def _part(reading: Reading) -> str:
    return "" if reading.channel.kind in (Kind.STATE, Kind.REASON, Kind.TEXT) else reading.label


def _condition(view: ChargerView) -> str:
    if view.stats.up is None:
        return "waiting"
    if view.snapshot is not None:
        if not view.stats.up:
            return "stale"
        return "live" if view.snapshot.readings else "blank"
    return "never" if view.age is None else "unreachable"


def _state(values: _Values, condition: str, faulty: bool) -> tuple[str, str]:
    """Return the state in words and its mood."""
    car = values.get("car_state")
    if condition not in ("live", "stale"):
        return values.say(f"condition.{condition}"), _CONDITION_MOODS.get(condition, "unreachable")
    if car is None:
        return values.say("condition.blank"), "error" if faulty else "unknown"
    word = str(car.value)
    return values.word("car_state"), "error" if faulty else _MOODS.get(word, word)


def _why(values: _Values, condition: str) -> str:
    """Say why it charges or does not, as far as the charger tells (API v1 does not)."""
    if condition in ("waiting", "unreachable", "blank"):
        return values.say(f"condition.{condition}_help")
    reason, allowed, access = map(values.get, ("charging_reason", "charging_allowed", "access"))
    if reason is not None:
        return values.word("charging_reason")
    if allowed is None or values.api != 1:
        return ""
    if allowed.value:
        return values.say("why.allowed")
    waits = access is not None and access.value == "wait"
    return values.say("why.access_wait" if waits else "why.not_allowed")


def _fault(values: _Values) -> Fault | None:
    error = values.get("error")
    if error is None or error.value == "none":
        return None
    return Fault(
        values.say(f"error.{error.value}"),
        values.say("label.code").format(error.code),
        values.say(f"error_help.{error.value}"),
    )


def _tiles(values: _Values) -> Iterator[Tile]:
    say, language = values.say, values.language
    session, limit = values.number("session_energy"), values.number("session_energy_limit")
    note, share = (say("label.no_limit") if session is not None else ""), None
    if limit:
        note = say("label.session_limit").format(energy(limit, language).text)
        share = min(max((session or 0) / limit, 0), 1)
    yield Tile(say("label.session"), energy(session, language).text, note, share)
    allowed, by = ABSENT, ""
    found = current_limit(values.whole())
    if found is not None:
        allowed = f"{language.number(found.amperes)}{NO_BREAK_SPACE}A"
        sources = ", ".join(say(f"limit.{source}") for source in found.sources)
        by = say("label.limited_by").format(sources)
    may = values.get("charging_allowed")
    label = "current_then" if may is not None and may.value is False else "current"
    yield Tile(say(f"label.{label}"), allowed, by)
    yield Tile(say("label.phases"), values.shown("phases"), values.word("phase_mode"))
    total = energy(values.number("energy"), language).text
    yield Tile(say("label.total"), total, say("label.total_help") if total != ABSENT else "")


def _phases(values: _Values) -> Iterator[Phase]:
    for label in ("L1", "L2", "L3", "N"):
        closed = values.get("phase_contactor_closed", label)
        cells = (
            values.shown("phase_voltage", label),
            values.shown("phase_current", label, 1),
            power(values.number("phase_power", label), values.language).text,
            values.shown("phase_power_factor", label, 2),
        )
        if label != "N":
            yield Phase(label, cells, closed is None or closed.value is True)
        elif any(cell != ABSENT for cell in cells):
            yield Phase(label, cells, live=False)


def _temperatures(values: _Values) -> Iterator[Fact]:
    for sensor in SENSORS:
        if values.get("temperature", sensor) is not None:
            text = values.shown("temperature", sensor, 1)
            yield Fact(values.say(f"sensor.{sensor}"), text)


SENSORS = (
    "board",
    "type2_port",
    "grid_connector",
    "current_sensor",
    "type2_terminals",
    "mid_meter",
)


def _facts(values: _Values, view: ChargerView) -> Iterator[Fact]:
    for name, text in _DETAILS.items():
        reading = values.get(name)
        if reading is not None and reading.value != _NOT_WORTH_A_LINE.get(name):
            yield Fact(values.say(f"label.{_LABELS.get(name, name)}"), text(values, name))
    api = "" if values.api is None else f" (API{NO_BREAK_SPACE}v{values.api})"
    yield Fact(values.say("label.address"), f"{view.host}{api}")


def _error(values: _Values, name: str) -> str:
    reading = values.get(name)
    assert reading is not None
    return f"{values.say(f'error.{reading.value}')} ({reading.code})"


def _wifi(values: _Values, name: str) -> str:
    level = values.number(name)
    assert level is not None
    grade = "good" if level >= GOOD_WIFI_DBM else "fair" if level >= POOR_WIFI_DBM else "poor"
    return f"{values.shown(name)} ({values.say(f'wifi.{grade}')})"


def _frequency(values: _Values, name: str) -> str:
    return values.shown(name, decimals=2)


def _span(values: _Values, name: str) -> str:
    return duration(values.number(name) or 0)


def _text(values: _Values, name: str) -> str:
    reading = values.get(name)
    assert reading is not None
    return str(reading.value)


def _variant(values: _Values, name: str) -> str:
    return f"{_text(values, name)}{NO_BREAK_SPACE}kW"


_DETAILS: dict[str, Callable[[_Values, str], str]] = {
    "error": _error,
    "force_state": _Values.word,
    "cable_lock": _Values.word,
    "access": _Values.word,
    "logic_mode": _Values.word,
    "wifi_signal": _wifi,
    "grid_frequency": _frequency,
    "device_name": _text,
    "model": _text,
    "variant": _variant,
    "firmware": _text,
    "serial": _text,
    "uptime": _span,
}
"""Channel → how its line of details is said, in the page's order."""

_NOT_WORTH_A_LINE = {"force_state": "neutral"}
_LABELS = {"wifi_signal": "wifi", "grid_frequency": "frequency"}
