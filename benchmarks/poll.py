"""CPU of a poll against a baseline: `http.client` and `json.loads` of the same body."""

from __future__ import annotations

import http.client
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from benchmarks import chargers
from goe_exporter.channels.decode import decode
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger.client import Client
from goe_exporter.polling.poller import Poller
from goe_exporter.polling.slow_rows import keys_of
from goe_exporter.transport.loop import Loop

BASELINE = "baseline: http.client and json.loads"
ROUNDS = 15
CALLS = 100


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, ratio) rows."""
    command = [sys.executable, "-m", "benchmarks.chargers", "1", "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield from _measure(f"{chargers.address(0)}:{chargers.PORT}")
        process.communicate()


def _measure(host: str) -> Iterator[tuple[str, str, str]]:
    poller = Poller("one", host, Client(host))
    while not poller.complete:
        poller.poll()
    client = Client(host)
    live_keys = keys_of(channel for channel in CHANNELS if not channel.slow)
    answer = client.status(live_keys)
    target = f"/api/status?filter={','.join(live_keys)}"
    loop = Loop()

    def baseline() -> None:
        connection = http.client.HTTPConnection(host, timeout=4)
        connection.request("GET", target)
        json.loads(connection.getresponse().read())
        connection.close()

    def poll_in_the_loop() -> None:
        ended: list[object] = []
        loop.run(poller.exchange(poller.steps()), lambda *result: ended.append(result))
        while not ended:
            loop.turn(math.inf)

    work: dict[str, Callable[[], object]] = {
        BASELINE: baseline,
        "request and parse": lambda: client.status(live_keys),
        "decode": lambda: decode(answer.status, 2),
        "poll": poll_in_the_loop,
        "poll that waits": poller.poll,
    }
    costs = side_by_side(work)
    readings = len(poller.view().snapshot.readings)  # type: ignore[union-attr]
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
