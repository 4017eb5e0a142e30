"""When chargers are polled: grid, offsets, pool, and the end."""

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
from goe_exporter.polling import scheduler as scheduler_module
from goe_exporter.polling.poller import Poller
from goe_exporter.polling.scheduler import next_tick
from goe_exporter.simulator import Charger, Simulator


class Failing(Ticker):
    """Raises an unexpected exception in every poll."""

    def poll(self) -> None:
        """Raise what no poller should."""
        super().poll()
        raise ZeroDivisionError("a mistake")


def workers() -> int:
    """Return the number of polling threads, of this and of earlier schedulers."""
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
    """Ticks are on the grid, missed ticks are skipped, and a longer wait ends on the grid."""
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
    """The next tick is the first one on the grid after now and after the wait."""
    wait, now = interval * 2**doublings, due + late
    tick = next_tick(due, now, interval, wait)
    assert (tick - due) % interval == 0
    assert tick > now
    assert tick >= due + wait
    assert tick - interval <= now or tick == due + wait


def test_offsets_are_spread() -> None:
    """The first polls of ten chargers are a tenth of the interval apart."""
    tickers = [Ticker(interval_seconds=1.0) for _ in range(10)]
    start = time.monotonic()
    polling = running(*tickers)
    wait_for(lambda: all(ticker.begun for ticker in tickers), "every first poll", 3)
    polling.stop(1)
    offsets = [ticker.begun[0] - start for ticker in tickers]
    for number, offset in enumerate(offsets):
        assert number / 10 <= offset < number / 10 + 0.5


def test_grid_does_not_drift() -> None:
    """Polls begin on a fixed grid, whatever their duration."""
    ticker = Ticker(interval_seconds=0.2, poll_seconds=0.08)
    start = time.monotonic()
    polling = running(ticker)
    wait_for(lambda: len(ticker.begun) >= 15, "15 polls")
    polling.stop(1)
    late = [(begun - start) % 0.2 for begun in ticker.begun]
    assert statistics.median(late) < 0.06


def test_one_poll_of_a_charger_at_a_time() -> None:
    """A poll longer than the interval skips ticks; the next begins on the grid after its end."""
    slow, quick = Ticker(0.2, poll_seconds=0.5), Ticker(0.2)
    polling = running(slow, quick)
    wait_for(lambda: slow.ended >= 4, "four long polls")
    polling.stop(1)
    assert slow.max_concurrent == 1
    gaps = [later - earlier for earlier, later in zip(slow.begun, slow.begun[1:], strict=False)]
    assert 0.55 < statistics.median(gaps) < 0.9
    assert len(quick.begun) >= 6


def test_back_off_is_kept() -> None:
    """A poller that backs off is polled after its longer wait."""
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
    """Remaining pollers keep their grid, removed ones are not polled, new ones start soon."""
    remaining, removed, added = Ticker(0.1), Ticker(0.1), Ticker(0.1)
    polling = running(remaining, removed)
    wait_for(lambda: remaining.ended >= 3 and removed.ended >= 3, "three rounds")
    first = remaining.begun[1]
    polling.replace((added, remaining))  # type: ignore[arg-type]
    assert polling.pollers == (added, remaining)
    gone = removed.ended + removed.in_progress
    wait_for(lambda: added.ended >= 5 and remaining.ended >= 8, "further rounds")
    assert removed.ended == gone
    assert remaining.max_concurrent == added.max_concurrent == 1
    off_the_grid = [abs((moment - first + 0.05) % 0.1 - 0.05) for moment in remaining.begun[1:]]
    assert statistics.median(off_the_grid) < 0.03
    polling.replace(())
    last = remaining.ended + remaining.in_progress + added.ended + added.in_progress
    polling.replace((removed,))  # type: ignore[arg-type]
    wait_for(lambda: removed.ended >= gone + 3, "polls of one that came back")
    assert remaining.ended + added.ended == last
    polling.stop(1)


def test_replaced_during_a_poll() -> None:
    """A poll that runs while its charger is removed and added again remaining the only one."""
    ticker, other = Ticker(0.05, poll_seconds=30), Ticker(0.05)
    polling = running(ticker, other)
    wait_for(lambda: ticker.in_progress == 1, "a poll in progress")
    for _ in range(5):
        polling.replace((other, ticker))  # type: ignore[arg-type]
    rounds = other.ended
    wait_for(lambda: other.ended >= rounds + 5, "rounds of the other")
    assert len(ticker.begun) == 1
    ticker.release.set()
    wait_for(lambda: ticker.ended >= 3, "further polls")
    assert ticker.max_concurrent == 1
    polling.stop(1)


def test_a_shorter_interval_applies_at_once() -> None:
    """A poller with a shorter interval does not wait for its old tick."""
    ticker = Ticker(3600)
    polling = running(ticker)
    wait_for(lambda: ticker.ended == 1, "the first poll")
    ticker.interval_seconds = ticker.wait_seconds = 0.05
    polling.replace((ticker,))  # type: ignore[arg-type]
    wait_for(lambda: ticker.ended >= 4, "further polls")
    polling.stop(1)


