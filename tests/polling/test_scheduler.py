"""When chargers are polled: the grid, the phases, the pool, and how it ends."""

from __future__ import annotations

import logging
import statistics
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import wait_for
from tickers import Ticker, running

from goe_exporter.charger.client import Client
from goe_exporter.polling import scheduler as schedule_module
from goe_exporter.polling.poller import Poller
from goe_exporter.polling.scheduler import next_tick
from goe_exporter.simulator import Charger, Simulator


class Broken(Ticker):
    """Fails by a mistake of ours in every cycle."""

    def poll(self) -> None:
        """Raise what no collector should."""
        super().poll()
        raise ZeroDivisionError("a mistake")


def workers() -> int:
    """Return how many threads there are for polls, of this and of earlier schedules."""
    return sum(thread.name.startswith("poll-") for thread in threading.enumerate())


# The grid


@pytest.mark.parametrize(
    ("due", "now", "interval", "wait", "expected"),
    [
        (100.0, 100.0, 5.0, 5.0, 105.0),
        (100.0, 100.2, 5.0, 5.0, 105.0),
        (100.0, 104.9, 5.0, 5.0, 105.0),
        (100.0, 105.0, 5.0, 5.0, 110.0),
        (100.0, 105.1, 5.0, 5.0, 110.0),
        (100.0, 117.0, 5.0, 5.0, 120.0),
        (100.0, 1e6 + 1, 5.0, 5.0, 1e6 + 5),
        (100.0, 100.2, 5.0, 10.0, 110.0),
        (100.0, 100.2, 5.0, 60.0, 160.0),
        (100.0, 111.0, 5.0, 10.0, 115.0),
        (100.0, 100.2, 7.0, 60.0, 156.0),
        (100.0, 100.2, 90.0, 90.0, 190.0),
        (0.25, 0.5, 0.25, 0.25, 0.75),
    ],
)
def test_next_tick(due: float, now: float, interval: float, wait: float, expected: float) -> None:
    """The grid is kept, passed ticks are skipped, and a longer wait ends on the grid."""
    assert next_tick(due, now, interval, wait) == expected


@given(
    due=st.integers(0, 10**6),
    late=st.integers(0, 10**5),
    interval=st.integers(1, 300),
    doublings=st.integers(0, 6),
)
def test_next_tick_is_the_first_possible(
    due: int, late: int, interval: int, doublings: int
) -> None:
    """The next tick lies on the grid, after now, not before the wait, and none is left out."""
    wait, now = interval * 2**doublings, due + late
    tick = next_tick(due, now, interval, wait)
    assert (tick - due) % interval == 0
    assert tick > now
    assert tick >= due + wait
    assert tick - interval <= now or tick == due + wait


def test_phases_are_spread() -> None:
    """Ten chargers are first asked a tenth of the interval apart."""
    tickers = [Ticker(interval_seconds=1.0) for _ in range(10)]
    start = time.monotonic()
    polling = running(*tickers)
    wait_for(lambda: all(ticker.begun for ticker in tickers), "every first poll", 3)
    polling.stop(1)
    offsets = [ticker.begun[0] - start for ticker in tickers]
    for number, offset in enumerate(offsets):
        assert number / 10 <= offset < number / 10 + 0.5


def test_grid_does_not_drift() -> None:
    """Polls begin on a fixed grid, however long each takes."""
    ticker = Ticker(interval_seconds=0.2, poll_seconds=0.08)
    start = time.monotonic()
    polling = running(ticker)
    wait_for(lambda: len(ticker.begun) >= 15, "15 polls")
    polling.stop(1)
    late = [(begun - start) % 0.2 for begun in ticker.begun]
    assert statistics.median(late) < 0.06


def test_no_two_cycles_of_a_charger_at_once() -> None:
    """A poll longer than the interval skips ticks; the next begins on the grid after its end."""
    slow, quick = Ticker(0.2, poll_seconds=0.5), Ticker(0.2)
    polling = running(slow, quick)
    wait_for(lambda: slow.ended >= 4, "four long polls")
    polling.stop(1)
    assert slow.most_at_once == 1
    gaps = [later - earlier for earlier, later in zip(slow.begun, slow.begun[1:], strict=False)]
    assert 0.55 < statistics.median(gaps) < 0.9
    assert len(quick.begun) >= 6


def test_back_off_is_kept() -> None:
    """A collector that wants to wait longer is left alone for so long."""
    ticker = Ticker(0.05)
    ticker.wait_seconds = 0.4
    other = Ticker(0.05)
    polling = running(ticker, other)
    wait_for(lambda: len(ticker.begun) >= 2, "the second poll")
    polling.stop(1)
    assert ticker.begun[1] - ticker.begun[0] > 0.35
    assert len(other.begun) >= 3


