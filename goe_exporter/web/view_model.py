"""What the page shows of a charger: a view becomes texts in the reader's locale. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from goe_exporter.channels.snapshot import Reading
from goe_exporter.polling.view import ChargerView
from goe_exporter.web.advice import SILENT, TOPICS
from goe_exporter.web.charger_state import Fault, Values, charger_state
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


@dataclass(frozen=True)
class ChargerViewModel:
    """A charger as the templates render it.

    `condition` and `mood` are those of `ChargerState`. Without an answer, `advice` says what to
    check. `path` is the name, encoded as one segment of a URL path.
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


def view_model(view: ChargerView, locale: Locale) -> ChargerViewModel:
    """Return what the page shows of a charger."""
    values = Values(view, locale)
    state = charger_state(view, values)
    condition, age = state.condition, state.age
    return ChargerViewModel(
        name=view.name,
        path=quote(view.name, safe=""),
        condition=condition,
        mood=state.mood,
        state=state.text,
        why=_why(values, condition),
        failure=state.failure,
        age=age,
        age_text="" if age is None else duration(age),
        power=power(values.number("power"), locale),
        session=energy(values.number("session_energy"), locale).text,
        error=state.error,
        advice=tuple(_advice(values, view)) if condition in ("unreachable", "never") else (),
        tiles=tuple(_tiles(values, view.snapshot.api if view.snapshot else 0)),
        phases=tuple(_phases(values)),
        temperatures=tuple(_temperatures(values)),
        facts=tuple(_facts(values, view)),
    )


def _why(values: Values, condition: str) -> str:
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


def _advice(values: Values, view: ChargerView) -> Iterator[Advice]:
    for topic in TOPICS.get(view.stats.reason, SILENT):
        help_text = values.text(f"advice_help.{topic}").format(view.host)
        yield Advice(values.text(f"advice.{topic}"), help_text)


def _tiles(values: Values, api: int) -> Iterator[Tile]:
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


def _phase_tile(values: Values, api: int) -> Tile:
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


def _phases(values: Values) -> Iterator[Phase]:
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


def _temperatures(values: Values) -> Iterator[Fact]:
    for sensor in SENSORS:
        reading = values.get("temperature", sensor)
        if reading is not None:
            yield Fact(values.text(f"sensor.{sensor}"), values.quantity(reading, 1))


def _facts(values: Values, view: ChargerView) -> Iterator[Fact]:
    for name, describe in _DETAILS.items():
        reading = values.get(name)
        if reading is not None and reading.value != _HIDDEN.get(name):
            yield Fact(values.text(f"label.{name}"), describe(values, reading))
    number = view.snapshot.api if view.snapshot else view.api
    api = f" (API{NO_BREAK_SPACE}v{number})" if number else ""
    yield Fact(values.text("label.address"), f"{view.host}{api}")


def _wifi(values: Values, reading: Reading) -> str:
    level = float(reading.value)
    grade = "good" if level >= GOOD_WIFI_DBM else "fair" if level >= FAIR_WIFI_DBM else "poor"
    return f"{values.quantity(reading)} ({values.text(f'wifi.{grade}')})"


def _plain(_values: Values, reading: Reading) -> str:
    return str(reading.value)


_DETAILS: dict[str, Callable[[Values, Reading], str]] = {
    "error": lambda values, reading: values.text(f"error.{reading.value}", code=reading.code),
    "force_state": Values.state,
    "cable_lock": Values.state,
    "access": Values.state,
    "logic_mode": Values.state,
    "meter_certification": Values.state,
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
