"""Compares the counts of chargers, server and exporter."""

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
from tests.soak.process import INTERVAL_MS, Metrics, Usage

INTERVAL_SECONDS = INTERVAL_MS / 1000
MAX_BACK_OFF_SECONDS = 60.0 / FACTOR
FAILURES_BEFORE_BACK_OFF = 3
MAX_OFF_SECONDS = 2.0
MAX_SILENCE_SECONDS = 2.9
"""Maximum time without a poll, beyond fault and back-off: a busy machine needs some, and it must
be less than the longest back-off."""

CUT = "truncated"
"""Outcome of a waiting connection when its charger is switched off."""

TIMEOUT = "timeout"

EARLY_SECONDS = 0.5
"""Tolerance for points without a timestamp: clocks are read one after the other."""

MANY = 100
LATE = 1.1
FLAT = 0.05
PACE = "at least a quarter of the polls keep pace"
FLAT_MEMORY = "memory is flat within 5 %"
TOLERANCE = 22
"""Further descriptors or threads that are not a leak: polls of 20 chargers and scrapes in progress,
which last longer on a busy machine. A leak in one poll of ten thousand is larger."""


class Check(NamedTuple):
    """A promise, whether it was kept, and the figures."""

    promise: str
    kept: bool
    seen: str


class Calm(NamedTuple):
    """A moment without faults: each charger's energy (Wh) and restarts, and the metrics."""

    energy_wh: Mapping[str, float]
    reboots: Mapping[str, int]
    metrics: Metrics


class Frozen(NamedTuple):
    """A moment at which no charger answered and the spool was empty, with all records until then.

    `guest` holds the polls of the charger that was added and removed, `server` the counts of the
    server, and `letters` is the number of lines in `dead/`.
    """

    polls: Mapping[str, list[Poll]]
    guest: list[Poll]
    points: Mapping[str, list[Point]]
    server: Tally
    letters: int
    metrics: Metrics


def checks(calm: Calm, frozen: Frozen) -> Iterator[Check]:
    """Yield the checks at the end of a run."""
    yield _energy(calm)
    yield _reboots(calm)
    yield _polls(frozen)
    yield _reasons(frozen)
    yield from _points(frozen)
    yield _total(frozen)
    yield from _missed(frozen.polls)
    defects = frozen.metrics["goe_exporter_defects_total",]
    yield Check("no poll was aborted by an internal error", defects == 0, f"{defects:.0f}")


