"""The first observation of a charger, which opens its books."""

from __future__ import annotations

from goe_exporter.sessions.energy import since_plug_in, spread
from goe_exporter.sessions.memory import Memory, Open
from goe_exporter.sessions.observation import Observation
from goe_exporter.sessions.step import BOOT_SECONDS


def first_memory(seen: Observation) -> Memory | None:
    """Open the books: now, or at the beginning of the session under way; None without a meter."""
    if seen.meter_wh is None:
        return None
    now = seen.moment.time
    if not seen.plugged:
        return Memory(now, seen.meter_wh, seen, mark=seen.mark)
    energy = round(min(since_plug_in(seen), seen.meter_wh))
    since = seen.since_plug_in
    started = now if since is None else now - since
    start_wh = seen.meter_wh - energy
    session = Open(
        seen.api,
        started,
        start_wh,
        spread(energy, started, now),
        energy,
        seen.card if seen.charging else None,
        frozenset({"begin_inferred" if is_plug_in(seen) else "start_not_seen"}),
        unobserved_wh=energy,
        unobserved_seconds=now - started,
        counter_wh=energy,
        meter_wh=energy,
    )
    return Memory(started, start_wh, seen, mark=seen.mark, session=session)


def is_plug_in(seen: Observation) -> bool:
    """Return whether the charger reports a plug-in time that is not that of its own start."""
    return seen.mark is not None and seen.mark >= BOOT_SECONDS
