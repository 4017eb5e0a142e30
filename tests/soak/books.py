"""The books compared: what chargers, server and exporter each say of the same cycles."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median, quantiles
from typing import NamedTuple

from tests.soak.bucket import Point, Tally
from tests.soak.chargers import ANSWERED, GUEST, REFUSED, Poll
from tests.soak.conductor import TRUSTED_OFFSETS, polls
from tests.soak.exporter import DEADLINE_SECONDS, FACTOR
from tests.soak.process import INTERVAL_MS, Metrics, Weight

INTERVAL_SECONDS = INTERVAL_MS / 1000
LONGEST_WAIT_SECONDS = 60.0 / FACTOR
FAILURES_BEFORE_BACK_OFF = 3
LONGEST_OFF_SECONDS = 2.0
SILENCE_SECONDS = 2.9
"""So long beyond fault and back-off may a charger not be asked: what a busy machine may take,
and less than the longest back-off."""

CUT = "truncated"
"""What becomes of a connection that waits when its charger switches off."""

EARLY_SECONDS = 0.5
"""A point that was held may seem that much earlier than its poll: clocks are read in turn."""

MANY = 100
LATE = 1.1
FLAT = 0.05
PACE = "at least a quarter of the polls keep pace"
FLAT_MEMORY = "memory is flat within 5 %"
MORE = 2
"""So many descriptors or threads more are no leak: polls and scrapes under way."""


class Check(NamedTuple):
    """A promise, whether it was kept, and what was seen."""

    promise: str
    kept: bool
    seen: str


class Calm(NamedTuple):
    """A moment at which all was well: each charger's energy (Wh) and restarts, and the metrics."""

    energy_wh: Mapping[str, float]
    reboots: Mapping[str, int]
    metrics: Metrics


class Frozen(NamedTuple):
    """A moment at which no charger answered and the spool was empty, and what was done by then.

    `guest` are the polls of the charger that came and went, `server` the server's counts, and
    `letters` says how many lines lie in `dead/`.
    """

    polls: Mapping[str, list[Poll]]
    guest: list[Poll]
    points: Mapping[str, list[Point]]
    server: Tally
    letters: int
    metrics: Metrics


def checks(calm: Calm, frozen: Frozen) -> Iterator[Check]:
    """Yield what is to be compared at the end."""
    yield _energy(calm)
    yield _reboots(calm)
    yield _polls(frozen)
    yield _reasons(frozen)
    yield from _points(frozen)
    yield _total(frozen)
    yield from _missed(frozen.polls)
    defects = frozen.metrics["goe_exporter_defects_total",]
    yield Check("no poll was aborted by an internal error", defects == 0, f"{defects:.0f}")


