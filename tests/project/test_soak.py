"""A short run of the soak test, and errors that its comparison must detect."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from paths import ROOT

from goe_exporter.simulator import FAULTS
from tests.soak import chargers
from tests.soak.books import FLAT_MEMORY, PACE, Calm, Frozen, checks
from tests.soak.bucket import Point, Tally
from tests.soak.chargers import ANSWERED, REFUSED, Poll, Request
from tests.soak.conductor import CHARGER_EVENTS


@pytest.mark.system
def test_soak() -> None:
    """After some thousand polls with every fault, all counts agree.

    Memory needs a longer run, and the pace depends on what else runs on the machine.
    """
    command = [
        sys.executable,
        "-m",
        "tests.soak",
        "--polls",
        "3000",
        "--seed",
        "6",
        "--pause",
        "1",
    ]
    environment = {key: value for key, value in os.environ.items() if "GOE_EXPORTER" not in key}
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    rows = re.findall(r"^\| (.+?) \| (yes|NO) \| (.+) \|$", ran.stdout, re.MULTILINE)
    assert len(rows) == 17, (ran.stdout, ran.stderr)
    wrong = [row for row in rows if row[1] == "NO" and row[0] not in (FLAT_MEMORY, PACE)]
    assert not wrong, ran.stdout
    happened = set(re.findall(r"^\| (.+) \| \d+ \|$", ran.stdout, re.MULTILINE))
    assert happened >= set(CHARGER_EVENTS) >= set(FAULTS)


POLLS = [
    Poll(1000.0, ANSWERED, 5.0, 700.0, 1000.0),
    Poll(1000.05, ANSWERED, 6.0, 701.0, 1000.05),
    Poll(1000.10, "busy", until=1000.10),
    Poll(1000.12, REFUSED, until=1000.12),
    Poll(1000.20, ANSWERED, 8.0, 701.0, 1000.20),
    Poll(1000.25, ANSWERED, 9.0, 701.0, 1000.25),
    Poll(1000.30, ANSWERED, 10.0, 701.0, 1000.30),
]
POINTS = [
    Point(1000.001, True, 5.0, 700.0),
    Point(1000.051, True, 6.0, 701.0),
    Point(1000.101, False, -1.0, -1.0),
    Point(1000.15, False, -1.0, -1.0),
    Point(1000.201, True, 8.0, 701.0),
    Point(1000.251, True, 9.0, 701.0),
    Point(1000.301, True, 10.0, 701.0),
]
METRICS = {
    ("goe_energy_joules_total", "c00"): 701 * 3600.0,
    ("goe_reboots_total", "c00"): 3.0,
    ("goe_polls_total", "c00"): 7.0,
    ("goe_poll_failures_total", "c00", "busy"): 1.0,
    ("goe_poll_failures_total", "c00", "refused"): 1.0,
    ("goe_exporter_poll_duration_seconds_count",): 7.0,
    ("goe_exporter_defects_total",): 0.0,
    ("goe_influx_points_total", "written"): 7.0,
    ("goe_influx_points_total", "rejected"): 0.0,
    ("goe_influx_points_total", "dropped"): 0.0,
    ("goe_influx_spooled_points",): 0.0,
    ("goe_influx_damaged_records_total",): 0.0,
}
CALM = Calm({"c00": 701.0}, {"c00": 3}, METRICS)
FROZEN = Frozen({"c00": POLLS}, [], {"c00": POINTS}, Tally(), 0, METRICS)


def broken(calm: Calm, frozen: Frozen) -> list[str]:
    """Return the promises that these counts show broken."""
    return [check.promise for check in checks(calm, frozen) if not check.kept]


def test_books_that_agree() -> None:
    assert broken(CALM, FROZEN) == []


def without(place: int) -> dict[str, list[Point]]:
    return {"c00": POINTS[:place] + POINTS[place + 1 :]}


def late(seconds: float) -> dict[str, list[Poll]]:
    last = POLLS[-1]
    return {"c00": [*POLLS, last._replace(time=last.time + seconds)]}


@pytest.mark.parametrize(
    ("frozen", "promise"),
    [
        (FROZEN._replace(points=without(1)), "each poll is one point"),
        (FROZEN._replace(points=without(2)), "each poll is one point"),
        (FROZEN._replace(server=Tally(overwritten=1)), "no point is on the server twice"),
        (FROZEN._replace(server=Tally(foreign=1)), "no point is on the server twice"),
        (FROZEN._replace(letters=1), "each poll is one point"),
        (FROZEN._replace(polls={"c00": POLLS[:2] + POLLS[3:]}), "the poll counts match"),
        (FROZEN._replace(guest=POLLS[:1]), "the poll counts match"),
        (FROZEN._replace(polls=late(3.0)), "no poll is missing"),
        (
            FROZEN._replace(points={"c00": [POINTS[0]._replace(energy_wh=699.0), *POINTS[1:]]}),
            "each point matches one poll",
        ),
        (
            FROZEN._replace(points={"c00": [POINTS[0]._replace(time=1000.06), *POINTS[1:]]}),
            "each point matches one poll",
        ),
        (
            FROZEN._replace(metrics=METRICS | {("goe_poll_failures_total", "c00", "busy"): 2.0}),
            "each failed poll has the reason",
        ),
        (
            FROZEN._replace(metrics=METRICS | {("goe_influx_points_total", "dropped"): 1.0}),
            "each poll is one point",
        ),
        (
            FROZEN._replace(metrics=METRICS | {("goe_exporter_defects_total",): 1.0}),
            "no poll was aborted",
        ),
    ],
)
def test_books_that_differ(frozen: Frozen, promise: str) -> None:
    """A lost, repeated, misdated or miscounted point is detected."""
    assert any(found.startswith(promise) for found in broken(CALM, frozen))


def timed_out_unseen(silence: float) -> Frozen:
    """Return counts with a poll that timed out and that the charger did not see."""
    polls = [*POLLS[:4], *(each._replace(time=each.time + silence) for each in POLLS[4:])]
    points = [*POINTS[:4], *(each._replace(time=each.time + silence) for each in POINTS[4:])]
    points.insert(4, Point(1000.16 + silence, False, -1.0, -1.0))
    metrics = METRICS | {
        ("goe_polls_total", "c00"): 8.0,
        ("goe_poll_failures_total", "c00", "timeout"): 1.0,
        ("goe_exporter_poll_duration_seconds_count",): 8.0,
        ("goe_influx_points_total", "written"): 8.0,
    }
    return FROZEN._replace(polls={"c00": polls}, points={"c00": points}, metrics=metrics)


def test_a_timeout_that_no_charger_saw() -> None:
    """If the machine stood still, a poll may time out before its request is sent; else it may not.

    A poll has 2 s.
    """
    assert broken(CALM, timed_out_unseen(2.2)) == []
    assert broken(CALM, timed_out_unseen(0.5))[:2] == [
        "the poll counts match those of the chargers",
        "each failed poll has the reason of its fault",
    ]


def test_energy_and_restarts_that_differ() -> None:
    calm = CALM._replace(energy_wh={"c00": 702.0}, reboots={"c00": 4})
    assert broken(calm, FROZEN) == [
        "the energy of each charger is exact to the Wh",
        "the restart count of each charger is exact",
    ]


def asked(target: str, status: int = 200, *, empty: bool = False, fault: str = "") -> Request:
    return Request(1000.0, target, fault or None, status, empty, 5000, 700.0)


V2 = "/api/status?filter=nrg,eto,rbt"
OLD = "/api/status?filter=%5B%22nrg%22%2C%22eto%22%5D"
OLD_TEN = OLD.replace("%5D", "%2C%22x%22" * 8 + "%5D")
OLD_REST = "/api/status?filter=%5B%22rbt%22%5D"
OLD_TEN_MORE = OLD_TEN.replace("nrg", "rbt")


@pytest.mark.parametrize(
    ("book", "outcomes"),
    [
        ([asked(V2), asked(V2)], [ANSWERED, ANSWERED]),
        ([asked(V2, 404), asked("/status"), asked("/status")], [ANSWERED, ANSWERED]),
        ([asked(V2, fault="not_found"), asked("/status", fault="not_found")], ["not_found"]),
        ([asked(V2, empty=True), asked(OLD), asked(OLD_REST), asked(OLD)], [ANSWERED, ANSWERED]),
        ([asked(OLD, fault="html"), asked(OLD), asked(OLD_REST)], ["not_json", ANSWERED]),
        ([asked(V2, fault="bad_request"), asked(V2, fault="hang")], [ANSWERED, "timeout"]),
        ([asked(V2, 404, fault="bad_request"), asked("/status")], ["http_status", ANSWERED]),
        ([asked(V2, 404), asked(""), asked(V2)], [REFUSED, ANSWERED]),
        ([asked(OLD), asked(OLD_REST, empty=True), asked(V2)], [ANSWERED, ANSWERED]),
        ([asked(OLD_TEN), asked(""), asked(V2)], [REFUSED, REFUSED, ANSWERED]),
        ([asked(OLD_TEN), asked(OLD_TEN_MORE), asked(""), asked(V2)], [REFUSED, REFUSED, ANSWERED]),
        (
            [asked(OLD_TEN), *[asked(OLD_TEN_MORE)] * 2, asked(""), asked(V2)],
            [ANSWERED, REFUSED, ANSWERED],
        ),
        ([asked(OLD_TEN), asked(OLD_REST), asked(""), asked(V2)], [ANSWERED, REFUSED, ANSWERED]),
    ],
)
def test_book_to_polls(book: list[Request], outcomes: list[str]) -> None:
    """Requests are assigned to the right poll."""
    if book[-1].target == OLD:
        book = [*book, asked(OLD_REST)]
    assert [poll.outcome for poll in chargers.split(book, auto=True)] == outcomes
