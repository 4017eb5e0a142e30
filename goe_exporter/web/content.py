"""What the web application shows, as functions that return its present state."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.channels.table import CHARGER
from goe_exporter.control.vitals import SurplusVitals
from goe_exporter.polling.view import ChargerView
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.sessions.settings import SessionSettings
from goe_exporter.web.history import History


class SessionLog(NamedTuple):
    """Charging sessions: `settings` returns where they are stored, `cards` the names by number.

    `wall` returns the Unix time.
    """

    settings: Callable[[], SessionSettings]
    cards: Callable[[], Mapping[str, str]]
    wall: Callable[[], float] = time.time


@dataclass(frozen=True)
class Content:
    """The devices that `views` returns, what `exposition` renders, and what else there is.

    `history` has the last hour; without one there is no page and no API of the chargers. `influx`
    returns the state of the delivery to InfluxDB, and `surplus` that of charging with the surplus;
    both are None without. `fault` returns what is wrong with the exporter, "" if nothing is.
    `finder` returns a device by its name; without it, `views` is searched. `sessions` is None
    unless charging sessions are shown.
    """

    views: Callable[[], Sequence[ChargerView]]
    exposition: Exposition
    history: History | None = None
    influx: Callable[[], Mapping[str, object]] | None = None
    fault: Callable[[], str] = lambda: ""
    finder: Callable[[str], ChargerView | None] | None = None
    surplus: Callable[[], SurplusVitals] | None = None
    sessions: SessionLog | None = None

    def find(self, name: str) -> ChargerView | None:
        """Return the device with a name, None if there is none."""
        if self.finder is not None:
            return self.finder(name)
        return next((view for view in self.views() if view.name == name), None)

    def chargers_and_controllers(self) -> tuple[list[ChargerView], list[ChargerView]]:
        """Return the chargers, and the Controllers."""
        views = self.views()
        chargers = [view for view in views if view.table is CHARGER]
        return chargers, [view for view in views if view.table is CONTROLLER]

    def control_of(self, view: ChargerView) -> SurplusVitals | None:
        """Return what controls a charger with the surplus, None if nothing does."""
        vitals = self.surplus() if self.surplus is not None else None
        return vitals if vitals is not None and vitals.charger == view.name else None
