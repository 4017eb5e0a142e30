"""What a sink shows of a charger's sessions: their counts, the last one and the one under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from goe_exporter.sessions.memory import Open
from goe_exporter.sessions.session import Session, Unassigned

MAX_CARD = 10
"""A charger has up to ten cards."""

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of the sessions of a charger.

    `closed` counts the closed sessions in the store by `card_label`, `last` is the one that ended
    last, and `unassigned_wh` the energy in no session. `under_way` is the session of the car that
    is plugged in, at most a minute old.
    """

    closed: Mapping[str, int] = field(default_factory=dict)
    last: Session | None = None
    unassigned_wh: int = 0
    under_way: Open | None = None

    def counted(self, record: object) -> Tally:
        """Return the tally after a record was written to the store."""
        if isinstance(record, Unassigned):
            return replace(self, unassigned_wh=self.unassigned_wh + record.energy_wh)
        if not isinstance(record, Session):
            return self
        card = card_label(record.card)
        closed = {**self.closed, card: self.closed.get(card, 0) + 1}
        is_last = self.last is None or record.ended >= self.last.ended
        return replace(self, closed=closed, last=record if is_last else self.last)


def card_label(card: int | None) -> str:
    """Return "0" (no card) to "10", else "unknown", to limit the number of label values."""
    return str(card) if card is not None and 0 <= card <= MAX_CARD else UNKNOWN
