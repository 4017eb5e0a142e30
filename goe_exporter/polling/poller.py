"""One charger's refresh cycle: ask, decode, keep the snapshot and the vitals.

A `Collector` turns its charger's answers into snapshots, one a cycle. It never raises on what a
charger does: a failed poll is counted by its reason, a bad value by its key (DESIGN §3).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple, Protocol

from goe_exporter.channels.decode import decode
from goe_exporter.channels.model import Answer, ChargerView, Cycle, Reading, Snapshot, Vitals
from goe_exporter.channels.table import CHANNELS
from goe_exporter.errors import ChargerError
from goe_exporter.logs import logger

FILTER_LIMIT = 35
"""Keys in one request; longer filters reset the connection on some firmware (PROTOCOL.md §1)."""

SLOW_SECONDS = 60.0
STALE_INTERVALS = 3
FAILURES_BEFORE_BACK_OFF = 3
LONGEST_BACK_OFF_SECONDS = 60.0

LIVE_CHANNELS = tuple(channel for channel in CHANNELS if not channel.slow)
SLOW_CHANNELS = tuple(channel for channel in CHANNELS if channel.slow)
LIVE_KEYS = tuple(dict.fromkeys(key for channel in LIVE_CHANNELS for key in channel.keys))
SLOW_KEYS = tuple(dict.fromkeys(key for channel in SLOW_CHANNELS for key in channel.keys))
SLOW_ROOM = FILTER_LIMIT - len(LIVE_KEYS)

_log = logger(__name__)


class StatusClient(Protocol):
    """What a collector needs of a client."""

    def status(self, keys: tuple[str, ...]) -> Answer:
        """Return the charger's answer for `keys`, or raise `ChargerError`."""


class _State(NamedTuple):
    """What a view is made of; replaced as one, so that a reader never sees half a cycle."""

    vitals: Vitals
    snapshot: Snapshot | None


