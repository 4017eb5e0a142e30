"""CPU of tracking sessions against a poll, and transactions of a large fleet."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

from benchmarks import chargers
from benchmarks.poll import CALLS, ROUNDS, side_by_side
from goe_exporter.durable.clock import TrustedClock, boot
from goe_exporter.polling.view import Poll
from goe_exporter.sessions.bookkeeper import SAVE_SECONDS, Bookkeeper
from goe_exporter.sessions.store import Store

FLEET = 5_000


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, ratio) rows."""
    with chargers.elsewhere() as host, tempfile.TemporaryDirectory() as folder:
        yield from _measure(host, Path(folder))


def _measure(host: str, folder: Path) -> Iterator[tuple[str, str, str]]:
    poll = chargers.Steady(host)
    poll()
    now = [0.0]
    clock = TrustedClock(folder / "clock", boot(), lambda: now[0], lambda: now[0])
    keeper = Bookkeeper(Store(folder / "sessions.db"), clock, ZoneInfo("UTC"))
    last = replace(poll.poller.last_poll(), serial="7")
    assert last.snapshot is not None
    now[0] = last.time
    polls = [
        replace(last, snapshot=last.snapshot._replace(time=last.time + 5 * number))
        for number in range(1, ROUNDS * CALLS + 1)
    ]
    waiting = iter(polls)

    def tracking() -> None:
        now[0] += 5
        keeper.take(next(waiting))

    costs = side_by_side({"poll": poll, "tracking": tracking})
    share = f"{costs['tracking'] / costs['poll']:.1%} of a poll"
    yield "a poll of a charging car tracked", f"{costs['tracking'] * 1e6:.0f} µs", share
    yield from _fleet(keeper, last)
    keeper.stop(60)


def _fleet(keeper: Bookkeeper, poll: Poll) -> Iterator[tuple[str, str, str]]:
    """Save the memories of a fleet in which all cars charge; each is saved once a minute."""
    for number in range(FLEET):
        keeper.take(replace(poll, charger=f"c{number}", serial=str(number)))
    cpu, wall = time.process_time(), time.perf_counter()
    keeper.write()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    share = f"{cpu / SAVE_SECONDS[True]:.1%} of a core, one transaction a second"
    yield f"{FLEET:,} memories written at once", f"{wall:.2f} s", share
