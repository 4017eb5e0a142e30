"""Closed sessions as points in InfluxDB (docs/influxdb.md): measurement `goe_session`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from goe_exporter.influx import line_protocol
from goe_exporter.influx.agent import Agent
from goe_exporter.service.config import RunConfig
from goe_exporter.sessions.session import Session
from goe_exporter.sessions.tally import card_label

MEASUREMENT = "goe_session"
NUMBERS: Mapping[str, Callable[[Session], float | None]] = {
    "energy_wh": lambda session: session.energy_wh,
    "meter_start_wh": lambda session: session.meter_start_wh,
    "meter_end_wh": lambda session: session.meter_end_wh,
    "plugged_s": lambda session: session.seconds,
    "charging_s": lambda session: session.charging_seconds,
    "max_power_w": lambda session: session.max_power_w,
    "unobserved_s": lambda session: session.unobserved_seconds,
    "start_s": lambda session: session.started,
}
TEXTS = ("id", "flags", "card_name", "charger_name")
FIELDS = (*NUMBERS, *TEXTS)


class SessionPoints:
    """Puts the points of closed sessions into the queue of `agent`.

    `config` returns the present configuration, whose labels, tags and names of cards they get.
    """

    def __init__(self, agent: Agent, config: Callable[[], RunConfig]) -> None:
        self._agent = agent
        self._config = config

    def line(self, session: Session) -> str:
        """Return a session's point, as it is from now on."""
        config = self._config()
        labels = (each.labels for each in config.chargers if each.name == session.charger)
        tags = config.influxdb.tags if config.influxdb is not None else {}
        return line(session, next(labels, {}), tags, config.cards)

    def take(self, lines: Sequence[str]) -> int:
        """Accept points; return how many of them, from the first on, are on disk."""
        return self._agent.take_lines(lines)


def line(
    session: Session,
    labels: Mapping[str, str],
    tags: Mapping[str, str],
    cards: Mapping[str, str],
) -> str:
    """Return a session's point in line protocol, with its end as timestamp.

    The tags are `charger`, `serial`, `card` ("0" to "10", or "unknown") and those of the
    configuration, without `labels` and `tags` that have the name of a field, which InfluxDB 3
    rejects. `cards` holds the names of cards by number.
    """
    card = card_label(session.card)
    own = {"charger": session.charger, "serial": session.serial, "card": card}
    values = {name: number(session) for name, number in NUMBERS.items()}
    fields = [f"{name}={float(value)!r}" for name, value in values.items() if value is not None]
    texts = {"id": session.id, "flags": " ".join(session.flags)}
    if card in cards:
        texts["card_name"] = cards[card]
    if line_protocol.tag_text(session.charger) != session.charger:
        texts["charger_name"] = session.charger
    fields += [f"{name}={line_protocol.string(text)}" for name, text in texts.items()]
    labels, tags = (
        {key: text for key, text in each.items() if line_protocol.tag_text(key) not in FIELDS}
        for each in (labels, tags)
    )
    series = line_protocol.series(MEASUREMENT, {**labels, **own}, tags)
    return f"{series} {','.join(fields)} {line_protocol.milliseconds(session.ended)}"
