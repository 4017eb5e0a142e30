"""Random days of a simulated charger, and the sessions that the tracker finds in them.

What happens is random but depends on the seed only. The truth is kept beside it: when each car was
plugged in, by whom, and what the meter counted until it left.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger import api_v1
from goe_exporter.sessions.condenser import Condenser
from goe_exporter.sessions.memory import Memory
from goe_exporter.sessions.observation import Moment, Observation, observation
from goe_exporter.sessions.session import Correction, Session, Unassigned
from goe_exporter.sessions.tracker import Event, track
from goe_exporter.simulator.car import Car
from goe_exporter.simulator.charger import Charger
from goe_exporter.simulator.responses import status_v1, status_v2

INTERVAL = 5.0
START = 1_780_000_000.0
SAVE_SECONDS = 60.0
EVENTS = "plug plug unplug unplug phase reboot outage outage kill clock wait wait short".split()
NAMES = (
    "session_energy energy car_state plug_in_timestamp charging_reason phase_mode transaction"
    " phases cable_current uptime power"
).split()
ROWS = tuple(row for row in CHANNELS if row.name in NAMES)
KEYS = [key for row in ROWS for key in row.keys]

MODELS = {1: "V2", 2: "V4"}
"""The model of the charger by API, unless another one is given."""

METER_STEPS_WH = {"V2": 1_000, "V3": 100}
"""The steps of the meter on API v1 by model (docs/protocol.md §5.3)."""


def snapshot_of(charger: Charger, moment: Moment, api: int = 2) -> Snapshot:
    """Return a poll of the charger at this moment."""
    status = status_v2(charger, KEYS) if api == 2 else api_v1.status(status_v1(charger))
    boot_time = moment.time - charger.uptime_ms / 1000
    readings = decode(status, api, ROWS, boot_time).readings
    return Snapshot("garage", api, moment.time, 0.0, readings, boot_time=boot_time)


@dataclass
class Truth:
    """A car that was plugged in: when (s), the meter (Wh) at both ends, and whose card it was."""

    started: float
    card: int
    start_wh: float
    end_wh: float = 0.0


class Run:
    """One random day with `seed`; `outages` and kills of the exporter are optional.

    If it is `condensed`, polls that say nothing new are left out, as the bookkeeper does.
    """

    def __init__(
        self,
        seed: int,
        *,
        api: int = 2,
        model: str | None = None,
        outages: bool = True,
        events: int = 24,
        condensed: bool = False,
    ) -> None:
        self._model = model or MODELS[api]
        self.charger = Charger(self._model, seed=seed)
        self.truth: list[Truth] = []
        self.events: list[Event] = []
        self.api = api
        self._random = Random(seed)
        self._outages = outages
        self._error = 0.0
        self._errors = [(0.0, 0.0)]
        self._out_until = -1.0
        self._memory: Memory | None = None
        self._saved: tuple[str, int] = ("", 0)
        self._saved_at = 0.0
        self._due = False
        self._condensed = condensed
        self._condenser = Condenser()
        self.observations = 0
        self._go(30)
        for _ in range(events):
            self._happen(self._random.choice(EVENTS))
            self._go(self._random.choice([5, 30, 300, 1500]))
        if self.charger.car is not None:
            self._unplug()
        self._out_until = -1.0
        self._go(60)
        for seen in self._condenser.rest():
            self._track(seen)

    @property
    def memory(self) -> Memory:
        """What the tracker remembers at the end."""
        assert self._memory is not None
        return self._memory

    def _happen(self, what: str) -> None:
        random, charger = self._random, self.charger
        if what == "plug" and charger.car is None:
            self._plug(
                Car(
                    battery_wh=random.choice([2000, 20000]),
                    soc=random.random() * 0.8,
                    phases=random.choice([1, 3]),
                    wait_s=random.choice([5, 60]),
                )
            )
        elif what == "unplug" and charger.car is not None:
            self._unplug()
        elif what == "phase" and self.api == 2:
            charger.write("psm", random.choice([0, 1]))
        elif what == "reboot":
            charger.reboot()
            # What lccfi shows after a start with a car is not known.
            charger.left_idle_ms = 6000.0 if charger.car and random.random() < 0.7 else None
        elif what == "outage" and self._outages:
            self._out_until = charger.time_s + random.choice([10, 60, 600, 3000])
        elif what == "kill" and self._outages:
            self._out_until = charger.time_s + random.choice([5, 60, 600])
            self._kill()
        elif what == "clock":
            self._error += random.uniform(-30, 30)
            self._errors.append((charger.time_s, self._error))
        elif what == "short" and charger.car is not None:
            self._unplug()
            charger.advance(2)
            self._plug(Car(wait_s=5))

    def _plug(self, car: Car) -> None:
        charger = self.charger
        charger.plug(car)
        card = self._random.choice([1, 2])
        charger.transaction = card
        self.truth.append(Truth(charger.time_s, card, int(charger.energy_wh)))

    def _unplug(self) -> None:
        self.truth[-1].end_wh = int(self.charger.energy_wh)
        self.charger.unplug()

    def _wall(self) -> float:
        return START + self.charger.time_s + self._error

    def _go(self, seconds: float) -> None:
        end = self.charger.time_s + seconds
        while self.charger.time_s < end:
            self.charger.advance(INTERVAL)
            if self.charger.time_s >= self._out_until:
                self._poll()

    def _poll(self) -> None:
        now = self.charger.time_s
        if self._due or now - self._saved_at >= SAVE_SECONDS:
            self._save()
        moment = Moment(now, self._wall(), "boot", trusted=True)
        snapshot = snapshot_of(self.charger, moment, self.api)
        if self._condensed:
            seen = self._condenser.take(snapshot, moment, INTERVAL)
        else:
            seen = (observation(snapshot, moment, INTERVAL),)
        for each in seen:
            self._track(each)

    def _track(self, seen: Observation) -> None:
        self.observations += 1
        under_way = self._memory is not None and self._memory.session is not None
        self._memory, events = track("garage", "123456", self._memory, seen)
        self.events += events
        # As the bookkeeper does.
        self._due |= bool(events) or (self.memory.session is not None) != under_way

    def _save(self) -> None:
        if self._memory is not None:
            self._saved = self._memory.to_json(), len(self.events)
            self._saved_at = self.charger.time_s
            self._due = False

    def _kill(self) -> None:
        text, count = self._saved
        self._memory = Memory.from_json(text) if text else None
        del self.events[count:]
        self._condenser = Condenser()
        self._due = False

    @property
    def sessions(self) -> list[Session]:
        """The sessions that were booked."""
        return [event for event in self.events if isinstance(event, Session)]

    @property
    def unassigned_wh(self) -> int:
        """The energy in no session."""
        return sum(event.energy_wh for event in self.events if isinstance(event, Unassigned))

    @property
    def metered_wh(self) -> int:
        """The difference of the meter."""
        return self.memory.meter_wh - self.memory.first_wh

    @property
    def accounted_wh(self) -> int:
        """The energy in sessions, including one under way, and in no session."""
        booked = sum(session.energy_wh for session in self.sessions)
        under_way = self.memory.session.energy_wh if self.memory.session else 0
        return booked + under_way + self.unassigned_wh

    @property
    def true_wh(self) -> float:
        """The energy that all cars were charged with."""
        return sum(each.end_wh - each.start_wh for each in self.truth)

    def agrees(self) -> bool:
        """Return whether on API v1 the energy agrees with the meter and with the truth.

        Each may differ by 1 %, and a step of the meter for each beginning and end of a session.
        """
        step = METER_STEPS_WH[self._model]
        sessions = len(self.sessions) + (self.memory.session is not None)
        metered = 0.01 * self.metered_wh + 2 * step * sessions
        true = 0.01 * self.true_wh + 2 * step * len(self.truth)
        return abs(self.open_wh()) <= metered and abs(self.accounted_wh - self.true_wh) <= true

    def open_wh(self) -> int:
        """Return the energy by which the books do not close (Wh)."""
        corrected = sum(e.energy_wh for e in self.events if isinstance(e, Correction))
        return self.metered_wh - self.accounted_wh - corrected

    def exact(self) -> int:
        """Return how many sessions have the true beginning (1 cycle) and energy (2 Wh)."""
        return sum(
            any(
                self._began(truth, session)
                and abs(session.energy_wh - (truth.end_wh - truth.start_wh)) <= 2
                for truth in self.truth
            )
            for session in self.sessions
        )

    def _began(self, truth: Truth, session: Session) -> bool:
        """Return whether the session's beginning is right, by the clock then or corrected soon."""
        before = [error for time, error in self._errors if time <= truth.started][-1:]
        soon = [error for time, error in self._errors if 0 < time - truth.started < 3600]
        started = session.started - START - truth.started
        return any(abs(started - error) <= INTERVAL + 1 for error in before + soon)

    def wrong_card_wh(self) -> float:
        """Return the energy booked on another card than the one that was used."""
        true: Counter[int | None] = Counter()
        booked: Counter[int | None] = Counter()
        for each in self.truth:
            true[each.card] += each.end_wh - each.start_wh  # type: ignore[assignment]
        for session in self.sessions:
            booked[session.card] += session.energy_wh
        over = (booked[card] - true[card] for card in (1, 2))
        return sum(excess for excess in over if excess > 5)


