"""A meter that jumps, in a real Prometheus and a real InfluxDB: never booked as energy.

Where the viewer is, it is an hour later than in UTC. `garage` (API 2) is read each minute from
midnight of 1 June 2026 on:

- On the 1st it charges 10 kWh in the first hour of all: the meter rises from 1000 to 1010 kWh. At
  8:30 the meter jumps to 1254.7 kWh.
- On the 2nd a car is there from 10:00 to 14:00. A firmware update at 11:00 takes five minutes,
  after which the meter shows 900 kWh. From 11:05 to 12:05 it charges 5 kWh. The session's counter
  has 0.3 kWh more, from before the update.
- On the 3rd a car is there from 10:00 to 12:00 and charges 6 kWh until 11:00. There are no readings
  from 10:20 to 10:50, in which it charges 3 kWh.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dashboard_queries import DAY, Moment, ask, queries, query_of, unix
from prometheus_server import Found, Prometheus, Sample
from servers import InfluxDB

FIRST = unix(2026, 6, 1)
MINUTES = range(3 * 1440)
SILENT = {*range(1440 + 660, 1440 + 665), *range(2880 + 620, 2880 + 650)}
JUNE = Moment(FIRST, FIRST + 3 * DAY, DAY)
SESSIONS = Moment(FIRST + DAY, FIRST + 3 * DAY, 60)
PRICE = 0.25


def share(minute: int, begin: int, end: int) -> float:
    """Return the elapsed share of the time from `begin` to `end`."""
    return min(max((minute - begin) / (end - begin), 0), 1)


def meter_kwh(minute: int) -> float:
    """Return the reading of the meter."""
    if minute < 1440 + 660:
        return 1000 + 10 * share(minute, 0, 60) + (244.7 if minute >= 510 else 0)
    return 900 + 5 * share(minute, 2105, 2165) + 6 * share(minute, 3480, 3540)


def session_kwh(minute: int) -> float:
    """Return the session's counter, which keeps the last session until the next one."""
    if minute < 3480:
        return 0.3 * share(minute, 2040, 2100) + 5 * share(minute, 2105, 2165)
    return 6 * share(minute, 3480, 3540)


def idle(minute: int) -> bool:
    """Return whether no car is plugged in."""
    return not (1440 + 600 <= minute < 1440 + 840 or 2880 + 600 <= minute < 2880 + 720)


