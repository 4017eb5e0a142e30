"""Polling one charger: request, decode, keep the snapshot and the statistics.

A poll never raises for what a charger does: a failed poll is counted by reason, an undecodable
value by key.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from functools import cache
from itertools import compress
from operator import itemgetter
from typing import NamedTuple, Protocol

from goe_exporter.channels.decode import Decoder
from goe_exporter.channels.model import Channel, Kind, Table
from goe_exporter.channels.readers import MAX_UPTIME_MS
from goe_exporter.channels.snapshot import Answer, Reading, Snapshot, Status
from goe_exporter.channels.table import CHARGER
from goe_exporter.errors import ChargerError
from goe_exporter.polling.charger_log import ChargerLog
from goe_exporter.polling.meters import Meters
from goe_exporter.polling.slow_rows import SlowRows, keys_of
from goe_exporter.polling.view import ChargerView, Poll, PollStats
from goe_exporter.transport.steps import Exchange, answered

MAX_FILTER_KEYS = 35
"""Some firmware resets the connection on longer filters (docs/protocol.md §1)."""

MAX_SLOW_SECONDS = 120.0
"""Longest time between two requests of a slow key while polls succeed."""

SAME_BOOT_SECONDS = 5.0
STALE_INTERVALS = 3
FAILURES_BEFORE_BACK_OFF = 3
MAX_BACK_OFF_SECONDS = 60.0

_CHANNEL = itemgetter(0)

Keys = tuple[str, ...]

Steps = Generator[Keys, Answer, None]
"""A poll that yields the keys that it needs, and is sent the answer or a `ChargerError`."""


class StatusClient(Protocol):
    """The part of a client that polling needs."""

    def status(self, keys: Keys) -> Answer:
        """Return the charger's answer for `keys`, or raise `ChargerError`."""

    def begin(self, keys: Keys) -> Exchange[Answer] | None:
        """Return the same as requests for a loop; None if a thread must call `status`."""


class _State(NamedTuple):
    """The content of a view; replaced as a whole, so that no reader sees half a poll."""

    stats: PollStats
    snapshot: Snapshot | None
    identity: tuple[Reading, ...] = ()


class _Rows(NamedTuple):
    """The rows of every poll, the slow rows, and the rows of texts, some with their keys."""

    live: tuple[Channel, ...]
    live_keys: Keys
    slow: tuple[Channel, ...]
    texts: frozenset[Channel]
    text_keys: Keys


@cache
def _rows_of(channels: tuple[Channel, ...]) -> _Rows:
    """Return the rows of a table; one value for all chargers."""
    live = tuple(channel for channel in channels if not channel.slow)
    slow = tuple(channel for channel in channels if channel.slow)
    texts = frozenset(channel for channel in channels if channel.kind is Kind.TEXT)
    return _Rows(live, keys_of(live), slow, texts, keys_of(texts))