class Collector:
    """Polls one charger, named `name` for the sinks and reached through `client`.

    `interval_seconds` is the refresh interval; `clock` is monotonic, `wall` tells the Unix time.
    It and the client may be exchanged at any time. `sink` takes every cycle, failed ones too.
    `cycle` is called by one thread at a time, `view` by any.
    """

    def __init__(
        self,
        name: str,
        host: str,
        client: StatusClient,
        interval_seconds: float = 5.0,
        *,
        sink: Callable[[Cycle], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.host = host
        self.interval_seconds = interval_seconds
        self.client = client
        self._clock = clock
        self._wall = wall
        self._slow = _SlowKeys()
        self._state = _State(Vitals(), None)
        self._sink = sink
        self._serial = ""
        self._device: tuple[int, object] | None = None

    def cycle(self) -> None:
        """Poll once, keep what came of it, and hand it to the sink."""
        started = self._clock()
        try:
            answer, keys = self._ask(started)
        except ChargerError as error:
            self._failed(error, self._clock() - started)
        else:
            self._succeeded(answer, keys, started)
        if self._sink is not None:
            self._sink(self.last_cycle())

    def _ask(self, started: float) -> tuple[Answer, tuple[str, ...]]:
        """Return the charger's answer and the keys asked for: the live ones and some slow ones.

        Where cycles are rare, the slow keys that do not fit are asked for in a second request.
        """
        due = self._slow.due(started)
        keys = LIVE_KEYS + due[:SLOW_ROOM]
        answer, rest = self.client.status(keys), due[SLOW_ROOM:]
        if not rest or answer.api == 1 or self.interval_seconds < SLOW_SECONDS:
            return answer, keys
        more = self.client.status(rest)
        return Answer(answer.api, answer.status | more.status), keys + rest

    @property
    def complete(self) -> bool:
        """Whether every slow key has been asked for too."""
        answered = self._state.snapshot
        return answered is not None and (answered.api == 1 or not self._slow.due(self._clock()))

    @property
    def wait_seconds(self) -> float:
        """How long to wait for the next poll: the interval, doubled per failure from the third."""
        excess = self._state.vitals.failures_in_row - FAILURES_BEFORE_BACK_OFF + 1
        longest = max(LONGEST_BACK_OFF_SECONDS, self.interval_seconds)
        return min(self.interval_seconds * 2.0 ** min(max(excess, 0), 16), longest)

    def view(self) -> ChargerView:
        """Return what a sink may show now: no snapshot older than three intervals."""
        vitals, snapshot = self._state
        age = None if snapshot is None else self._clock() - snapshot.taken
        if age is None or age > STALE_INTERVALS * self.interval_seconds:
            snapshot = None
        return ChargerView(self.name, self.host, vitals, snapshot, age, self.interval_seconds)

    def last_cycle(self) -> Cycle:
        """Return what came of the cycle that ended last."""
        vitals, snapshot = self._state
        if not vitals.up or snapshot is None:
            return Cycle(self.name, self._serial, self._wall(), None)
        for reading in snapshot.readings:
            if reading.channel.name == "serial":
                self._serial = str(reading.value)
        return Cycle(self.name, self._serial, snapshot.time, snapshot)

    def _succeeded(self, answer: Answer, keys: tuple[str, ...], started: float) -> None:
        now = self._clock()
        device = (answer.api, answer.status.get("sse"))
        if self.view().snapshot is None or device != self._device:
            self._slow.forget()
        self._device = device
        readings, failed = self._decode(answer, keys, now)
        snapshot = Snapshot(self.name, answer.api, self._wall(), now, readings)
        before = self._state.vitals
        vitals = replace(
            before,
            up=True,
            reason="",
            message="",
            polls=before.polls + 1,
            failures_in_row=0,
            decode_failures=_counted(before.decode_failures, failed),
            last_success=snapshot.time,
            last_duration=now - started,
        )
        self._state = _State(vitals, snapshot)
        if before.up is False:
            _log.info("charger answers again", charger=self.name, failures=before.failures_in_row)
        for key in failed - before.decode_failures.keys():
            _log.warning("unreadable value", charger=self.name, key=key)

    def _decode(
        self, answer: Answer, keys: tuple[str, ...], now: float
    ) -> tuple[tuple[Reading, ...], frozenset[str]]:
        """Decode the live rows of this answer and the slow rows of the last minute's answers."""
        if answer.api == 1:
            return decode(answer.status, api=1)
        live = decode(answer.status, 2, LIVE_CHANNELS)
        failed = live.failed
        if keys[len(LIVE_KEYS) :]:
            self._slow.answered(keys[len(LIVE_KEYS) :], answer.status, now)
            slow = decode(self._slow.status, 2, SLOW_CHANNELS)
            self._slow.readings = slow.readings
            failed |= slow.failed & answer.status.keys()
        return live.readings + self._slow.readings, failed

    def _failed(self, error: ChargerError, duration_seconds: float) -> None:
        before, snapshot = self._state
        vitals = replace(
            before,
            up=False,
            reason=error.reason,
            message=str(error),
            polls=before.polls + 1,
            failures_in_row=before.failures_in_row + 1,
            failures=_counted(before.failures, [error.reason]),
            last_duration=duration_seconds,
        )
        self._state = _State(vitals, snapshot)
        if before.up is not False:
            _log.warning("charger fails", charger=self.name, reason=error.reason, error=str(error))


class _SlowKeys:
    """When each slow key was last asked for, and what the charger said."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drop what another charger, or this one before an outage, has said."""
        self.status: dict[str, object] = {}
        self.readings: tuple[Reading, ...] = ()
        self._asked = dict.fromkeys(SLOW_KEYS, float("-inf"))

    def due(self, now: float) -> tuple[str, ...]:
        """Return the keys to ask for now, longest unasked first."""
        if now - min(self._asked.values()) < SLOW_SECONDS:
            return ()
        due = [key for key, asked in self._asked.items() if now - asked >= SLOW_SECONDS]
        return tuple(sorted(due, key=self._asked.__getitem__))

    def answered(self, keys: Iterable[str], status: Mapping[str, object], now: float) -> None:
        """Keep the answer for `keys`; what the charger did not give is gone."""
        for key in keys:
            self._asked[key] = now
            self.status[key] = status.get(key)


def _counted(counts: Mapping[str, int], keys: Iterable[str]) -> Mapping[str, int]:
    """Return `counts` with one more of each of `keys`."""
    counted = dict(counts)
    for key in keys:
        counted[key] = counted.get(key, 0) + 1
    return counted