# Other chargers


def test_replaced_chargers() -> None:
    """Those that stay keep their grid, those that go are left alone, new ones begin soon."""
    stays, goes, comes = Ticker(0.1), Ticker(0.1), Ticker(0.1)
    polling = running(stays, goes)
    wait_for(lambda: stays.ended >= 3 and goes.ended >= 3, "three rounds")
    first = stays.begun[1]
    polling.replace((comes, stays))  # type: ignore[arg-type]
    assert polling.pollers == (comes, stays)
    gone = goes.ended + goes.under_way
    wait_for(lambda: comes.ended >= 5 and stays.ended >= 8, "further rounds")
    assert goes.ended == gone
    assert stays.most_at_once == comes.most_at_once == 1
    off_the_grid = [abs((moment - first + 0.05) % 0.1 - 0.05) for moment in stays.begun[1:]]
    assert statistics.median(off_the_grid) < 0.03
    polling.replace(())
    last = stays.ended + stays.under_way + comes.ended + comes.under_way
    polling.replace((goes,))  # type: ignore[arg-type]
    wait_for(lambda: goes.ended >= gone + 3, "polls of one that came back")
    assert stays.ended + comes.ended == last
    polling.stop(1)


def test_replaced_while_under_way() -> None:
    """A poll that runs while its charger goes and comes back has no other beside it."""
    ticker, other = Ticker(0.05, poll_seconds=30), Ticker(0.05)
    polling = running(ticker, other)
    wait_for(lambda: ticker.under_way == 1, "a poll under way")
    for _ in range(5):
        polling.replace((other, ticker))  # type: ignore[arg-type]
    rounds = other.ended
    wait_for(lambda: other.ended >= rounds + 5, "rounds of the other")
    assert len(ticker.begun) == 1
    ticker.release.set()
    wait_for(lambda: ticker.ended >= 3, "further polls")
    assert ticker.most_at_once == 1
    polling.stop(1)


def test_a_shorter_interval_counts_at_once() -> None:
    """Who is to be asked sooner now does not wait for the old tick."""
    ticker = Ticker(3600)
    polling = running(ticker)
    wait_for(lambda: ticker.ended == 1, "the first poll")
    ticker.interval_seconds = ticker.wait_seconds = 0.05
    polling.replace((ticker,))  # type: ignore[arg-type]
    wait_for(lambda: ticker.ended >= 4, "further polls")
    polling.stop(1)


def test_more_chargers_get_more_threads() -> None:
    """The pool grows with the chargers that come."""
    before = workers()
    stuck = [Ticker(0.05, poll_seconds=30) for _ in range(4)]
    polling = running(stuck[0])
    wait_for(lambda: stuck[0].under_way == 1, "a poll under way")
    polling.replace(tuple(stuck))  # type: ignore[arg-type]
    wait_for(lambda: all(each.under_way == 1 for each in stuck), "all under way")
    assert workers() - before == 4
    for each in stuck:
        each.release.set()
    polling.stop(5)


# A charger that hangs


def oldest(collectors: list[Poller], seconds: float = 4) -> float:
    """Return the greatest age of a reading that is seen for some time."""
    age, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        age = max(age, *(each.view().age or 0.0 for each in collectors))
        time.sleep(0.01)
    return age


def test_hanging_charger_delays_nobody(simulator: Simulator) -> None:
    """With one of 50 chargers hanging, no other's reading is older than interval + 250 ms."""
    boxes = [simulator.add(Charger("V4", serial=f"{number:06}")) for number in range(50)]
    collectors = [
        Poller(f"{number}", box.address, Client(box.address), 1.0)
        for number, box in enumerate(boxes)
    ]
    others = [each for each in collectors if each.name != "17"]
    polling = running(*collectors)
    try:
        wait_for(lambda: all(each.view().stats.polls for each in collectors), "first polls")
        calm = oldest(others)
        boxes[17].fault = "hang"
        wait_for(lambda: collectors[17].view().stats.up is False, "the first failure")
        meanwhile = oldest(others)
    finally:
        boxes[17].close()
        polling.stop(5)
    # On a machine that is busy with other things the calm is no better.
    assert meanwhile <= max(1.0, calm) + 0.25
    assert collectors[17].view().stats.failures.keys() <= {"timeout", "truncated", "refused"}
    assert collectors[17].view().stats.up is False
    assert all(each.view().stats.failures == {} for each in others)
    assert max(box.most_at_once for box in boxes) == 1


# The pool


