"""Two months of charging in a real Prometheus and a real InfluxDB: kilowatt-hours by hand.

Where the viewer is, it is an hour later than in UTC. From 1 January to 2 March 2026

- `garage` (API 2) charges as many kWh as the day of the month has, from 0:10 to 1:10, and the car
  stays until 3:10; that is another day in UTC than here. Card 1 is used. On 20 February the number
  of phases changes half-way, so that the session's counter starts again.
- `yard` (API 1) charges 2.4 kWh from 12:00 to 13:00 and the car stays until 14:00. Its meter counts
  whole kWh, two a day, and starts again from zero at 18:00 on 10 February.

There is a sample each hour, and every five minutes from 18 to 21 February.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from by_library import families
from dashboard_queries import DAY, Moment, ask, midnight, queries, query_of, unix
from prometheus_server import Found, Prometheus, Sample
from servers import InfluxDB

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.influx.line_protocol import line
from goe_exporter.polling.view import ChargerView, Poll, PollStats

FIRST, LAST = unix(2026, 1, 1), unix(2026, 3, 2, hours=12)
EVERY, HOUR = 300.0, 3600.0
IDLE, CHARGING, COMPLETE = 1, 2, 4
KEPT = {
    "goe_card_energy_joules_total",
    "goe_device_info",
    "goe_energy_joules_total",
    "goe_session_energy_joules",
}
STATES = {"idle", "charging", "complete"}
PHASE_SWITCH, METER_RESET = unix(2026, 2, 20), unix(2026, 2, 10, hours=18)

SESSIONS = [
    f"goe_session,card={card},charger={charger},serial=1 energy_wh={wh},meter_start_wh=0.0"
    f",meter_end_wh={wh},plugged_s={plugged},charging_s={charging},unobserved_s=0.0,start_s=0.0"
    f',id="{charger}",flags="{flags}"{name} {ended:.0f}'
    for card, charger, wh, plugged, charging, flags, name, ended in (
        ("1", "garage", 19_000.0, 10_800.0, 3_600.0, "", ',card_name="Anna"', 1_771_466_400_000),
        ("1", "garage", 20_000.0, 10_800.0, 3_600.0, "may_be_two", ',card_name="Anna"',
         1_771_552_800_000),
        ("0", "yard", 2_400.0, 7_200.0, 3_600.0, "", "", 1_771_592_400_000),
        ("3", "yard", 600.0, 60.0, 60.0, "", "", 1_771_678_800_000),
    )
]  # fmt: skip
"""Closed sessions on 19, 20 and 21 February, as the exporter would write them."""

FEBRUARY = Moment(unix(2026, 2, 1), unix(2026, 3, 1), DAY)
FINE = Moment(unix(2026, 2, 18), unix(2026, 2, 22), DAY)
RECORDED_ONLY = "prometheus/energy.json Sessions E"
YEAR = Moment(unix(2025, 3, 2), LAST, DAY)


def garage(time: float, before_wh: float) -> dict[str, object]:
    """Return the readings of `garage` at a time, after an energy charged before that day."""
    minute = (time - midnight(time)) / 60
    today_wh = 1000 * day_of_month(time) * share(minute - 10)
    restarted = midnight(time) == PHASE_SWITCH and minute >= 40
    session = today_wh - 10_000 if restarted else today_wh
    return {
        "car": CHARGING if 10 <= minute < 70 else COMPLETE if 70 <= minute < 190 else IDLE,
        "eto": before_wh + today_wh,
        "wh": session,
        "c0e": before_wh + today_wh,
        "sse": "218042",
        "fwv": "055.7",
        "nrg": [230] * 16,
    }


def yard(time: float, _before_wh: float) -> dict[str, object]:
    """Return the readings of `yard` at a time."""
    minute = (time - midnight(time)) / 60
    days = round((midnight(time) - FIRST) / DAY)
    done = share(minute - 720)
    meter = 7000 + 2000 * days + 1000 * int(2 * done)
    if time >= METER_RESET:
        meter -= 7000 + 2000 * round((METER_RESET - 18 * 3600 - FIRST) / DAY) + 2000
    return {
        "car": CHARGING if 720 <= minute < 780 else COMPLETE if 780 <= minute < 840 else IDLE,
        "eto": meter,
        "wh": 2400 * done if minute >= 720 else 2400,
        "sse": "004711",
        "fwv": "041.0",
        "nrg": [230] * 16,
    }


def day_of_month(time: float) -> int:
    """Return the day of the month in the viewer's time zone."""
    return [*range(1, 32), *range(1, 29), 1, 2][round((midnight(time) - FIRST) / DAY)]


def share(minutes: float) -> float:
    """Return the completed share of an hour of charging."""
    return min(max(minutes / 60, 0), 1)