def test_more_chargers_get_more_threads() -> None:
    """The pool grows when chargers are added."""
    before = workers()
    stuck = [Ticker(0.05, poll_seconds=30) for _ in range(4)]
    polling = running(stuck[0])
    wait_for(lambda: stuck[0].in_progress == 1, "a poll in progress")
    polling.replace(tuple(stuck))  # type: ignore[arg-type]
    wait_for(lambda: all(each.in_progress == 1 for each in stuck), "all in progress")
    assert workers() - before == 4
    for each in stuck:
        each.release.set()
    polling.stop(5)


# A hanging charger


def oldest(pollers: list[Poller], seconds: float = 4) -> float:
    """Return the highest age of a reading within some seconds."""
    age, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        age = max(age, *(each.view().age or 0.0 for each in pollers))
        time.sleep(0.01)
    return age


def test_hanging_charger_delays_nobody(simulator: Simulator) -> None:
    """While one of 50 chargers hangs, no other reading is older than interval + 250 ms."""
    boxes = [simulator.add(Charger("V4", serial=f"{number:06}")) for number in range(50)]
    pollers = [
        Poller(f"{number}", box.address, Client(box.address), 1.0)
        for number, box in enumerate(boxes)
    ]
    others = [each for each in pollers if each.name != "17"]
    polling = running(*pollers)
    try:
        wait_for(lambda: all(each.view().stats.polls for each in pollers), "first polls")
        calm = oldest(others)
        boxes[17].fault = "hang"
        wait_for(lambda: pollers[17].view().stats.up is False, "the first failure")
        meanwhile = oldest(others)
    finally:
        boxes[17].close()
        polling.stop(5)
    # On a busy machine the readings were as old before.
    assert meanwhile <= max(1.0, calm) + 0.25
    assert pollers[17].view().stats.failures.keys() <= {"timeout", "truncated", "refused"}
    assert pollers[17].view().stats.up is False
    assert all(each.view().stats.failures == {} for each in others)
    assert max(box.max_concurrent for box in boxes) == 1


# The pool


def test_pool_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most as many polls run as the pool has threads, however many chargers hang."""
    assert scheduler_module.MAX_WORKERS == 256
    monkeypatch.setattr(scheduler_module, "MAX_WORKERS", 3)
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
    """Threads are started on demand, not one per charger."""
    before = workers()
    tickers = [Ticker(0.5) for _ in range(100)]
    polling = running(*tickers)
    wait_for(lambda: all(len(each.begun) >= 2 for each in tickers), "two rounds")
    assert workers() - before < 20
    polling.stop(1)


# Internal errors


def test_internal_error_is_logged_counted_and_survived(records: list[logging.LogRecord]) -> None:
    """An unexpected exception is logged with its traceback; polling continues."""
    failing, sound = Failing(0.05), Ticker(0.05)
    polling = running(failing, sound)
    wait_for(lambda: failing.ended >= 4 and sound.ended >= 4, "four rounds")
    polling.stop(1)
    assert polling.internal_errors == failing.ended
    assert len(records) == failing.ended
    assert records[0].levelname == "ERROR"
    assert records[0].__dict__["values"] == {"charger": "ticker"}
    assert records[0].exc_info is not None
    assert records[0].exc_info[0] is ZeroDivisionError


# The end


def test_stop_waits_for_a_poll_in_progress() -> None:
    """`stop` waits for a poll in progress."""
    ticker = Ticker(0.1, poll_seconds=0.2)
    polling = running(ticker)
    wait_for(lambda: bool(ticker.begun), "the first poll")
    started = time.monotonic()
    polling.stop(5)
    assert ticker.ended == len(ticker.begun)
    assert time.monotonic() - started < 3


def test_stop_waits_no_longer_than_its_grace() -> None:
    """A poll that does not end is abandoned after the grace time."""
    ticker = Ticker(0.1, poll_seconds=10)
    polling = running(ticker)
    wait_for(lambda: bool(ticker.begun), "the first poll")
    started = time.monotonic()
    polling.stop(0.3)
    assert 0.25 < time.monotonic() - started < 5
    assert ticker.ended == 0
    ticker.release.set()


def test_nothing_begins_after_stop() -> None:
    """After `stop` no poll begins."""
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
    """Without a poll in progress `stop` returns at once."""
    ticker = Ticker(60)
    polling = running(ticker)
    wait_for(lambda: ticker.ended == 1, "the first poll")
    started = time.monotonic()
    polling.stop(5)
    assert time.monotonic() - started < 2


# Histograms


def test_every_poll_is_measured() -> None:
    """Each poll is counted once in the histograms of duration and lateness."""
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
    """A scheduler without pollers starts and stops."""
    polling = running()
    polling.stop(1)
    assert polling.internal_errors == 0
