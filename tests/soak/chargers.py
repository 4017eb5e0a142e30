"""Twenty simulated chargers that record every request, and the expected outcome of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from goe_exporter.channels.table import CHANNELS
from goe_exporter.polling.slow_rows import keys_of
from goe_exporter.simulator import Box, Car, Charger, Simulator
from goe_exporter.simulator.responses import Response
from tests.tools.faults import REASON_BY_FAULT

NOTHING = -1.0
"""Stands for a value that was not in the response."""

FOREIGN = "foreign"
"""The fault of a device that is no charger."""

ANSWERED = "answered"
REFUSED = "refused"
UNDER_WAY = "under way"

MODELS = ("V2", "V3", "V4", "PRO", "V4")
APIS = {"V2": ("auto", "1"), "V3": ("auto", "2", "1"), "V4": ("auto", "2"), "PRO": ("2", "auto")}
FIRMWARES = {
    "V2": ("041.0", "040.0", "033.0"),
    "V3": ("055.7", "050.3", "059.4"),
    "V4": ("56.9", "050.3", "60.3"),
    "PRO": ("60.5", "60.6"),
}
"""Firmware to change to: with other filters before 051.4, other errors from 59, cards from 60."""

OLD_KEYS = 10
"""Number of keys in a request of the old form, except perhaps the last one of a poll."""

LIVE_KEYS = len(keys_of(row for row in CHANNELS if not row.slow))
"""Number of keys in a poll without slow ones."""

QUIET_SECONDS = 0.02
"""A charger without a request for this long is between two polls, which are 50 ms apart."""

ACCEPTED_SECONDS = 0.1
"""Time until a request arrives on an accepted connection."""

PORT = 18_439
GUEST = "guest"
"""Name of the charger that reloads add and remove."""


@dataclass(slots=True)
class Request:
    """A request at `time` (Unix), the fault that affected it, and the response.

    `status` is 0 if the charger did not respond; `uptime_ms` and `energy_wh` are the values of the
    charger at that moment. A `target` of "" stands for switching the charger off or on.
    """

    time: float
    target: str
    fault: str | None = None
    status: int = 0
    empty: bool = False
    uptime_ms: int = 0
    energy_wh: float = 0.0

    @property
    def outcome(self) -> str:
        """The expected outcome."""
        if not self.target:
            return REFUSED
        if self.fault in REASON_BY_FAULT:
            return REASON_BY_FAULT[self.fault]
        if self.fault is not None and self.status == 404:
            return "http_status"  # "not found" with status 400
        return {0: UNDER_WAY, 404: "not_found"}.get(self.status, ANSWERED)


class Poll(NamedTuple):
    """A poll as the charger saw it: its start, its outcome, and the values in the response.

    `uptime_s` and `energy_wh` are those of the response, in the steps of the API; `until` is the
    time of its last request.
    """

    time: float
    outcome: str
    uptime_s: float = 0.0
    energy_wh: float = 0.0
    until: float = 0.0


class RecordingBox(Box):
    """A charger with an address that records each request in a book."""

    def __init__(
        self,
        simulator: Simulator,
        charger: Charger,
        address: tuple[str, int],
        book: list[Request],
    ) -> None:
        """Continue a book."""
        super().__init__(simulator, charger, address)
        self._book = book

    def request_received(self, target: str) -> str | None:
        """Record a request and the fault that affects it.

        Another device answers all requests of a status or none: a status that begins or ends as a
        charger's is a charger's, without the values of some requests.
        """
        entry = Request(time.time(), target, super().request_received(target))
        if _continues(entry) and self._book and FOREIGN in (entry.fault, self._book[-1].fault):
            entry.fault = FOREIGN if self._book[-1].fault == FOREIGN else None
        self._book.append(entry)
        return entry.fault

    def respond(self, method: str, target: str) -> Response:
        """Record the response; there is one request at a time."""
        with self.lock:
            response = super().respond(method, target)
            entry, charger = self._book[-1], self.charger
            entry.status, entry.empty = response.status, response.body == b"{}"
            entry.uptime_ms = int(charger.uptime_ms)
            entry.energy_wh = reported_energy_wh(charger, 1 if target == "/status" else 2)
        return response


class Station:
    """A charger with its name, its address, its book and its configuration."""

    def __init__(self, simulator: Simulator, number: int, host: str, name: str = "") -> None:
        """Add a charger to the network that charges a car endlessly."""
        model = MODELS[number % len(MODELS)]
        self.name = name or f"c{number:02}"
        self.api = APIS[model][number // len(MODELS) % len(APIS[model])]
        self.further: dict[str, object] = {}
        self.off = False
        self.book: list[Request] = []
        self.charger = Charger(model, serial=f"{number:06}", seed=number)
        self.charger.plug(Car(battery_wh=1e9, soc=0.0))
        self._simulator = simulator
        self._host = host
        self.box = self._switched_on()

    @property
    def address(self) -> str:
        """The address on which it listens."""
        return f"{self._host}:{PORT}"

    def switch_off(self) -> None:
        """Refuse new connections between two polls; accepted ones are still answered."""
        server = self.box.server
        assert server is not None
        loop = server.get_loop()

        def close() -> None:
            if self.book and time.time() - self.book[-1].time < QUIET_SECONDS:
                loop.call_later(QUIET_SECONDS, close)
                return
            server.close()
            loop.call_later(ACCEPTED_SECONDS, lambda: self.book.append(Request(time.time(), "")))

        loop.call_soon_threadsafe(close)
        self.off = True

    def switch_on(self) -> None:
        """Accept connections again."""
        self.book.append(Request(time.time(), ""))
        self.off = False
        self.box = self._switched_on()

    def change(self, what: Callable[[Charger], None]) -> None:
        """Change the charger between two requests."""
        with self.box.lock:
            self.box.catch_up()
            what(self.charger)

    def last_answered(self) -> Request:
        """Return the last request that was answered with a status."""
        return next(each for each in reversed(self.book) if each.outcome == ANSWERED)

    def polls(self, upto: int | None = None) -> list[Poll]:
        """Return the polls of the first requests; each "" is a poll that was refused."""
        return list(split(self.book[:upto], auto=self.api == "auto"))

    def _switched_on(self) -> Box:
        def recording_box(simulator: Simulator, charger: Charger, address: tuple[str, int]) -> Box:
            return RecordingBox(simulator, charger, address, self.book)

        self._simulator.box = recording_box
        return self._simulator.add(self.charger, self._host, PORT)


def split(book: Sequence[Request], *, auto: bool) -> Iterator[Poll]:
    """Split a book into polls; the client tries the other API if one is missing."""
    at = 0
    while at < len(book):
        first = at
        outcome, at = _status(book, at)
        if outcome == "not_found" and auto and at < len(book):
            outcome, at = _status(book, at)
        yield _poll(book[first:at], outcome)


def _status(book: Sequence[Request], at: int) -> tuple[str, int]:
    """Return the outcome of a status and its end; an empty one is requested again."""
    outcome, empty, at = _form(book, at)
    if outcome == ANSWERED and empty and at < len(book):
        outcome, _empty, at = _form(book, at)
    return outcome, at


def _form(book: Sequence[Request], at: int) -> tuple[str, bool, int]:
    """Return the outcome of a status in one form, whether it was empty, and its end.

    The old form of a filter takes several requests, the first of them with the first key.
    """
    first, entry, empty = at, book[at], book[at].empty
    old = "filter=%5B" in entry.target
    at += 1
    while old and entry.outcome in JUDGED_LATER and at < len(book) and _continues(book[at]):
        entry = book[at]
        empty = empty and entry.empty
        at += 1
    if old and entry.outcome == ANSWERED and _cut_short(book[first:at], book[at : at + 1]):
        return REFUSED, empty, at
    return entry.outcome, empty, at


JUDGED_LATER = (ANSWERED, "wrong_device")
"""Outcomes of a request that do not end the poll: whose status it is shows the whole of it."""


def _continues(entry: Request) -> bool:
    return "filter=%5B" in entry.target and "%22nrg%22" not in entry.target


def _cut_short(requests: Sequence[Request], following: Sequence[Request]) -> bool:
    """Return whether a charger was switched off before the last request of a poll.

    That is so after a request of maximum length, unless all live keys were requested: the poll may
    have no others.
    """
    lengths = [each.target.count("%2C") + 1 for each in requests]
    ended = lengths[-1] < OLD_KEYS or sum(lengths) == LIVE_KEYS
    return not ended and any(not each.target for each in following)


def _poll(requests: Sequence[Request], outcome: str) -> Poll:
    begun, until = requests[0].time, requests[-1].time
    if outcome != ANSWERED:
        return Poll(begun, outcome, until=until)
    # If the firmware changes during a poll of several requests, the poll is incomplete.
    uptime = [each.uptime_ms / 1000 for each in requests if _has(each, "rbt")]
    energy = [each.energy_wh for each in requests if _has(each, "eto")]
    return Poll(begun, outcome, [NOTHING, *uptime][-1], [NOTHING, *energy][-1], until)


def _has(entry: Request, key: str) -> bool:
    return entry.target == "/status" or (key in entry.target and not entry.empty)


def reported_energy_wh(charger: Charger, api: int) -> float:
    """Return `eto` in v1's 0.1 kWh, or V2 hardware's whole kWh (docs/protocol.md §3.5)."""
    step = 1 if api == 2 else 100 if charger.hardware.v2 else 1000
    return float(int(charger.energy_wh / step) * step)
