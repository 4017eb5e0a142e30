"""Chargers as the page sees them, made without polling."""

from __future__ import annotations

import random
from collections.abc import Sequence

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.polling.view import ChargerView, Poll, PollStats
from goe_exporter.web.history import History

HOSTILE = "<img src=x onerror=alert(1)>\"'&" + "x" * 300
CHARGING = {
    "nrg": [229, 230, 231, 1, 15.5, 15.6, 15.4, 3480, 3580, 3470, 0, 10530, 99, 99, 99, 0],
    "eto": 4321000,
    "wh": 3220.5,
    "dwo": 12000,
    "car": 2,
    "err": 0,
    "modelStatus": 15,
    "alw": True,
    "pha": [True] * 6,
    "amp": 16,
    "acu": 16,
    "cbl": 32,
    "tma": [27.2, 28.6],
    "fwv": "56.9",
    "rssi": -61,
}
IDLE = CHARGING | {"car": 1, "nrg": [230, 230, 230, 1, *[0] * 12], "pha": [False] * 3 + [True] * 3}
BROKEN = IDLE | {"car": 5, "err": 8, "modelStatus": 26, "alw": False, "acu": None}


def shown(name: str, status: dict[str, object] | None, *, age: float | None = 1.0) -> ChargerView:
    """Return a charger as the page sees it: with a status, or without an answer for `age` s."""
    if status is None:
        stats = PollStats(up=False, reason="timeout", polls=9, failures_in_row=9)
        return ChargerView(name, "192.0.2.1", stats, None, age)
    snapshot = Snapshot(name, 2, 1_750_000_000.0, 0.0, decode(status, 2, CHANNELS).readings)
    return ChargerView(name, "192.0.2.1", PollStats(up=True, polls=9), snapshot, age)


def an_hour(names: Sequence[str]) -> History:
    """Return a history with a full hour of noisy values and a gap in the middle."""
    clock = [0.0]
    history = History(clock=lambda: clock[0])
    noise = random.Random(1)
    for row in range(720):
        for name in names:
            nrg = [noise.gauss(value, value / 200) for value in CHARGING["nrg"]]  # type: ignore[attr-defined]
            status = CHARGING | {"nrg": nrg, "tma": [27 + noise.random(), 29 + noise.random()]}
            snapshot = Snapshot(name, 2, 0.0, 0.0, decode(status, 2, CHANNELS).readings)
            history.take(Poll(name, "", 0.0, None if 350 < row < 360 else snapshot))
        clock[0] += 5
    clock[0] -= 2.5
    return history