def tenths(usages: Sequence[Usage]) -> list[Usage]:
    """Return the median usage in each tenth of the time; a sample may count for two tenths."""
    bounds = [len(usages) * tenth // 10 for tenth in range(11)]
    parts = (usages[first : max(end, first + 1)] for first, end in itertools.pairwise(bounds))
    return [Usage(*(int(median(column)) for column in zip(*part, strict=True))) for part in parts]


def flat(usages: Sequence[Usage]) -> Iterator[Check]:
    """Yield whether the last tenth uses as much as the second."""
    second, last = usages[1], usages[-1]
    before, after = second.memory_kb / 1024, last.memory_kb / 1024
    seen = f"{before:.1f} MB, then {after:.1f} MB ({after / before - 1:+.1%})"
    yield Check(FLAT_MEMORY, abs(after / before - 1) <= FLAT, seen)
    for what in ("descriptors", "threads"):
        early, late = getattr(second, what), getattr(last, what)
        yield Check(f"{what} are flat", late <= early + TOLERANCE, f"{early}, then {late}")


def _energy(calm: Calm) -> Check:
    wrong = []
    for name, energy_wh in calm.energy_wh.items():
        reported = calm.metrics.get(("goe_energy_joules_total", name), -3600) / 3600
        if reported != energy_wh:
            wrong.append(f"{name}: {reported} Wh, not {energy_wh}")
    total = sum(calm.energy_wh.values())
    return _check("the energy of each charger is exact to the Wh", wrong, f"{total:.0f} Wh")


def _reboots(calm: Calm) -> Check:
    wrong = []
    for name, reboots in calm.reboots.items():
        reported = calm.metrics.get(("goe_reboots_total", name))
        if reported != reboots:
            wrong.append(f"{name}: {reported}, not {reboots}")
    total = sum(calm.reboots.values())
    return _check("the restart count of each charger is exact", wrong, f"{total}")


def _polls(frozen: Frozen) -> Check:
    wrong = []
    for name, made in frozen.polls.items():
        seen = sum(each.outcome != REFUSED for each in made) + _unseen(frozen, name)
        reported = frozen.metrics["goe_polls_total", name]
        if seen != reported:
            wrong.append(f"{name}: {reported:.0f}, not {seen}")
    total = sum(int(frozen.metrics["goe_polls_total", name]) for name in frozen.polls)
    if total + len(frozen.guest) != polls(frozen.metrics):
        wrong.append(f"all: {polls(frozen.metrics)}, not {total} and {len(frozen.guest)} guest's")
    seen_by = f"{polls(frozen.metrics)}, including the guest's {len(frozen.guest)}"
    return _check("the poll counts match those of the chargers", wrong, seen_by)


def _unseen(frozen: Frozen, name: str) -> int:
    """Return the number of polls that did not reach the charger, for any reason."""
    return _reported(frozen, name)[REFUSED] + _lost(frozen, name).total()


def _lost(frozen: Frozen, name: str) -> Counter[str]:
    """Return the polls that were not refused and still did not reach the charger, by reason.

    The charger cut them off when it was switched off, or the machine stood still for so long that
    their time was over before the request was sent. The latter leaves a silence.
    """
    extra = _reported(frozen, name) - _seen(frozen, name)
    made = [each for each in frozen.polls[name] if each.outcome != REFUSED]
    silences = sum(
        following.time - poll.until >= DEADLINE_SECONDS
        for poll, following in itertools.pairwise(made)
    )
    cut = min(extra[CUT], _seen(frozen, name)[REFUSED])
    return Counter({CUT: cut, TIMEOUT: min(extra[TIMEOUT], silences)})


def _reported(frozen: Frozen, name: str) -> Counter[str]:
    """Return the exporter's failures by reason."""
    prefix = ("goe_poll_failures_total", name)
    return Counter({k[2]: int(v) for k, v in frozen.metrics.items() if k[:2] == prefix and v})


def _seen(frozen: Frozen, name: str) -> Counter[str]:
    """Return the expected failures by reason; switching off or on counts as `refused`."""
    return Counter(each.outcome for each in frozen.polls[name] if each.outcome != ANSWERED)


def _reasons(frozen: Frozen) -> Check:
    """Compare the failures by reason; only the exporter knows how many were refused."""
    wrong, total = [], 0
    for name in frozen.polls:
        reported, seen = _reported(frozen, name), _seen(frozen, name)
        total += reported.total()
        if {**reported, REFUSED: 0} != {**(seen + _lost(frozen, name)), REFUSED: 0}:
            wrong.append(f"{name}: {dict(reported)}, not {dict(seen)}")
    return _check("each failed poll has the reason of its fault", wrong, f"{total} failures")


def _points(frozen: Frozen) -> Iterator[Check]:
    """Match each point with its poll: an earlier one with the same values."""
    wrong: list[str] = []
    matched = 0
    for name, made in {**frozen.polls, GUEST: frozen.guest}.items():
        pairs = _matched(made, frozen.points.get(name, []), wrong, name)
        unseen = _unseen(frozen, name) if name != GUEST else 0
        if pairs.unseen > unseen:
            wrong.append(f"{name}: {pairs.unseen} points of {unseen} polls that did not reach it")
        matched += pairs.matched
    yield _check("each point matches one poll by content and time", wrong, f"{matched} points")
    tally = frozen.server
    seen = f"{tally.repeated} repeated, {tally.overwritten} with the time of another"
    kept = not tally.overwritten and not tally.foreign
    yield Check("no point is on the server twice", kept, seen)


class _Pairs(NamedTuple):
    """Number of points with a poll, and of points of failed polls that reached no charger."""

    matched: int
    unseen: int


def _matched(made: Sequence[Poll], points: Sequence[Point], wrong: list[str], name: str) -> _Pairs:
    made = [each for each in made if each.outcome != REFUSED]
    begun = [each.time for each in made]
    taken: set[int] = set()
    unseen = 0
    for point in points:
        time = _true_time(point.time, begun[0])
        # A point is stamped at the end of its poll, in whole milliseconds: the next may have begun.
        latest = bisect_right(begun, time) - 1
        early = bisect_right(begun, time + EARLY_SECONDS)
        near = (each for each in range(max(latest, 0), early) if each not in taken)
        place = next((each for each in near if _matches(made[each], point)), None)
        if place is not None:
            taken.add(place)
        elif not point.up:
            unseen += 1
        else:
            wrong.append(f"{name}: {point} is not {made[latest]}")
    return _Pairs(len(taken), unseen)


def _matches(poll: Poll, point: Point) -> bool:
    if not point.up:
        return poll.outcome != ANSWERED
    values = (poll.outcome, poll.uptime_s, poll.energy_wh)
    return values == (ANSWERED, point.uptime_s, point.energy_wh)


def _true_time(stamp: float, begun: float) -> float:
    """Return the time of a point's poll, whatever the clock showed."""
    candidates = (stamp - offset for offset in (0.0, *TRUSTED_OFFSETS))
    return min(candidates, key=lambda time: abs(time - begun))


def _total(frozen: Frozen) -> Check:
    """Compare the number of polls with the results of their points."""
    metrics = frozen.metrics
    there, made = sum(map(len, frozen.points.values())), polls(metrics)
    written, rejected, dropped = (
        int(metrics["goe_influx_points_total", result])
        for result in ("written", "rejected", "dropped")
    )
    # A rejected line for which `dead/` has no room counts as dropped too.
    kept = made == written + dropped + frozen.letters and rejected >= frozen.letters
    # Points that the server stored without a response may have been dropped, as those in flight.
    kept &= written <= there <= written + frozen.server.unacknowledged + dropped
    kept &= (
        metrics["goe_influx_spooled_points",] == metrics["goe_influx_damaged_records_total",] == 0
    )
    seen = f"{made} polls: {written} written, {rejected} rejected, {dropped} dropped; "
    seen += f"{there} on the server, {frozen.server.unacknowledged} of them unacknowledged"
    return Check("each poll is one point: written, rejected or dropped", kept, seen)


def _missed(all_polls: Mapping[str, list[Poll]]) -> Iterator[Check]:
    missed, longest, worst = 0, 0.0, "nowhere"
    gaps: list[float] = []
    for name, made in all_polls.items():
        failures = 0
        for poll, following in itertools.pairwise(made):
            failures = 0 if poll.outcome == ANSWERED else failures + 1
            if poll.outcome == REFUSED:
                failures = MANY  # the charger does not know the number
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
    yield Check("no poll is missing beyond a fault", longest <= MAX_SILENCE_SECONDS, seen)
    usual = quantiles(gaps)[0]
    yield Check(PACE, usual <= INTERVAL_SECONDS * LATE, f"{usual * 1000:.1f} ms")


def _allowed(poll: Poll, failures: int) -> float:
    """Return the time until the next poll is due: the duration of the fault, and the back-off."""
    if poll.outcome == REFUSED:
        return MAX_OFF_SECONDS + MAX_BACK_OFF_SECONDS
    doubled = INTERVAL_SECONDS * 2.0 ** max(failures - FAILURES_BEFORE_BACK_OFF + 1, 0)
    lasts = DEADLINE_SECONDS if poll.outcome == TIMEOUT else poll.until - poll.time
    return max(min(doubled, MAX_BACK_OFF_SECONDS), lasts + INTERVAL_SECONDS)


def _check(promise: str, wrong: list[str], seen: str) -> Check:
    if wrong:
        return Check(promise, kept=False, seen=f"{len(wrong)} wrong: {'; '.join(wrong[:5])}")
    return Check(promise, kept=True, seen=seen)