@dataclass
class Total:
    """The figures of many runs; shares are of the true, booked or metered total."""

    not_closed: int = 0
    disagreeing: int = 0
    true: int = 0
    booked: int = 0
    exact: int = 0
    metered_wh: float = 0.0
    accounted_wh: float = 0.0
    true_wh: float = 0.0
    unassigned_wh: float = 0.0
    wrong_card_wh: float = 0.0

    def add(self, run: Run) -> None:
        """Add a run."""
        self.not_closed += run.open_wh() != 0
        self.disagreeing += not (run.api == 2 or run.agrees())
        self.true += len(run.truth)
        self.booked += len(run.sessions)
        self.exact += run.exact()
        self.metered_wh += run.metered_wh
        self.accounted_wh += run.accounted_wh
        self.true_wh += run.true_wh
        self.unassigned_wh += run.unassigned_wh
        self.wrong_card_wh += run.wrong_card_wh()

    def shares(self) -> dict[str, float]:
        """Return the figures in percent."""
        return {
            "booked": 100 * self.booked / self.true,
            "exact": 100 * self.exact / self.booked,
            "accounted": 100 * self.accounted_wh / self.true_wh,
            "unassigned": 100 * self.unassigned_wh / self.metered_wh,
            "wrong_card": 100 * self.wrong_card_wh / self.metered_wh,
        }


def total(seeds: range, *, api: int = 2, model: str | None = None, outages: bool = True) -> Total:
    """Return the figures of a run per seed."""
    found = Total()
    for seed in seeds:
        found.add(Run(seed, api=api, model=model, outages=outages))
    return found