class Poller:
    """Polls the charger `name` through `client`, and keeps its latest snapshot.

    `serial` is the serial number that the client checks, or ""; `deadline_seconds` is the client's
    time limit for a status. `table` is that of the device; `clock` is monotonic, `wall`
    returns the Unix time. `sink` takes every poll, failed ones too; with `sink_waits` it may wait,
    for example for a disk. `log` is that of an earlier poller of the same name. The interval, the
    client and the labels may be replaced at any time. Only one poll may be in progress at a time;
    any thread may call `view`.
    """

    def __init__(
        self,
        name: str,
        host: str,
        client: StatusClient,
        interval_seconds: float = 5.0,
        *,
        serial: str = "",
        deadline_seconds: float = 4.0,
        table: Table = CHARGER,
        sink: Callable[[Poll], None] | None = None,
        sink_waits: bool = False,
        log: ChargerLog | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.host = host
        self.interval_seconds = interval_seconds
        self.client = client
        self.serial = serial
        self._deadline_seconds = deadline_seconds
        self.labels: Mapping[str, str] = {}
        self.table = table
        self.log = log or ChargerLog(name, clock, table.device)
        self._clock = clock
        self._wall = wall
        rows = _rows_of(table.channels)
        self._live_keys, self._texts, self._text_keys = rows.live_keys, rows.texts, rows.text_keys
        self._identified: tuple[object, ...] = ()
        self._live, self._all = Decoder(rows.live), Decoder(table.channels)
        self._slow = SlowRows(rows.slow)
        self._meters = Meters(table.channels)
        self._boot_time: float | None = None
        self._state = _State(PollStats(), None)
        self._sink = sink
        self.sink_waits = sink_waits
        self._device: tuple[int, object] | None = None
        self._complete_answer = False

    def poll(self) -> None:
        """Poll once, keep the result, and hand it to the sink; waits for the answers."""
        answered(self.steps(), self.client.status)
        self.deliver()

    def deliver(self) -> None:
        """Hand the result of the last poll to the sink."""
        if self._sink is not None:
            self._sink(self.last_poll())

    def steps(self) -> Steps:
        """Poll once and keep the result, but wait for nothing: the answers are sent in."""
        started = self._clock()
        try:
            answer, keys = yield from self._request(started)
        except ChargerError as error:
            self._failed(error, self._clock() - started)
        else:
            self._succeeded(answer, keys, started)

    def exchange(self, steps: Steps) -> Exchange[Keys]:
        """Run the steps of a poll in a loop; return the keys with which a thread must continue.

        They are empty if the poll is complete.
        """
        client = self.client
        try:
            keys = next(steps)
            while (status := client.begin(keys)) is not None:
                try:
                    answer = yield from status
                except ChargerError as error:
                    keys = steps.throw(error)
                else:
                    keys = steps.send(answer)
        except StopIteration:
            return ()
        return keys

    def _request(self, started: float) -> Generator[Keys, Answer, tuple[Answer, Keys]]:
        """Return the charger's answer, and the slow keys that were requested with the live ones.

        With a long interval, further requests fetch the slow keys that do not fit into the first.
        """
        fitting = MAX_FILTER_KEYS - len(self._live_keys)
        fits = math.ceil(len(self._slow.keys) / fitting) * self.interval_seconds <= MAX_SLOW_SECONDS
        due = self._slow.due(started, fitting if fits else len(self._slow.keys))
        answer, rest = (yield self._live_keys + due[:fitting]), due[fitting:]
        before = None if self._device is None else self._device[1]
        if before not in (None, self._device_of(answer)[1]) and "typ" not in answer.status:
            yield ("typ",)  # another serial; raises if it is no charger
        if answer.complete:
            return answer, due[:fitting]
        for start in range(0, len(rest), MAX_FILTER_KEYS):
            try:
                more = yield rest[start : start + MAX_FILTER_KEYS]
            except ChargerError as error:
                if error.reason == "wrong_device":
                    raise
                return answer, due[: fitting + start]  # the live values are there
            age = max(answer.age_seconds, more.age_seconds)
            # What tells whose answer it is was requested again; the first values count.
            answer = answer._replace(status=more.status | answer.status, age_seconds=age)
        return answer, due

    @property
    def complete(self) -> bool:
        """Whether the last snapshot holds every channel of the charger."""
        if self._state.snapshot is None:
            return False
        return self._complete_answer or not self._slow.due(self._clock(), 1)

    @property
    def wait_seconds(self) -> float:
        """The wait before the next poll: the interval, doubled per failure from the third on."""
        excess = self._state.stats.failures_in_row - FAILURES_BEFORE_BACK_OFF + 1
        longest = max(MAX_BACK_OFF_SECONDS, self.interval_seconds)
        return min(self.interval_seconds * 2.0 ** min(max(excess, 0), 16), longest)

    def view(self) -> ChargerView:
        """Return what a sink may show now, without a snapshot that is too old.

        A snapshot is too old after three intervals, but not before the next answer of a charger
        that takes as long as it may.
        """
        stats, snapshot, identity = self._state
        age, delay, api = None, 0.0, None
        if snapshot is not None:
            age = self._clock() - snapshot.taken
            delay, api = snapshot.age_seconds, snapshot.api
            if self._is_stale(age):
                snapshot = None
        interval = self.interval_seconds
        return ChargerView(
            self.name,
            self.host,
            stats,
            snapshot,
            age,
            interval,
            self.labels,
            delay,
            identity,
            api,
            self.table,
        )

    def _is_stale(self, age: float) -> bool:
        interval = self.interval_seconds
        return age > max(STALE_INTERVALS * interval, self._deadline_seconds + interval)

    def last_poll(self) -> Poll:
        """Return the result of the last poll."""
        stats, snapshot, identity = self._state
        if not stats.up:
            snapshot = None
        time = self._wall() if snapshot is None else snapshot.time
        interval = self.interval_seconds
        serial = _serial(identity)
        return Poll(self.name, serial, time, snapshot, self.labels, interval, self.table)

    def _succeeded(self, answer: Answer, slow_keys: tuple[str, ...], started: float) -> None:
        now = self._clock()
        device = self._device_of(answer)
        before, earlier, _identity = self._state
        if device != self._device or earlier is None or self._is_stale(now - earlier.taken):
            self._slow.forget()
            self._meters.forget()
        self._device = device
        self._complete_answer = answer.complete
        received = self._wall()
        measured = received - answer.age_seconds
        self._note_boot_time(answer.status, measured)
        readings, failed = self._decode(answer, slow_keys, now)
        age, boot_time = answer.age_seconds, self._boot_time
        snapshot = Snapshot(self.name, answer.api, measured, now, readings, age, boot_time)
        failures = before.decode_failures
        stats = PollStats(
            up=True,
            polls=before.polls + 1,
            failures=before.failures,
            decode_failures=Counter(failures) + Counter(failed) if failed else failures,
            last_success=received,
            last_duration=now - started,
        )
        self._state = _State(stats, snapshot, self._identity(readings, answer.status))
        self.log.succeeded(failed - failures.keys())

    def _decode(
        self, answer: Answer, slow_keys: tuple[str, ...], now: float
    ) -> tuple[tuple[Reading, ...], frozenset[str]]:
        """Decode the live rows of this answer, and the slow rows of the last minute's answers."""
        answer, implausible = self._meters.check(answer, now)
        decoder = self._all if answer.complete else self._live
        readings, failed = decoder.decode(answer.status, answer.api, self._boot_time)
        if answer.complete:
            return readings, failed | implausible
        if slow_keys:
            failed |= self._slow.take(slow_keys, answer, now)
        return readings + self._slow.readings, failed | implausible

    def _note_boot_time(self, status: Status, measured: float) -> None:
        """Note when the charger started; the jitter of the answers is ignored."""
        uptime = status.get("rbt")
        if type(uptime) not in (int, float) or not 0 <= uptime <= MAX_UPTIME_MS:  # type: ignore[operator]
            return
        boot_time = measured - uptime / 1000  # type: ignore[operator]
        if self._boot_time is None or abs(boot_time - self._boot_time) > SAME_BOOT_SECONDS:
            self._boot_time = boot_time

    def _device_of(self, answer: Answer) -> tuple[int, object]:
        """Return the API and the serial number of an answer; without one it is the last one."""
        serial = answer.status.get("sse")
        if serial is None and self._device is not None:
            serial = self._device[1]
        return answer.api, serial

    def _identity(self, readings: tuple[Reading, ...], status: Status) -> tuple[Reading, ...]:
        """Return the texts that name the device that answered.

        Those that an answer of the same device lacks, such as slow rows, are the earlier ones.
        """
        earlier = self._state.identity
        source = self._slow.readings, *map(status.get, self._text_keys)
        if source == self._identified:
            return earlier
        self._identified = source
        texts = tuple(compress(readings, map(self._texts.__contains__, map(_CHANNEL, readings))))
        if _serial(texts) not in ("", _serial(earlier)):
            return texts
        found = {each.channel for each in texts}
        return (*texts, *(each for each in earlier if each.channel not in found))

    def _failed(self, error: ChargerError, duration_seconds: float) -> None:
        before, snapshot, identity = self._state
        if error.reason == "wrong_device":
            # The next poll requests the device's type again, which is a slow row.
            self._slow.forget()
        stats = before._replace(
            up=False,
            reason=error.reason,
            message=str(error),
            polls=before.polls + 1,
            failures_in_row=before.failures_in_row + 1,
            failures=Counter(before.failures) + Counter([error.reason]),
            last_duration=duration_seconds,
        )
        self._state = _State(stats, snapshot, identity)
        self.log.failed(error)


def _serial(identity: tuple[Reading, ...]) -> str:
    return next((str(each.value) for each in identity if each.channel.name == "serial"), "")
