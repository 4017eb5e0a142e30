"""What the page shows of a charger: a view becomes texts in the reader's locale. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from goe_exporter.channels.model import Kind
from goe_exporter.channels.snapshot import Reading
from goe_exporter.polling.view import ChargerView
from goe_exporter.web.advice import SILENT, TOPICS
from goe_exporter.web.current_limit import current_limit
from goe_exporter.web.locale import NO_BREAK_SPACE, Locale
from goe_exporter.web.units import ABSENT, Quantity, duration, energy, power

GOOD_WIFI_DBM, FAIR_WIFI_DBM = -67, -78
IN_USE_AMPERES = 0.5
"""More than a phase without a load shows."""

SENSORS = (
    "board",
    "type2_port",
    "grid_connector",
    "current_sensor",
    "type2_terminals",
    "mid_meter",
    "internal_1",
    "internal_2",
    "internal_3",
    "internal_4",
)
"""Temperature sensors in the page's order."""


class Tile(NamedTuple):
    """A highlighted value; `share` (0 to 1) is the length of its bar, None for no bar."""

    label: str
    value: str
    note: str
    share: float | None = None


class Phase(NamedTuple):
    """A row of the phase table; `live` is whether the car can draw power from it."""

    label: str
    values: tuple[str, ...]
    live: bool


class Fact(NamedTuple):
    """A label and its value, as listed under the details and the temperatures."""

    label: str
    value: str


class Advice(NamedTuple):
    """What to check of a charger that does not answer."""

    title: str
    help: str


class Fault(NamedTuple):
    """The charger's present error: name, code, and what to do about it."""

    title: str
    code: str
    help: str


@dataclass(frozen=True)
class ChargerViewModel:
    """A charger as the templates render it.

    `condition` is `live`, `stale` (the last poll failed, but the values are still recent), `blank`
    (the charger answers without readings), `unreachable`, `never` (it has not answered since the
    start) or `waiting` (not polled yet). Without an answer, `advice` says what to check. `mood`
    names an icon and a colour. `path` is the name, encoded as one segment of a URL path.
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
    advice: tuple[Advice, ...]
    tiles: tuple[Tile, ...]
    phases: tuple[Phase, ...]
    temperatures: tuple[Fact, ...]
    facts: tuple[Fact, ...]


_MOODS = {"waiting_for_car": "waiting", "initializing": "waiting"}
_CONDITION_MOODS = {"waiting": "waiting", "blank": "unknown"}


def view_model(view: ChargerView, locale: Locale) -> ChargerViewModel:
    """Return what the page shows of a charger."""
    values = _Values(view, locale)
    condition = _condition(view)
    error = _fault(values)
    state, mood = _state(values, condition, error is not None)
    # How old the values are while they are shown, and when the charger last answered after that.
    age = view.age if view.snapshot is None else view.snapshot_age
    failure = view.stats.reason if view.stats.up is False else ""
    return ChargerViewModel(
        name=view.name,
        path=quote(view.name, safe=""),
        condition=condition,
        mood=mood,
        state=state,
        why=_why(values, condition),
        failure=locale.text(f"failure.{failure}") if failure else "",
        age=age,
        age_text="" if age is None else duration(age),
        power=power(values.number("power"), locale),
        session=energy(values.number("session_energy"), locale).text,
        error=error,
        advice=tuple(_advice(values, view)) if condition in ("unreachable", "never") else (),
        tiles=tuple(_tiles(values, view.snapshot.api if view.snapshot else 0)),
        phases=tuple(_phases(values)),
        temperatures=tuple(_temperatures(values)),
        facts=tuple(_facts(values, view)),
    )


class _Values:
    """A snapshot's readings by channel and part, and their texts."""

    def __init__(self, view: ChargerView, locale: Locale) -> None:
        self.locale = locale
        self.text = locale.text
        self._readings: dict[tuple[str, str], Reading] = {
            (reading.channel.name, _part(reading)): reading for reading in view.readings
        }

    def get(self, name: str, part: str = "") -> Reading | None:
        return self._readings.get((name, part))

    def number(self, name: str, part: str = "") -> float | None:
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


def _state(values: _Values, condition: str, faulty: bool) -> tuple[str, str]:
    """Return the text of the charger's state, and its mood."""
    car = values.get("car_state")
    if condition not in ("live", "stale"):
        return values.text(f"condition.{condition}"), _CONDITION_MOODS.get(condition, "unreachable")
    if car is None:
        return values.text("condition.blank"), "error" if faulty else "unknown"
    name = str(car.value)
    return values.state(car), "error" if faulty else _MOODS.get(name, name)


def _why(values: _Values, condition: str) -> str:
    """Return why the charger charges or does not, as far as its channels tell."""
    if condition in ("waiting", "unreachable", "blank"):
        return values.text(f"condition.{condition}_help")
    reason, allowed, access = map(values.get, ("charging_reason", "charging_allowed", "access"))
    if reason is not None:
        return values.state(reason)
    if allowed is None:
        return ""
    if allowed.value:
        return values.text("why.allowed")
    waits = access is not None and access.value == "wait"
    return values.text("why.access_wait" if waits else "why.not_allowed")


