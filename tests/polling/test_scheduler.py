"""When chargers are polled: grid, offsets, pool, and the end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import PATIENCE_SECONDS, returned, wait_for
from tickers import Clock, Led, Ticker, running

from goe_exporter.channels.decode import Decoder
from goe_exporter.channels.snapshot import Answer
from goe_exporter.charger.client import Client
from goe_exporter.polling import scheduler as scheduler_module
from goe_exporter.polling.poller import Keys, Poller
from goe_exporter.polling.scheduler import Scheduler, next_tick
from goe_exporter.polling.view import Poll
from goe_exporter.simulator import Box, Charger, Simulator
from goe_exporter.transport.steps import Exchange


class Failing(Ticker):
    """Raises an unexpected exception in every poll."""

    def status(self, keys: Keys) -> Answer:
        """Raise what no client should."""
        super().status(keys)
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
    led = Led(*[1.0] * 10)
    for number in range(10):
        led.to(number / 10)
        assert sum(bool(each.begun) for each in led.tickers) == number + 1
    led.scheduler.stop(1)


def test_grid_does_not_drift() -> None:
    """Ticks stay on a fixed grid, however late each poll begins."""
    led = Led(0.25)
    led.settle()
    for number in range(1, 16):
        led.to(number * 0.25 + 0.125)
    led.scheduler.stop(1)
    # Every poll but the first was late by this.
    assert led.scheduler.lateness.sum == 15 * 0.125


def test_one_poll_of_a_charger_at_a_time() -> None:
    """A poll longer than the interval skips ticks; the next begins on the grid after its end."""
    led = Led(0.25, 0.25)
    slow, quick = led.tickers
    led.settle()
    slow.release.clear()
    led.to(0.125)
    led.to(0.25)
    for moment in (0.375, 0.5, 0.625, 0.75, 0.875):
        led.to(moment)
    slow.release.set()
    led.settle()
    led.to(1.0)
    led.scheduler.stop(1)
    assert slow.begun == [0.0, 0.25, 1.0]
    assert quick.begun == [0.125, 0.375, 0.625, 0.875]
    assert slow.max_concurrent == 1


def test_back_off_is_kept() -> None:
    """A poller that backs off is polled after its longer wait."""
    led = Led(0.25, 0.25)
    other, patient = led.tickers
    led.settle()
    patient.wait_seconds = 1.0
    for number in range(1, 10):
        led.to(number * 0.125)
    led.scheduler.stop(1)
    assert patient.begun == [0.125, 1.125]
    assert other.begun == [0.0, 0.25, 0.5, 0.75, 1.0]


# Other chargers


def test_replaced_chargers() -> None:
    """Remaining pollers keep their grid, removed ones are not polled, new ones start soon."""
    led = Led(0.5, 0.5)
    remaining, removed = led.tickers
    led.settle()
    for number in range(1, 4):
        led.to(number * 0.25)
    led.clock.now = 0.875
    added = Ticker(0.5, clock=led.clock)
    led.scheduler.replace((added, remaining))  # type: ignore[arg-type]
    assert led.scheduler.pollers == (added, remaining)
    led.settle()
    for moment in (1.0, 1.25, 1.375, 1.5, 1.875):
        led.to(moment)
    assert added.begun == [0.875, 1.375, 1.875]
    assert remaining.begun == [0.0, 0.5, 1.0, 1.5]
    assert removed.begun == [0.25, 0.75]
    led.scheduler.replace(())
    led.to(3.0)
    led.scheduler.replace((removed,))  # type: ignore[arg-type]
    led.settle()
    led.to(3.5)
    led.scheduler.stop(1)
    assert removed.begun == [0.25, 0.75, 3.0, 3.5]
    assert remaining.ended + added.ended == 7


def test_replaced_during_a_poll() -> None:
    """A poll that runs while its charger is removed and added again remains the only one."""
    ticker, other = Ticker(0.05, held=True), Ticker(0.05)
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
    stuck = [Ticker(0.05, held=True) for _ in range(4)]
    polling = running(stuck[0])
    wait_for(lambda: stuck[0].in_progress == 1, "a poll in progress")
    polling.replace(tuple(stuck))  # type: ignore[arg-type]
    wait_for(lambda: all(each.in_progress == 1 for each in stuck), "all in progress")
    assert workers() - before == 4
    for each in stuck:
        each.release.set()
    polling.stop(PATIENCE_SECONDS)


# A hanging charger


def test_hanging_poll_delays_no_tick() -> None:
    """While one of 64 polls hangs, all others begin on their ticks."""
    led = Led(*[1.0] * 64)
    led.tickers[17].release.clear()
    for number in range(192):
        led.to(number / 64)
    for number, ticker in enumerate(led.tickers):
        rounds = 1 if number == 17 else 3
        assert ticker.begun == [number / 64 + each for each in range(rounds)]
    led.tickers[17].release.set()
    led.scheduler.stop(5)


def test_hanging_charger_delays_nobody(simulator: Simulator) -> None:
    """While the poll of one of 50 chargers hangs, each other charger is polled again and again."""
    boxes = [simulator.add(Charger("V4", serial=f"{number:06}")) for number in range(50)]
    pollers = [
        Poller(f"{number}", box.address, Client(box.address, deadline_seconds=600.0), 1.0)
        for number, box in enumerate(boxes)
    ]
    hanging, others = pollers[17], [each for each in pollers if each.name != "17"]
    polling = running(*pollers)
    try:
        wait_for(lambda: all(each.view().stats.polls for each in pollers), "first polls")
        boxes[17].fault = "hang"
        requests = boxes[17].requests
        wait_for(lambda: boxes[17].requests > requests, "a poll that hangs")
        polls = hanging.view().stats.polls
        goals = [(each, each.view().stats.polls + 3) for each in others]
        wait_for(lambda: all(each.view().stats.polls >= goal for each, goal in goals), "the others")
        assert hanging.view().stats.polls == polls
    finally:
        boxes[17].close()
        polling.stop(PATIENCE_SECONDS)
    assert all(each.view().stats.failures == {} for each in others)
    assert max(box.max_concurrent for box in boxes) == 1


# The loop and the threads


def polled(box: Box, **options: Any) -> Poller:
    """Return the poller of a simulated charger, every 50 ms."""
    client = Client(box.address, deadline_seconds=PATIENCE_SECONDS)
    return Poller(box.charger.serial, box.address, client, 0.05, **options)


def polls(poller: Poller, more: int = 3) -> Callable[[], bool]:
    """Return a condition: so many more polls than now have ended."""
    goal = poller.view().stats.polls + more
    return lambda: poller.view().stats.polls >= goal


@pytest.fixture
def boxes(simulator: Simulator) -> list[Box]:
    return [simulator.add(Charger("V4", serial=f"{number:06}")) for number in range(3)]


def test_local_chargers_need_no_threads(boxes: list[Box]) -> None:
    """The loop polls chargers over plain HTTP itself, whether they answer, hang or are gone."""
    before = workers()
    pollers = [polled(box) for box in boxes]
    polling = running(*pollers)
    wait_for(lambda: all(each.view().stats.polls >= 3 for each in pollers), "three polls each")
    boxes[0].fault = "hang"
    requests = boxes[0].requests
    wait_for(lambda: boxes[0].requests > requests, "a poll that hangs")
    boxes[1].close()
    wait_for(lambda: pollers[1].view().stats.failures.get("refused", 0) >= 2, "refused polls")
    wait_for(polls(pollers[2]), "polls of the third")
    assert workers() == before
    boxes[0].close()
    polling.stop(PATIENCE_SECONDS)


def test_poll_waits_for_another_request(boxes: list[Box]) -> None:
    """While a client is busy, a thread waits for it with the poll; the loop polls the others."""
    busy, other = (polled(box) for box in boxes[:2])
    requests = boxes[0].requests
    with busy.client._lock:  # type: ignore[attr-defined]
        polling = running(busy, other)
        wait_for(polls(other), "polls of the other")
        assert (boxes[0].requests, busy.view().stats.polls) == (requests, 0)
    wait_for(polls(busy), "polls of the one that was busy")
    polling.stop(PATIENCE_SECONDS)
    assert busy.view().stats.failures == {}
    assert boxes[0].max_concurrent == 1


def test_poll_that_began_waits_for_another_request(boxes: list[Box]) -> None:
    """A poll of several requests lets another one in between, and is continued afterwards."""
    taken: list[str] = []

    class Shared(Client):
        """Serves another request after the first one of a poll."""

        def begin(self, keys: Sequence[str]) -> Exchange[Answer] | None:
            exchange = None if taken else super().begin(keys)
            taken.append(threading.current_thread().name)
            return exchange

    client = Shared(boxes[0].address, deadline_seconds=PATIENCE_SECONDS)
    poller = Poller("one", boxes[0].address, client, 3600.0)
    polling = running(poller)
    wait_for(polls(poller, 1), "the poll")
    polling.stop(PATIENCE_SECONDS)
    assert taken == ["scheduler"] * 2
    assert boxes[0].requests == 2
    assert poller.complete


def test_slow_sink_delays_no_other_charger(boxes: list[Box]) -> None:
    """A sink that waits is called by a thread of its own; its poll is in progress until then."""
    release, names = threading.Event(), []

    def slow(_poll: Poll) -> None:
        names.append(threading.current_thread().name)
        release.wait(PATIENCE_SECONDS)

    quick_names: list[str] = []
    held = polled(boxes[0], sink=slow, sink_waits=True)
    other = polled(boxes[1], sink=lambda _: quick_names.append(threading.current_thread().name))
    polling = running(held, other)
    wait_for(lambda: len(names) == 1, "the sink")
    wait_for(polls(other, 5), "polls of the other")
    assert held.view().stats.polls == len(names) == 1
    release.set()
    wait_for(polls(held), "further polls")
    polling.stop(PATIENCE_SECONDS)
    assert all(name.startswith("poll-") for name in names)
    assert set(quick_names) == {"scheduler"}


def test_internal_error_in_the_loop(
    boxes: list[Box], records: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in one charger's poll is logged and counted; the loop goes on, and so does the poll."""
    real = Decoder.decode
    broken = threading.Event()
    broken.set()

    def decode(decoder: Decoder, status: dict[str, object], *rest: Any) -> Any:
        if broken.is_set() and status.get("sse") == "000000":
            raise ZeroDivisionError("a mistake")
        return real(decoder, status, *rest)

    monkeypatch.setattr(Decoder, "decode", decode)
    failing, sound = (polled(box) for box in boxes[:2])
    polling = running(failing, sound)
    wait_for(lambda: polling.internal_errors >= 3, "three errors")
    wait_for(polls(sound), "polls of the other")
    broken.clear()
    wait_for(polls(failing), "polls without the error")
    polling.stop(PATIENCE_SECONDS)
    assert len(records) == 1
    assert records[0].getMessage() == "poll aborted by an internal error"
    assert records[0].__dict__["values"] == {"charger": "000000", "times": 1}
    assert records[0].exc_info is not None
    assert records[0].exc_info[0] is ZeroDivisionError


