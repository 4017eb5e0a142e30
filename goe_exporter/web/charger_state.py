"""What a charger is doing: its readings as texts, its condition, its state and its error. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from goe_exporter.channels.model import Kind
from goe_exporter.channels.snapshot import Reading
from goe_exporter.polling.view import ChargerView
from goe_exporter.web.locale import NO_BREAK_SPACE, Locale
from goe_exporter.web.units import ABSENT


class Fault(NamedTuple):
    """The charger's present error: name, code, and what to do about it."""

    title: str
    code: str
    help: str


class ChargerState(NamedTuple):
    """What a charger is doing, as texts.

    `condition` is `live`, `stale` (the last poll failed, but the values are still recent), `blank`
    (the charger answers without readings), `unreachable`, `never` (it has not answered since the
    start) or `waiting` (not polled yet). `mood` names an icon and a colour. `failure` is why the
    last poll failed, "" if it did not. `age` is the age of the values in seconds while they are
    shown, and after that of the last answer.
    """

    condition: str
    mood: str
    text: str
    error: Fault | None
    failure: str
    age: float | None


_MOODS = {"waiting_for_car": "waiting", "initializing": "waiting"}
_CONDITION_MOODS = {"waiting": "waiting", "blank": "unknown"}


def charger_state(view: ChargerView, values: Values) -> ChargerState:
    """Return what a charger is doing; `values` are its readings."""
    condition, error = _condition(view), _fault(values)
    text, mood = _state(values, condition, error is not None)
    failure = view.stats.reason if view.stats.up is False else ""
    return ChargerState(
        condition,
        mood,
        text,
        error,
        values.text(f"failure.{failure}") if failure else "",
        view.age if view.snapshot is None else view.snapshot_age,
    )


class Values:
    """A snapshot's readings by channel and part, and their texts."""

    def __init__(self, view: ChargerView, locale: Locale) -> None:
        self.locale = locale
        self.text = locale.text
        self._readings: dict[tuple[str, str], Reading] = {
            (reading.channel.name, _part(reading)): reading for reading in view.readings
        }

    def get(self, name: str, part: str = "") -> Reading | None:
        """Return a reading, None if it is absent."""
        return self._readings.get((name, part))

    def number(self, name: str, part: str = "") -> float | None:
        """Return a reading's number, None if it is absent."""
        reading = self.get(name, part)
        return None if reading is None else float(reading.value)

    def without_parts(self) -> Mapping[str, float | bool | str]:
        """Return the values of channels without parts."""
        return {name: each.value for (name, part), each in self._readings.items() if not part}

    def measured(self, name: str, part: str = "", decimals: int = 0) -> str:
        """Return a number with its unit, or a dash if it is absent."""
        reading = self.get(name, part)
        return ABSENT if reading is None else self.quantity(reading, decimals)

    def quantity(self, reading: Reading, decimals: int = 0) -> str:
        """Return a reading's number with its unit."""
        unit = reading.channel.unit.symbol
        number = self.locale.number(float(reading.value), decimals)
        return f"{number}{NO_BREAK_SPACE}{unit}" if unit else number

    def state(self, reading: Reading | None) -> str:
        """Return the text of a state, with its code if the code is unknown; empty if absent."""
        if reading is None:
            return ""
        code = reading.code if reading.value == "unknown" else None
        return self.text(f"{reading.channel.name}.{reading.value}", code=code)


def _part(reading: Reading) -> str:
    return "" if reading.channel.kind in (Kind.STATE, Kind.REASON, Kind.TEXT) else reading.label


def _condition(view: ChargerView) -> str:
    if view.stats.up is None:
        return "waiting"
    if view.snapshot is None:
        return "never" if view.age is None else "unreachable"
    if not view.stats.up:
        return "stale"
    return "live" if view.snapshot.readings else "blank"


def _state(values: Values, condition: str, faulty: bool) -> tuple[str, str]:
    """Return the text of the charger's state, and its mood."""
    car = values.get("car_state")
    if condition not in ("live", "stale"):
        return values.text(f"condition.{condition}"), _CONDITION_MOODS.get(condition, "unreachable")
    if car is None:
        return values.text("condition.blank"), "error" if faulty else "unknown"
    name = str(car.value)
    return values.state(car), "error" if faulty else _MOODS.get(name, name)


def _fault(values: Values) -> Fault | None:
    error = values.get("error")
    if error is None or error.value == "none":
        return None
    return Fault(
        values.text(f"error.{error.value}"),
        values.text("label.code").format(error.code),
        values.text(f"error_help.{error.value}"),
    )