def test_pool_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many chargers hang, no more polls run at once than the pool has threads."""
    assert schedule_module.MAX_WORKERS == 256
    monkeypatch.setattr(schedule_module, "MAX_WORKERS", 3)
    before = workers()
    tickers = [Ticker(0.05, poll_seconds=10) for _ in range(12)]
    polling = running(*tickers)
    wait_for(lambda: sum(len(each.begun) for each in tickers) >= 3, "three polls")
    watcher = Ticker(0.01)
    other = running(watcher)
    wait_for(lambda: len(watcher.begun) >= 30, "as many ticks as would start more")
    other.stop(1)
    assert sum(len(each.begun) for each in tickers) == 3
    # Three for these, one for the watcher.
    assert workers() - before == 3 + 1
    for each in tickers:
        each.release.set()
    wait_for(lambda: all(each.ended for each in tickers), "the others' turn")
    polling.stop(1)


def test_quick_chargers_share_a_few_threads() -> None:
    """Threads are started as they are needed, not one for each charger."""
    before = workers()
    tickers = [Ticker(0.5) for _ in range(100)]
    polling = running(*tickers)
    wait_for(lambda: all(len(each.begun) >= 2 for each in tickers), "two rounds")
    assert workers() - before < 20
    polling.stop(1)


# Mistakes of ours


def test_broken_cycle_is_logged_counted_and_repeated(records: list[logging.LogRecord]) -> None:
    """What a collector should never raise is logged with its traceback; polling goes on."""
    broken, sound = Broken(0.05), Ticker(0.05)
    polling = running(broken, sound)
    wait_for(lambda: broken.ended >= 4 and sound.ended >= 4, "four rounds")
    polling.stop(1)
    assert polling.internal_errors == broken.ended
    assert len(records) == broken.ended
    assert records[0].levelname == "ERROR"
    assert records[0].__dict__["values"] == {"charger": "ticker"}
    assert records[0].exc_info is not None
    assert records[0].exc_info[0] is ZeroDivisionError


# The end


def test_stop_waits_for_a_poll_under_way() -> None:
    """A poll that runs at the end may end."""
    ticker = Ticker(0.1, poll_seconds=0.2)
    polling = running(ticker)
    wait_for(lambda: bool(ticker.begun), "the first poll")
    started = time.monotonic()
    polling.stop(5)
    assert ticker.ended == len(ticker.begun)
    assert time.monotonic() - started < 3


def test_stop_waits_no_longer_than_its_grace() -> None:
    """A poll that does not end is given up when the grace has passed."""
    ticker = Ticker(0.1, poll_seconds=10)
    polling = running(ticker)
    wait_for(lambda: bool(ticker.begun), "the first poll")
    started = time.monotonic()
    polling.stop(0.3)
    assert 0.25 < time.monotonic() - started < 5
    assert ticker.ended == 0
    ticker.release.set()


def test_nothing_begins_after_stop() -> None:
    """After `stop` no poll begins any more."""
    tickers = [Ticker(0.02) for _ in range(5)]
    polling = running(*tickers)
    wait_for(lambda: all(ticker.begun for ticker in tickers), "the first polls")
    polling.stop(1)
    begun = [len(ticker.begun) for ticker in tickers]
    watcher = Ticker(0.02)
    other = running(watcher)
    wait_for(lambda: len(watcher.begun) >= 8, "as many ticks as would start more")
    other.stop(1)
    assert [len(ticker.begun) for ticker in tickers] == begun


def test_stop_between_polls_is_immediate() -> None:
    """With nothing under way `stop` returns at once."""
    ticker = Ticker(60)
    polling = running(ticker)
    wait_for(lambda: ticker.ended == 1, "the first poll")
    started = time.monotonic()
    polling.stop(5)
    assert time.monotonic() - started < 2


# What is measured


def test_every_poll_is_measured() -> None:
    """Each poll counts once in the histograms of duration and of lateness."""
    quick, slow = Ticker(0.1), Ticker(0.1, poll_seconds=0.06)
    polling = running(quick, slow)
    wait_for(lambda: quick.ended >= 4 and slow.ended >= 4, "four rounds")
    polling.stop(1)
    polls = quick.ended + slow.ended
    assert sum(polling.duration.counts) == polls
    assert sum(polling.lateness.counts) == polls
    assert polling.duration.sum > 0.05 * slow.ended
    assert polling.duration.buckets()[-1] == ("+Inf", polls)
    assert 1 <= dict(polling.duration.buckets())["0.05"] <= quick.ended


def test_without_chargers_nothing_happens() -> None:
    """A schedule of nothing starts and stops."""
    polling = running()
    polling.stop(1)
    assert polling.internal_errors == 0
