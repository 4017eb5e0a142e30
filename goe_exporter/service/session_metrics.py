"""The metrics of charging sessions: a new one is a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from goe_exporter.channels.table import WH
from goe_exporter.prometheus.families import Family, labelled
from goe_exporter.sessions.memory import Open
from goe_exporter.sessions.session import Session
from goe_exporter.sessions.tally import Tally

UNDER_WAY: tuple[tuple[str, str, Callable[[Open], float]], ...] = (
    ("metered_energy_joules", "Energy of the session under way, from the meter.",
     lambda session: session.energy_wh * WH.factor),
    ("start_timestamp_seconds", "Unix time at which the session under way began.",
     lambda session: session.started),
    ("charging_seconds", "Time in which the car charged in the session under way.",
     lambda session: session.charging_seconds),
)  # fmt: skip
LAST: tuple[tuple[str, str, Callable[[Session], float]], ...] = (
    ("energy_joules", "Energy of the last closed session.",
     lambda session: session.energy_wh * WH.factor),
    ("end_timestamp_seconds", "Unix time at which the last closed session ended.",
     lambda session: session.ended),
    ("duration_seconds", "Time for which a car was plugged in, in the last closed session.",
     lambda session: session.seconds),
    ("charging_seconds", "Time in which the car charged in the last closed session.",
     lambda session: session.charging_seconds),
)  # fmt: skip


def chargers(tallies: Mapping[str, Tally], names: Iterable[str]) -> Iterator[Family]:
    """Yield the families of the chargers with these names, as far as they were tracked."""
    found = {name: tallies[name] for name in names if name in tallies}
    closed = (
        ({"charger": name, "card": card}, count)
        for name, tally in found.items()
        for card, count in tally.closed.items()
    )
    yield from labelled("counter", "goe_sessions", "Closed charging sessions by card.", closed)
    for suffix, help_text, present in UNDER_WAY:
        under_way = (
            ({"charger": name}, present(tally.under_way))
            for name, tally in found.items()
            if tally.under_way is not None
        )
        yield from labelled("gauge", f"goe_session_{suffix}", help_text, under_way)
    for suffix, help_text, former in LAST:
        last = (
            ({"charger": name}, former(tally.last))
            for name, tally in found.items()
            if tally.last is not None
        )
        yield from labelled("gauge", f"goe_last_session_{suffix}", help_text, last)
    help_text = "Energy that the meter counted in no charging session."
    unassigned = (
        ({"charger": name}, tally.unassigned_wh * WH.factor) for name, tally in found.items()
    )
    yield from labelled("counter", "goe_unassigned_energy_joules", help_text, unassigned)