def _fault(values: _Values) -> Fault | None:
    error = values.get("error")
    if error is None or error.value == "none":
        return None
    return Fault(
        values.text(f"error.{error.value}"),
        values.text("label.code").format(error.code),
        values.text(f"error_help.{error.value}"),
    )


def _advice(values: _Values, view: ChargerView) -> Iterator[Advice]:
    for topic in TOPICS.get(view.stats.reason, SILENT):
        help_text = values.text(f"advice_help.{topic}").format(view.host)
        yield Advice(values.text(f"advice.{topic}"), help_text)


def _tiles(values: _Values, api: int) -> Iterator[Tile]:
    text, locale = values.text, values.locale
    session, limit = values.number("session_energy"), values.number("session_energy_limit")
    note, share = (text("label.no_limit") if session is not None else ""), None
    if limit:
        note = text("label.session_limit").format(energy(limit, locale).text)
        share = min(max((session or 0) / limit, 0), 1)
    yield Tile(text("label.session"), energy(session, locale).text, note, share)
    current, limited_by = ABSENT, ""
    found = current_limit(values.without_parts())
    if found is not None:
        current = f"{locale.number(found.amperes)}{NO_BREAK_SPACE}A"
        sources = ", ".join(text(f"limit.{source}") for source in found.sources)
        limited_by = text("label.limited_by").format(sources)
    allowed = values.get("charging_allowed")
    blocked = allowed is not None and allowed.value is False
    yield Tile(text("label.current_then" if blocked else "label.current"), current, limited_by)
    yield _phase_tile(values, api)
    total = energy(values.number("energy"), locale).text
    yield Tile(text("label.total"), total, text("label.total_help") if total != ABSENT else "")


def _phase_tile(values: _Values, api: int) -> Tile:
    """Return the number of phases in use.

    API v1 only tells which phases are connected to the car; the currents show which it uses.
    """
    label, connected = values.text("label.phases"), values.number("phases")
    amperes = [values.number("phase_current", phase) for phase in ("L1", "L2", "L3")]
    measured = [current for current in amperes if current is not None]
    if api != 1 or not connected or not measured:
        return Tile(label, values.measured("phases"), values.state(values.get("phase_mode")))
    used = sum(current >= IN_USE_AMPERES for current in measured)
    return Tile(label, str(used), values.text("label.phases_in_use").format(connected, used))


def _phases(values: _Values) -> Iterator[Phase]:
    for label in ("L1", "L2", "L3", "N"):
        closed = values.get("phase_contactor_closed", label)
        cells = (
            values.measured("phase_voltage", label),
            values.measured("phase_current", label, 1),
            power(values.number("phase_power", label), values.locale).text,
            values.measured("phase_power_factor", label, 2),
        )
        if label != "N":
            yield Phase(label, cells, closed is None or closed.value is True)
        elif any(cell != ABSENT for cell in cells):
            yield Phase(label, cells, live=False)


def _temperatures(values: _Values) -> Iterator[Fact]:
    for sensor in SENSORS:
        reading = values.get("temperature", sensor)
        if reading is not None:
            yield Fact(values.text(f"sensor.{sensor}"), values.quantity(reading, 1))


def _facts(values: _Values, view: ChargerView) -> Iterator[Fact]:
    for name, describe in _DETAILS.items():
        reading = values.get(name)
        if reading is not None and reading.value != _HIDDEN.get(name):
            yield Fact(values.text(f"label.{name}"), describe(values, reading))
    number = view.snapshot.api if view.snapshot else view.api
    api = f" (API{NO_BREAK_SPACE}v{number})" if number else ""
    yield Fact(values.text("label.address"), f"{view.host}{api}")


def _wifi(values: _Values, reading: Reading) -> str:
    level = float(reading.value)
    grade = "good" if level >= GOOD_WIFI_DBM else "fair" if level >= FAIR_WIFI_DBM else "poor"
    return f"{values.quantity(reading)} ({values.text(f'wifi.{grade}')})"


def _plain(_values: _Values, reading: Reading) -> str:
    return str(reading.value)


_DETAILS: dict[str, Callable[[_Values, Reading], str]] = {
    "error": lambda values, reading: values.text(f"error.{reading.value}", code=reading.code),
    "force_state": _Values.state,
    "cable_lock": _Values.state,
    "access": _Values.state,
    "logic_mode": _Values.state,
    "meter_certification": _Values.state,
    "wifi_signal": _wifi,
    "grid_frequency": lambda values, reading: values.quantity(reading, 2),
    "device_name": _plain,
    "model": _plain,
    "variant": lambda _values, reading: f"{reading.value}{NO_BREAK_SPACE}kW",
    "firmware": _plain,
    "serial": _plain,
    "uptime": lambda _values, reading: duration(float(reading.value)),
}
"""Channel → the text of its value under the details, in the page's order."""

_HIDDEN = {"force_state": "neutral", "meter_certification": "none"}
"""Channel → the value that is not shown."""