def tenths(weights: Sequence[Weight]) -> list[Weight]:
    """Return the median weight in each tenth of the time; of few weights some stand for two."""
    bounds = [len(weights) * tenth // 10 for tenth in range(11)]
    parts = (weights[first : max(end, first + 1)] for first, end in itertools.pairwise(bounds))
    return [Weight(*(int(median(column)) for column in zip(*part, strict=True))) for part in parts]


def flat(weights: Sequence[Weight]) -> Iterator[Check]:
    """Yield whether the last tenth weighs what the second did."""
    second, last = weights[1], weights[-1]
    before, after = second.memory_kb / 1024, last.memory_kb / 1024
    seen = f"{before:.1f} MB, then {after:.1f} MB ({after / before - 1:+.1%})"
    yield Check(FLAT_MEMORY, abs(after / before - 1) <= FLAT, seen)
    for what in ("descriptors", "threads"):
        early, late = getattr(second, what), getattr(last, what)
        yield Check(f"{what} are flat", late <= early + MORE, f"{early}, then {late}")


def _energy(calm: Calm) -> Check:
    wrong = []
    for name, energy_wh in calm.energy_wh.items():
        told = calm.metrics.get(("goe_energy_joules_total", name), -3600) / 3600
        if told != energy_wh:
            wrong.append(f"{name}: {told} Wh, not {energy_wh}")
    total = sum(calm.energy_wh.values())
    return _check("the energy of each charger is exact to the Wh", wrong, f"{total:.0f} Wh")


def _reboots(calm: Calm) -> Check:
    wrong = []
    for name, reboots in calm.reboots.items():
        told = calm.metrics.get(("goe_reboots_total", name))
        if told != reboots:
            wrong.append(f"{name}: {told}, not {reboots}")
    total = sum(calm.reboots.values())
    return _check("the restart count of each charger is exact", wrong, f"{total}")


def _polls(frozen: Frozen) -> Check:
    wrong = []
    for name, made in frozen.polls.items():
        seen = sum(each.outcome != REFUSED for each in made) + _unseen(frozen, name)
        told = frozen.metrics["goe_polls_total", name]
        if seen != told:
            wrong.append(f"{name}: {told:.0f}, not {seen}")
    total = sum(int(frozen.metrics["goe_polls_total", name]) for name in frozen.polls)
    if total + len(frozen.guest) != polls(frozen.metrics):
        wrong.append(f"all: {polls(frozen.metrics)}, not {total} and {len(frozen.guest)} guest's")
    seen_by = f"{polls(frozen.metrics)}, including the guest's {len(frozen.guest)}"
    return _check("the poll counts match those of the chargers", wrong, seen_by)


def _unseen(frozen: Frozen, name: str) -> int:
    """Return how many polls reached no charger: refused, or cut off by its switching off."""
    told, seen = _told(frozen, name), _seen(frozen, name)
    return told[REFUSED] + min(max(told[CUT] - seen[CUT], 0), seen[REFUSED])


def _told(frozen: Frozen, name: str) -> Counter[str]:
    """Return the exporter's failures by reason."""
    prefix = ("goe_poll_failures_total", name)
    return Counter({k[2]: int(v) for k, v in frozen.metrics.items() if k[:2] == prefix and v})


def _seen(frozen: Frozen, name: str) -> Counter[str]:
    """Return the failures due by reason; being switched off or on is one that is `refused`."""
    return Counter(each.outcome for each in frozen.polls[name] if each.outcome != ANSWERED)


def _reasons(frozen: Frozen) -> Check:
    """Compare the failures by reason; only the exporter knows how many were refused."""
    wrong, total = [], 0
    for name in frozen.polls:
        told, seen = _told(frozen, name), _seen(frozen, name)
        total += told.total()
        cut = _unseen(frozen, name) - told[REFUSED]
        if {**told, REFUSED: 0} != {**(seen + Counter({CUT: cut})), REFUSED: 0}:
            wrong.append(f"{name}: {dict(told)}, not {dict(seen)}")
    return _check("each failed poll has the reason of its fault", wrong, f"{total} failures")


def _points(frozen: Frozen) -> Iterator[Check]:
    """Match each point with the poll it is of: made before it, and with the same words."""
    wrong: list[str] = []
    matched = 0
    for name, made in {**frozen.polls, GUEST: frozen.guest}.items():
        pairs = _matched(made, frozen.points.get(name, []), wrong, name)
        unseen = _unseen(frozen, name) if name != GUEST else 0
        if pairs.unseen > unseen:
            wrong.append(f"{name}: {pairs.unseen} points of {unseen} polls it did not see")
        matched += pairs.matched
    yield _check("each point matches one poll by content and time", wrong, f"{matched} points")
    tally = frozen.server
    seen = f"{tally.repeated} repeated, {tally.overwritten} with the time of another"
    kept = not tally.overwritten and not tally.foreign
    yield Check("no point is on the server twice", kept, seen)


class _Pairs(NamedTuple):
    """How many points are of a poll, and how many of failed polls that reached no charger."""

    matched: int
    unseen: int


def _matched(made: Sequence[Poll], points: Sequence[Point], wrong: list[str], name: str) -> _Pairs:
    made = [each for each in made if each.outcome != REFUSED]
    begun = [each.time for each in made]
    taken: set[int] = set()
    unseen = 0
    for point in points:
        time = _true_time(point.time, begun[0])
        latest = bisect_right(begun, time + 0.001) - 1
        early = bisect_right(begun, time + EARLY_SECONDS)
        near = (each for each in range(max(latest, 0), early) if each not in taken)
        place = next((each for each in near if _says(made[each], point)), None)
        if place is not None:
            taken.add(place)
        elif not point.up:
            unseen += 1
        else:
            wrong.append(f"{name}: {point} is not {made[latest]}")
    return _Pairs(len(taken), unseen)


def _says(poll: Poll, point: Point) -> bool:
    if not point.up:
        return poll.outcome != ANSWERED
    words = (poll.outcome, poll.uptime_s, poll.energy_wh)
    return words == (ANSWERED, point.uptime_s, point.energy_wh)


def _true_time(stamp: float, begun: float) -> float:
    """Return when a point was taken, whichever way the clock was off."""
    candidates = (stamp - offset for offset in (0.0, *TRUSTED_OFFSETS))
    return min(candidates, key=lambda time: abs(time - begun))


def _total(frozen: Frozen) -> Check:
    """Compare all that was measured with what became of it."""
    metrics = frozen.metrics
    there, made = sum(map(len, frozen.points.values())), polls(metrics)
    written, rejected, dropped = (
        int(metrics["goe_influx_points_total", result])
        for result in ("written", "rejected", "dropped")
    )
    # A refused line that finds no room in `dead/` any more counts as dropped too.
    kept = made == written + dropped + frozen.letters and rejected >= frozen.letters
    # What the server took without saying so may have been dropped, and what was on its way.
    kept &= written <= there <= written + frozen.server.untold + dropped
    kept &= (
        metrics["goe_influx_spooled_points",] == metrics["goe_influx_damaged_records_total",] == 0
    )
    seen = f"{made} polls: {written} written, {rejected} rejected, {dropped} dropped; "
    seen += f"{there} on the server, {frozen.server.untold} of them unacknowledged"
    return Check("each poll is one point: written, rejected or dropped", kept, seen)


def _missed(all_polls: Mapping[str, list[Poll]]) -> Iterator[Check]:
    missed, longest, worst = 0, 0.0, "nowhere"
    gaps: list[float] = []
    for name, made in all_polls.items():
        failures = 0
        for poll, following in itertools.pairwise(made):
            failures = 0 if poll.outcome == ANSWERED else failures + 1
            if poll.outcome == REFUSED:
                failures = MANY  # how many it were the charger does not know
            if following.outcome == REFUSED:
                continue
            gap = following.time - poll.time
            beyond = gap - _allowed(poll, failures)
            missed += max(round(beyond / INTERVAL_SECONDS), 0)
            if poll.outcome == ANSWERED:
                gaps.append(gap)
            if beyond > longest:
                longest, worst = beyond, f"{name}, {poll.outcome}, then {following.outcome}"
    seen = f"longest silence {longest:.2f} s ({worst}); {missed} ticks skipped by the busy machine"
    yield Check("no poll is missing beyond a fault", longest <= SILENCE_SECONDS, seen)
    usual = quantiles(gaps)[0]
    yield Check(PACE, usual <= INTERVAL_SECONDS * LATE, f"{usual * 1000:.1f} ms")


def _allowed(poll: Poll, failures: int) -> float:
    """Return after how long the next poll is due: the fault's time, and the back-off."""
    if poll.outcome == REFUSED:
        return LONGEST_OFF_SECONDS + LONGEST_WAIT_SECONDS
    doubled = INTERVAL_SECONDS * 2.0 ** max(failures - FAILURES_BEFORE_BACK_OFF + 1, 0)
    lasts = DEADLINE_SECONDS if poll.outcome == "timeout" else poll.until - poll.time
    return max(min(doubled, LONGEST_WAIT_SECONDS), lasts + INTERVAL_SECONDS)


def _check(promise: str, wrong: list[str], seen: str) -> Check:
    if wrong:
        return Check(promise, kept=False, seen=f"{len(wrong)} wrong: {'; '.join(wrong[:5])}")
    return Check(promise, kept=True, seen=seen)