def test_charger_removed_and_added_again_while_it_hangs(boxes: list[Box]) -> None:
    """The poll in progress remains the only one, and the others are polled meanwhile."""
    boxes[0].fault = "hang"
    hanging, other = (polled(box) for box in boxes[:2])
    polling = running(hanging, other)
    wait_for(lambda: boxes[0].requests == 1, "a poll that hangs")
    for _ in range(5):
        polling.replace((other,))
        polling.replace((other, hanging))
    wait_for(polls(other), "polls of the other")
    assert boxes[0].requests == 1
    boxes[0].fault = None
    boxes[0].close()
    wait_for(polls(hanging), "polls that fail")
    polling.stop(PATIENCE_SECONDS)
    assert boxes[0].max_concurrent == 1


def test_stop_abandons_a_request_in_the_loop(boxes: list[Box]) -> None:
    """A charger that hangs delays the end by no more than the grace time."""
    boxes[0].fault = "hang"
    polling = running(polled(boxes[0]))
    wait_for(lambda: boxes[0].requests == 1, "a poll that hangs")
    started = time.monotonic()
    returned(lambda: polling.stop(0.3))
    assert time.monotonic() - started > 0.25
    boxes[0].close()


# The pool


def test_pool_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most as many polls run as the pool has threads, however many chargers hang."""
    assert scheduler_module.MAX_WORKERS == 256
    monkeypatch.setattr(scheduler_module, "MAX_WORKERS", 3)
    before = workers()
    tickers = [Ticker(0.05, held=True) for _ in range(12)]
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


def test_quick_chargers_share_a_thread() -> None:
    """Threads are started on demand, not one per charger."""
    before = workers()
    led = Led(*[1.0] * 64)
    led.settle()
    for number in range(1, 128):
        led.to(number / 64)
    assert workers() - before == 1
    led.scheduler.stop(1)


# Internal errors


def test_internal_error_is_logged_counted_and_survived(records: list[logging.LogRecord]) -> None:
    """An unexpected exception is logged with its traceback, once a minute; polling continues."""
    failing, sound = Failing(0.05), Ticker(0.05)
    polling = running(failing, sound)
    wait_for(lambda: failing.ended >= 4 and sound.ended >= 4, "four rounds")
    polling.stop(1)
    assert polling.internal_errors == failing.ended
    assert len(records) == 1
    assert records[0].levelname == "ERROR"
    assert records[0].__dict__["values"] == {"charger": "ticker", "times": 1}
    assert records[0].exc_info is not None
    assert records[0].exc_info[0] is ZeroDivisionError


# The end


def test_stop_waits_for_a_poll_in_progress() -> None:
    """`stop` returns when the poll in progress has ended, and not before."""
    ticker = Ticker(held=True)
    polling = running(ticker)
    wait_for(lambda: ticker.in_progress == 1, "a poll in progress")
    stopping = threading.Thread(target=polling.stop, args=(3600,), daemon=True)
    stopping.start()
    stopping.join(0.1)
    assert stopping.is_alive()
    ticker.release.set()
    stopping.join(PATIENCE_SECONDS)
    assert not stopping.is_alive()
    assert (ticker.ended, len(ticker.begun)) == (1, 1)


def test_stop_waits_no_longer_than_its_grace() -> None:
    """A poll that does not end is abandoned after the grace time."""
    ticker = Ticker(held=True)
    polling = running(ticker)
    wait_for(lambda: ticker.in_progress == 1, "a poll in progress")
    started = time.monotonic()
    returned(lambda: polling.stop(0.3))
    assert time.monotonic() - started > 0.25
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
    """Without a poll in progress `stop` returns at once, whatever its grace time."""
    led = Led(60.0)
    led.settle()
    returned(lambda: led.scheduler.stop(3600))


# Histograms


def test_every_poll_is_measured() -> None:
    """Each poll is counted once in the histograms of duration and lateness."""
    led = Led(1.0, 1.0)
    quick, slow = led.tickers
    led.settle()
    slow.release.clear()
    led.to(0.625)
    led.clock.now = 0.875
    slow.release.set()
    led.settle()
    led.to(1.0)
    led.scheduler.stop(1)
    assert (quick.ended, slow.ended) == (2, 1)
    duration, lateness = led.scheduler.duration, led.scheduler.lateness
    assert (sum(duration.counts), duration.sum) == (3, 0.25)
    assert (sum(lateness.counts), lateness.sum) == (3, 0.125)
    assert dict(duration.buckets()) == {
        **dict.fromkeys(("0.01", "0.025", "0.05", "0.1"), 2.0),
        **dict.fromkeys(("0.25", "0.5", "1.0", "2.0", "4.0", "+Inf"), 3.0),
    }


def test_without_chargers_nothing_happens() -> None:
    """A scheduler without pollers starts and stops."""
    polling = running()
    polling.stop(1)
    assert polling.internal_errors == 0


def test_behind_while_a_poll_is_due() -> None:
    """The scheduler is behind from the moment a poll is due until it begins, unless stopped."""
    led = Led(5.0)
    led.settle()
    assert not led.scheduler.is_behind()
    led.to(5.0)
    assert not led.scheduler.is_behind()
    led.scheduler.stop(0.0)
    led.clock.now = 60.0
    assert not led.scheduler.is_behind()


def test_behind_before_the_start() -> None:
    """A poll that is due and has no thread to begin it counts."""
    clock = Clock(0.0)
    scheduler = Scheduler((), clock)
    assert not scheduler.is_behind()
    scheduler.replace([Ticker(5.0, clock=clock)])
    assert scheduler.is_behind()
    clock.now = -1.0
    assert not scheduler.is_behind()