def samples() -> Iterator[Sample]:
    """Yield the samples of Prometheus' scrapes: none while the charger does not respond."""
    of = {"job": "goe", "instance": "localhost:10332", "charger": "garage"}
    identity = {"api": "2", "firmware": "060.3", "model": "V4", "serial": "218042"}
    for minute in MINUTES:
        if minute not in SILENT:
            time = FIRST + 60 * minute
            yield Sample("goe_energy_joules_total", of, 3.6e6 * meter_kwh(minute), time)
            yield Sample("goe_session_energy_joules", of, 3.6e6 * session_kwh(minute), time)
            state = of | {"state": "idle"}
            yield Sample("goe_car_state", state, float(idle(minute)), time)
            yield Sample("goe_device_info", of | identity, 1.0, time)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Yield a Prometheus with the samples."""
    server = Prometheus(tmp_path_factory.mktemp("jump"))
    server.remember(samples())
    with server.up():
        yield server


@pytest.fixture(scope="module")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    """Yield an InfluxDB with the samples."""
    with InfluxDB(tmp_path_factory.mktemp("jump")).up() as server:
        server.write(
            "\n".join(
                f"goe_charger,charger=garage energy_wh={1000 * meter_kwh(minute)}"
                f" {round(1000 * (FIRST + 60 * minute))}"
                for minute in MINUTES
                if minute not in SILENT
            )
        )
        yield server


def shown(server: Prometheus, title: str, moment: Moment, letter: str = "A") -> Found:
    """Return the only series of a panel of the energy dashboard."""
    (found,) = ask(server, query_of("prometheus/energy.json", title, letter), moment)
    return found


def total(server: Prometheus, title: str, moment: Moment) -> float:
    """Return the only number of a panel."""
    (value,) = shown(server, title, moment).values.values()
    return value


def test_days_in_prometheus(prometheus: Prometheus) -> None:
    """Neither +900 nor +244.7 nor -354.7 kWh is on any day, and a gap costs nothing."""
    days = shown(prometheus, "Energy per day", JUNE._replace(end=JUNE.end - DAY)).values
    # A jump of the meter may count for five minutes of the maximum power.
    assert days[FIRST] == pytest.approx(10 + 3.75, abs=0.1)
    assert days[FIRST + DAY] == pytest.approx(5, abs=0.1)
    assert days[FIRST + 2 * DAY] == pytest.approx(6, abs=0.1)


def test_totals_in_prometheus(prometheus: Prometheus) -> None:
    """Energy and money of the second and third day; the first hour of all is complete."""
    later = JUNE._replace(start=FIRST + DAY)
    day = JUNE._replace(start=FIRST + DAY, end=FIRST + 2 * DAY - 60)
    hour = JUNE._replace(end=FIRST + 3600)
    assert total(prometheus, "Selected time range", later) == pytest.approx(11, abs=0.15)
    assert total(prometheus, "Cost", later) == pytest.approx(11 * PRICE, abs=0.04)
    assert total(prometheus, "By charger", later) == pytest.approx(11, abs=0.15)
    assert total(prometheus, "Today", day) == pytest.approx(5, abs=0.1)
    assert total(prometheus, "Today", hour) == pytest.approx(10, abs=0.1)


def test_months_in_prometheus(prometheus: Prometheus) -> None:
    """The month has what was charged; a jump ahead counts for an hour of the power at most."""
    year = Moment(unix(2025, 6, 4), unix(2026, 6, 4), DAY)
    months = shown(prometheus, "Months", year).values
    assert list(months) == [FIRST]
    assert 21 <= months[FIRST] <= 21 + 45


def test_sessions_in_prometheus(prometheus: Prometheus) -> None:
    """A session in which the meter jumped has the energy of its own counter, and its price."""
    left = [unix(2026, 6, 2, hours=14), unix(2026, 6, 3, hours=12)]
    energy = shown(prometheus, "Sessions", SESSIONS).values
    assert energy == pytest.approx(dict(zip(left, (5.3, 6), strict=True)))
    cost = shown(prometheus, "Sessions", SESSIONS, "B").values
    assert cost == pytest.approx(dict(zip(left, (1.325, 1.5), strict=True)))
    plugged_in = shown(prometheus, "Sessions", SESSIONS, "C").values
    assert plugged_in == dict(zip(left, (14_460, 7_260), strict=True))


def column(server: InfluxDB, title: str, moment: Moment, name: str) -> dict[float, float]:
    """Return a column of a panel of the energy dashboard by Unix time."""
    (query,) = queries("influxdb/energy.json", title)
    found = server.query(moment.fill(query.text))
    return {row["time"] / 1000: row[name] for row in found}


def test_days_in_influxdb(influxdb: InfluxDB) -> None:
    """The first day counts from its first hour; a jump adds nothing, and a gap loses nothing."""
    days = column(influxdb, "Energy per day", JUNE, "sum")
    assert days == pytest.approx({FIRST: 10, FIRST + DAY: 5, FIRST + 2 * DAY: 6})


def test_totals_in_influxdb(influxdb: InfluxDB) -> None:
    """Energy and money of all days, of the first hour alone, and of the month."""
    (energy,) = column(influxdb, "Selected time range", JUNE, "kWh").values()
    (cost,) = column(influxdb, "Cost", JUNE, "cost").values()
    (of_charger,) = column(influxdb, "By charger", JUNE, "kWh").values()
    assert (energy, cost, of_charger) == pytest.approx((21, 21 * PRICE, 21))
    first_hour = Moment(FIRST, FIRST + 3600, 60)
    assert list(column(influxdb, "Today", first_hour, "kWh").values()) == pytest.approx([10])
    months = column(influxdb, "Months", JUNE, "Energy")
    assert sum(months.values()) == pytest.approx(21)
