"""CPU of a poll against a baseline: `http.client` and `json.loads` of the same body."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Callable, Iterator

from benchmarks import chargers
from goe_exporter.channels.decode import decode
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger.client import Client
from goe_exporter.polling.slow_rows import keys_of

BASELINE = "baseline: http.client and json.loads"
ROUNDS = 15
CALLS = 100


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, ratio) rows."""
    with chargers.elsewhere() as host:
        yield from _measure(host)


def _measure(host: str) -> Iterator[tuple[str, str, str]]:
    poll = chargers.Steady(host)
    client = Client(host)
    live_keys = keys_of(channel for channel in CHANNELS if not channel.slow)
    answer = client.status(live_keys)
    target = f"/api/status?filter={','.join(live_keys)}"

    def baseline() -> None:
        connection = http.client.HTTPConnection(host, timeout=4)
        connection.request("GET", target)
        json.loads(connection.getresponse().read())
        connection.close()

    work: dict[str, Callable[[], object]] = {
        BASELINE: baseline,
        "request and parse": lambda: client.status(live_keys),
        "decode": lambda: decode(answer.status, 2),
        "poll": poll,
        "poll that waits": poll.wait,
    }
    costs = side_by_side(work)
    readings = len(poll.poller.view().snapshot.readings)  # type: ignore[union-attr]
    for name, seconds in costs.items():
        what = f"{name} ({readings} readings)" if name.startswith("poll") else name
        yield what, f"{seconds * 1e6:.0f} µs", f"{seconds / costs[BASELINE]:.2f} × baseline"


def side_by_side(
    work: dict[str, Callable[[], object]], calls: int = CALLS, rounds: int = ROUNDS
) -> dict[str, float]:
    """Return the CPU seconds of a call of each: the median of rounds, in which all take turns."""
    costs: dict[str, list[float]] = {name: [] for name in work}
    for _round in range(rounds):
        for name, call in work.items():
            started = time.process_time()
            for _call in range(calls):
                call()
            costs[name].append((time.process_time() - started) / calls)
    return {name: statistics.median(seconds) for name, seconds in costs.items()}