def polls() -> Iterator[Poll]:
    """Yield the polls of the exporter, by the project's own decoder."""
    before_wh, time = 500_000.0, FIRST
    while time <= LAST:
        step = EVERY if FINE.start <= time < FINE.end else HOUR
        for charger, api, says in (("garage", 2, garage), ("yard", 1, yard)):
            status = says(time, before_wh)
            snapshot = Snapshot(charger, api, time, time, decode(status, api).readings)
            yield Poll(charger, str(status["sse"]), time, snapshot)
        if midnight(time + step) != midnight(time):
            before_wh += 1000 * day_of_month(time)
        time += step


def samples() -> Iterator[Sample]:
    """Yield the history as Prometheus would have scraped it."""
    scraped = {"job": "goe", "instance": "localhost:10332"}
    for poll in polls():
        view = ChargerView(poll.charger, "", PollStats(), poll.snapshot, 0.0)
        for family in families([view]):
            for name, labels, value, *_rest in family.samples:
                if name in KEPT or (name == "goe_car_state" and labels["state"] in STATES):
                    yield Sample(name, scraped | labels, value, poll.time)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Yield a Prometheus with the history."""
    server = Prometheus(tmp_path_factory.mktemp("history"))
    server.remember(samples())
    with server.up():
        yield server


@pytest.fixture(scope="module")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    """Yield an InfluxDB with the history."""
    lines = [line(poll, {}) for poll in polls()] + SESSIONS
    with InfluxDB(tmp_path_factory.mktemp("history")).up() as server:
        for begin in range(0, len(lines), 5000):
            server.write("\n".join(lines[begin : begin + 5000]))
        yield server


def panel(server: Prometheus, title: str, moment: Moment, letter: str = "A") -> list[Found]:
    """Return the result of a panel of the energy dashboard."""
    return ask(server, query_of("prometheus/energy.json", title, letter), moment)


def by(label: str, found: list[Found]) -> dict[str, dict[float, float]]:
    """Return the values over time by a label."""
    return {each.labels[label]: each.values for each in found}


def single(found: list[Found]) -> float:
    """Return the only value."""
    ((value,),) = [each.values.values() for each in found]
    return value


# Prometheus


def test_days_in_prometheus(prometheus: Prometheus) -> None:
    """A bar is at local midnight and has the energy of that local day."""
    days = by("charger", panel(prometheus, "Energy per day", FEBRUARY))
    assert list(days["garage"])[:2] == [unix(2026, 2, 1), unix(2026, 2, 2)]
    for day in range(1, 29):
        assert days["garage"][unix(2026, 2, day)] == pytest.approx(day, rel=0.01)
        # The meter's restart on the 10th counts as nothing.
        assert days["yard"][unix(2026, 2, day)] == pytest.approx(2, rel=0.01)
    assert days["garage"][unix(2026, 3, 1)] == pytest.approx(1, rel=0.01)


def test_months_in_prometheus(prometheus: Prometheus) -> None:
    """A row is at the first of a month and has that month, of 31 or 28 days."""
    months = of_each_charger(prometheus, YEAR)
    january, february, march = unix(2026, 1, 1), unix(2026, 2, 1), unix(2026, 3, 1)
    assert {time for values in months.values() for time in values} == {january, february, march}
    assert months["garage"][january] == pytest.approx(496, rel=0.005)
    assert months["garage"][february] == pytest.approx(406, rel=0.005)
    assert months["yard"][january] == pytest.approx(62, rel=0.01)
    assert months["yard"][february] == pytest.approx(56, rel=0.01)
    assert months["garage"][march] == pytest.approx(3, rel=0.02)
    ((total,), (cost,)) = (panel(prometheus, "Months", YEAR, letter) for letter in "AB")
    assert total.values[january] == pytest.approx(558, rel=0.005)
    assert total.values[february] == pytest.approx(462, rel=0.005)
    assert cost.values[january] == pytest.approx(139.5, rel=0.005)


def of_each_charger(server: Prometheus, moment: Moment) -> dict[str, dict[float, float]]:
    """Return the months with one charger selected and then the other."""
    chosen = {name: moment._replace(chosen={"charger": name}) for name in ("garage", "yard")}
    return {name: panel(server, "Months", each)[0].values for name, each in chosen.items()}


@pytest.mark.parametrize("hours_east", [-10, -3.5, 0, 5.75, 13])
def test_months_begin_where_the_viewer_is(prometheus: Prometheus, hours_east: float) -> None:
    """In every time zone the rows are at the local first of the month."""
    start = midnight(unix(2025, 12, 15), hours_east)
    months = panel(prometheus, "Months", Moment(start, LAST, DAY))
    expected = [unix(2026, month, 1, hours_east=hours_east) for month in (1, 2, 3)]
    assert {time for each in months for time in each.values} == set(expected)


def test_totals_in_prometheus(prometheus: Prometheus) -> None:
    """The large numbers: energy and cost in February, the meters at its end, hours of four days."""
    assert single(panel(prometheus, "Selected time range", FEBRUARY)) == pytest.approx(
        462, rel=0.005
    )
    cost = single(panel(prometheus, "Cost", FEBRUARY))
    assert cost == pytest.approx(115.5, rel=0.005)
    hours = single(panel(prometheus, "Charging time", FINE))
    assert hours == pytest.approx(8, rel=0.02)
    # garage 500 + 496 + 406, yard 36 since the 11th of February.
    assert single(panel(prometheus, "Meter", FEBRUARY)) == pytest.approx(1438, abs=0.01)
    today = Moment(unix(2026, 2, 28), unix(2026, 2, 28, hours=20), 60)
    assert single(panel(prometheus, "Today", today)) == pytest.approx(30, rel=0.01)
    of_charger = by("charger", panel(prometheus, "By charger", FEBRUARY))
    assert list(of_charger) == ["garage", "yard"]
    (cards,) = panel(prometheus, "By card", FEBRUARY)
    assert cards.labels == {"card": "1"}
    assert single([cards]) == pytest.approx(406, rel=0.005)


def test_hours_of_use_in_prometheus(prometheus: Prometheus) -> None:
    """On each day both cars charged an hour; they stayed two hours and one hour more."""
    states = by("state", panel(prometheus, "Hours of use per day", FINE))
    assert set(states) == {"charging", "complete"}
    for day in range(18, 22):
        assert states["charging"][unix(2026, 2, day)] == pytest.approx(2, abs=0.05)
        assert states["complete"][unix(2026, 2, day)] == pytest.approx(3, abs=0.05)


def test_sessions_in_prometheus(prometheus: Prometheus) -> None:
    """A row per session, once the car has left: energy, cost and duration.

    A change of phases costs a session of API 2 nothing, whole kWh of the meter one of API 1.
    """
    days = Moment(unix(2026, 2, 19), unix(2026, 2, 21, hours=12), EVERY)
    energy = by("charger", panel(prometheus, "Sessions", days))
    cost = by("charger", panel(prometheus, "Sessions", days, "B"))
    plugged_in = by("charger", panel(prometheus, "Sessions", days, "C"))
    left = [unix(2026, 2, day, hours=3 + 1 / 6) for day in (19, 20, 21)]
    assert energy["garage"] == pytest.approx(dict(zip(left, (19, 20, 21), strict=True)))
    assert cost["garage"] == pytest.approx(dict(zip(left, (4.75, 5, 5.25), strict=True)))
    assert plugged_in["garage"] == dict.fromkeys(left, 11_100.0)
    left = [unix(2026, 2, day, hours=14) for day in (19, 20)]
    assert energy["yard"] == pytest.approx(dict.fromkeys(left, 2.4))
    assert plugged_in["yard"] == dict.fromkeys(left, 7_500.0)


def test_each_query_of_energy_finds_something_in_prometheus(prometheus: Prometheus) -> None:
    """No panel of the energy dashboard is empty over two months; no session was recorded."""
    for query in queries("prometheus/energy.json"):
        step = max(query.least_step, EVERY)
        start = midnight(LAST) - 20 * DAY
        found = ask(prometheus, query, Moment(start, LAST, step))
        assert bool(found) is (query.name != RECORDED_ONLY), query.name


# InfluxDB


def rows(
    server: InfluxDB, title: str, moment: Moment, letter: str = "A"
) -> list[dict[str, object]]:
    """Return the rows of a panel of the energy dashboard."""
    return server.query(moment.fill(query_of("influxdb/energy.json", title, letter).text))


def value(server: InfluxDB, title: str, moment: Moment) -> object:
    """Return the only number of a panel."""
    (row,) = rows(server, title, moment)
    (number,) = [each for key, each in row.items() if key != "time"]
    return number


def test_days_in_influxdb(influxdb: InfluxDB) -> None:
    """A bar is at midnight in the selected time zone, also for the first day shown."""
    found: dict[object, list[float]] = {}
    for row in rows(influxdb, "Energy per day", FEBRUARY):
        time, number = row.values()
        found.setdefault(time, []).append(float(str(number)))
    for day in range(1, 29):
        # What was charged from 0:10 on in Central Europe is still the day before in UTC.
        charged = found[unix(2026, 2, day) * 1000]
        # The meter of yard went back on the 10th, when nothing was charged.
        assert sorted(charged) == pytest.approx(sorted([2, day])), day


def test_the_first_day_in_influxdb(influxdb: InfluxDB) -> None:
    """The first day with points counts from its first hour: 1 kWh from 0:10, 2 from 12:00."""
    first = rows(influxdb, "Energy per day", Moment(FIRST - DAY, FIRST + DAY, DAY))
    charged = [row["sum"] for row in first if row["time"] == FIRST * 1000]
    assert charged == pytest.approx([1, 2])


def test_months_in_influxdb(influxdb: InfluxDB) -> None:
    """The days that Grafana sums by month give the months, and their cost."""
    days = rows(influxdb, "Months", Moment(YEAR.start, YEAR.end, DAY))
    sums = {"Energy": [0.0, 0.0], "Cost": [0.0, 0.0]}
    ends = [unix(2026, month, 1) * 1000 for month in (1, 2, 3)]
    for month, (begin, end) in enumerate(pairwise(ends)):
        for column, total in sums.items():
            total[month] = sum(row[column] for row in days if begin <= row["time"] < end)  # type: ignore[misc, operator]
    assert sums["Energy"] == pytest.approx([496 + 62, 406 + 56])
    assert sums["Cost"] == pytest.approx([139.5, 115.5])


def test_totals_in_influxdb(influxdb: InfluxDB) -> None:
    """The large numbers: energy and cost in February, the meters at its end, hours of four days."""
    assert value(influxdb, "Selected time range", FEBRUARY) == pytest.approx(462)
    assert value(influxdb, "Cost", FEBRUARY) == pytest.approx(115.5)
    # A point every five minutes stands for one minute here; the exporter writes several a minute.
    assert value(influxdb, "Charging time", FINE) == pytest.approx(8 / 5)
    assert value(influxdb, "Meter", FEBRUARY) == pytest.approx(1438)
    today = Moment(unix(2026, 2, 28), unix(2026, 2, 28, hours=20), 60)
    assert value(influxdb, "Today", today) == pytest.approx(30)
    # From 0:40 on: half of garage's hour, and yard.
    late = Moment(unix(2026, 2, 19, hours=2 / 3), unix(2026, 2, 19, hours=20), 60)
    assert value(influxdb, "Today", late) == pytest.approx(9.5 + 2)
    charged = [row["kWh"] for row in rows(influxdb, "By charger", FEBRUARY)]
    assert charged == pytest.approx([406, 56])


def test_hours_of_use_in_influxdb(influxdb: InfluxDB) -> None:
    """Minutes with a point of a state are counted by local days."""
    charging = rows(influxdb, "Hours of use per day", FINE)
    assert [row["time"] for row in charging] == [unix(2026, 2, day) * 1000 for day in range(18, 22)]
    assert [row["charging"] for row in charging] == pytest.approx([2 / 5] * 4)


def test_sessions_in_influxdb(influxdb: InfluxDB) -> None:
    """A row per closed session, latest first: energy, cost at 25 ct a kWh, duration and marks."""
    days = Moment(unix(2026, 2, 19), unix(2026, 2, 21, hours=12), EVERY)
    assert rows(influxdb, "Sessions", days) == [
        {
            "time": 1_771_592_400_000, "charger": "yard", "card": "0", "energy": 2.4,
            "cost": pytest.approx(0.6), "plugged": 7_200, "charging": 3_600, "flags": "",
        },
        {
            "time": 1_771_552_800_000, "charger": "garage", "card": "1", "card_name": "Anna",
            "energy": 20, "cost": 5, "plugged": 10_800, "charging": 3_600, "flags": "may_be_two",
        },
        {
            "time": 1_771_466_400_000, "charger": "garage", "card": "1", "card_name": "Anna",
            "energy": 19, "cost": 4.75, "plugged": 10_800, "charging": 3_600, "flags": "",
        },
    ]  # fmt: skip
    yard = rows(influxdb, "Sessions", days._replace(chosen={"charger": "yard"}))
    assert [row["energy"] for row in yard] == [2.4]


def test_cards_in_influxdb(influxdb: InfluxDB) -> None:
    """The energy of each card in February; sessions without a card are left out."""
    cards = [row["kWh"] for row in rows(influxdb, "By card", FEBRUARY)]
    assert cards == pytest.approx([39, 0.6])


def test_each_query_of_energy_finds_something_in_influxdb(influxdb: InfluxDB) -> None:
    """No panel of the energy dashboard is empty over two months; nobody waited for a car."""
    empty = [
        query.name
        for query in queries("influxdb/energy.json")
        if not influxdb.query(FEBRUARY.fill(query.text))
    ]
    assert empty == ["influxdb/energy.json Hours of use per day B"]
