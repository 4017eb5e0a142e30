"""Every query of every dashboard against real servers, filled by the exporter from real requests.

Simulated chargers → exporter → Prometheus and InfluxDB: a V4 that charges with an error behind it,
a V2 by API v1 on one phase, a PRO with an error, a V3 with a broken sensor, and one that never
answers.
"""

from __future__ import annotations

import itertools
import math
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from dashboard_queries import DAY, Moment, Query, ask, board, midnight, queries, query_of
from prometheus_server import Found, Prometheus, Sample
from servers import InfluxDB, free_port, push_config, running, wait_for

from dashboards.build import BOARDS
from goe_exporter.service import session_points
from goe_exporter.sessions.session import Session
from goe_exporter.simulator import Battery, Car, Charger, Controller, House, Simulator

PROMETHEUS = [name for name in BOARDS if name.startswith("prometheus/")]
INFLUXDB = [name for name in BOARDS if name.startswith("influxdb/")]

ELSEWHERE = "proven by two months of history, in test_dashboards_history.py"
NOT_CONTROLLED = "no charger is charged with the surplus here; proven in test_dashboards_surplus.py"
MAY_BE_EMPTY = {
    "prometheus/charger.json": {
        "Surplus and charging power A": NOT_CONTROLLED,
        "Surplus and charging power C": NOT_CONTROLLED,
        "Offered current A": NOT_CONTROLLED,
        "Surplus history": NOT_CONTROLLED,
        "Energy left before a pause": NOT_CONTROLLED,
        "Share of sun": NOT_CONTROLLED,
        "Charged by origin": NOT_CONTROLLED,
        "Starts, pauses and phase switches": NOT_CONTROLLED,
    },
    "prometheus/energy.json": {
        "Months": f"needs more time; {ELSEWHERE}",
        "Charging time": f"needs a full minute; {ELSEWHERE}",
        "Hours of use per day": f"needs a full minute; {ELSEWHERE}",
        "Sessions": f"no car leaves here; {ELSEWHERE}",
        "By card": f"nobody holds up a card here; {ELSEWHERE}",
    },
    "prometheus/exporter.json": {
        "InfluxDB points B": "failed writes, and InfluxDB takes every one",
    },
    "influxdb/charger.json": {
        "Voltage D": "N, which carries a voltage only where it is swapped with L",
    },
    "influxdb/energy.json": {
        "Today": f"needs more time; {ELSEWHERE}",
        "This month": f"needs more time; {ELSEWHERE}",
        "Selected time range": f"needs more time; {ELSEWHERE}",
        "Cost": f"needs more time; {ELSEWHERE}",
        "By charger": f"needs more time; {ELSEWHERE}",
        "Energy per day": f"needs more time; {ELSEWHERE}",
        "Months": f"needs more time; {ELSEWHERE}",
        "Hours of use per day B": "waiting for a car, which none does",
        "Hours of use per day C": f"finished, which no car is here; {ELSEWHERE}",
    },
}
"""Panels and queries that may find nothing here, and why."""

WHILE_INFLUXDB_FAILS = {
    "goe_influx_oldest_spooled_timestamp_seconds",
    "goe_influx_write_failures_total",
}
"""Metrics that are absent here; the build checks their names."""

OF_SECTIONS = ("goe_surplus_", "goe_last_session_", "goe_unassigned_energy_")
"""Beginnings of the metrics that are absent here because the configuration lacks their section."""

LIMIT = "vector($limit)"
"""The query for a number that the user types."""

LABELS = {"new": {"site": "depot"}, "pro": {"site": "depot"}, "old": {"site": "home"}}
"""Charger → its labels; the others have none."""

COUNTS = ("Chargers", "Not answering", "Charging", "With an error")
LABEL_LISTS = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right) *\(([^()]*)\)")


class World(NamedTuple):
    """The servers, and the simulated charger `old` by API v1."""

    prometheus: Prometheus
    influxdb: InfluxDB
    started: float


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Start everything once, and wait for the last slow reading of every charger."""
    folder = tmp_path_factory.mktemp("live")
    new, old, pro, broken = map(charging, ("V4", "V2", "PRO", "V3"))
    new.load_limit_a = 10
    new.tcl, new.tcl_until_s = 12, math.inf
    old._grid_v = [230.0, 0.0, 0.0, 1.5]
    pro.inject(8)
    broken.board_c = -16_843.0
    port = free_port()
    started = time.time()
    with Simulator(speed=10) as simulator, InfluxDB(folder).up() as influxdb:
        chargers = {
            "new": simulator.add(new).address,
            "old": simulator.add(old, api="1").address,
            "pro": simulator.add(pro).address,
            "broken": simulator.add(broken).address,
            "dead": f"127.0.0.1:{free_port()}",
        }
        house = House("sunny", battery=Battery(), start_s=12 * 3600)
        controller = simulator.add_controller(Controller(house))
        config = push_config(folder, influxdb.url, chargers)
        document = yaml.safe_load(config.read_text("utf-8"))
        for charger in document["chargers"]:
            charger["labels"] = LABELS.get(charger["name"], {})
        document["controllers"] = [{"name": "house", "host": controller.address}]
        config.write_text(yaml.safe_dump(document), "utf-8")
        with (
            running(exporter(config, port), folder / "exporter"),
            Prometheus(folder).up(f"127.0.0.1:{port}") as prometheus,
        ):
            here = World(prometheus, influxdb, started)
            wait_for(lambda: _all_there(here), "all readings in both servers", 90)
            influxdb.write(session_points.line(session(), {}, {}, {"3": "Anna"}))
            yield here


def charging(model: str) -> Charger:
    """Return a charger in the middle of a session."""
    charger = Charger(model, serial="218042", name=f"My {model}")
    charger.energy_wh = 4_321_000
    charger.plug(Car(battery_wh=60_000, soc=0.2))
    charger.advance(600)
    return charger


def session() -> Session:
    """Return a session that ended a second ago, with card 3; none ends here by itself."""
    ended = int(time.time()) - 1
    return Session(
        f"218042_{ended - 3600}", "new", "218042", 2, ended - 3600, ended, 11_000, 4_310_000,
        4_321_000, card=3, flags=("may_be_two",), charging_seconds=3_000, max_power_w=11_040,
    )  # fmt: skip


def exporter(config: Path, port: int) -> list[str]:
    """Return the command that serves on a port."""
    listen = ("--web.listen-address", f"127.0.0.1:{port}")
    return [
        sys.executable,
        "-m",
        "goe_exporter.cli",
        "serve",
        "--config",
        str(config),
        *listen,
    ]


def _all_there(world: World) -> bool:
    """Return whether the last slow readings are in both servers."""
    now = time.time()
    cards = world.prometheus.now('goe_card_energy_joules_total{card="10"}', now)
    slow = [row for row in world.influxdb.points() if "card_energy_10_wh" in row]
    return len(cards) == 4 and len({row["charger"] for row in slow}) == 4


def moment(world: World, query: Query, **chosen: str) -> Moment:
    """Return the time since the start, or for bars of days the last 40 days."""
    now = time.time()
    if query.least_step == DAY:
        return Moment(midnight(now) - 40 * DAY, now, DAY, chosen)
    step = max(query.least_step, 1)
    steps = math.ceil((now - world.started) / step)
    return Moment(now - steps * step, now, step, chosen)


def texts(name: str) -> list[str]:
    """Return all queries of a dashboard, those of its variables too, grouped by `site`."""
    made = board(name)
    of_variables = [
        each["definition"] for each in made["templating"]["list"] if each["type"] == "query"
    ]
    return of_variables + [query.text.replace("$group", "site") for query in queries(name)]


# Every query succeeds and finds something


def excused(query: Query) -> bool:
    """Return whether a query has a reason to find nothing."""
    reasons = MAY_BE_EMPTY.get(query.board, {})
    return query.panel in reasons or f"{query.panel} {query.letter}" in reasons


@pytest.mark.parametrize("name", PROMETHEUS)
def test_prometheus_answers_every_query(world: World, name: str) -> None:
    """Every query succeeds, and finds something unless there is a reason."""
    for query in queries(name):
        found = ask(world.prometheus, query, moment(world, query))
        if not found and not excused(query):
            # A rate needs two scrapes with an increase between them.
            wait_for(
                lambda query=query: bool(ask(world.prometheus, query, moment(world, query))),  # type: ignore[misc]
                query.name,
                60,
            )


@pytest.mark.parametrize("name", INFLUXDB)
def test_influxdb_answers_every_query(world: World, name: str) -> None:
    """Every query succeeds, and finds something unless there is a reason."""
    for query in queries(name):
        found = world.influxdb.query(moment(world, query).fill(query.text))
        assert found or excused(query), query.name


def test_reasons_are_of_queries_that_are_there() -> None:
    """Every reason belongs to an existing panel or query."""
    for name, reasons in MAY_BE_EMPTY.items():
        every = queries(name)
        named = {query.panel for query in every} | {f"{each.panel} {each.letter}" for each in every}
        assert set(reasons) <= named


def test_variables_offer_jobs_and_chargers(world: World) -> None:
    """The variables offer the job and every charger, including the dead one."""
    query = re.compile(r"label_values\((.+), (\w+)\)")
    chargers = ["broken", "dead", "new", "old", "pro"]
    for name in PROMETHEUS:
        lists = {}
        for each in board(name)["templating"]["list"]:
            if each["type"] == "query":
                match = query.fullmatch(each["query"]["query"])
                assert match is not None
                everything = match[1].replace("$job", ".*")
                lists[each["name"]] = world.prometheus.words(match[2], everything)
        assert lists == {"job": ["goe"], "charger": chargers}
    for name in INFLUXDB:
        (chosen,) = [
            each for each in board(name)["templating"]["list"] if each["name"] == "charger"
        ]  # fmt: skip
        offered = [row["value"] for row in world.influxdb.query(chosen["query"])]
        assert sorted(offered) == chargers


@pytest.mark.parametrize("name", PROMETHEUS)
def test_metrics_and_labels_are_the_exporters(world: World, name: str) -> None:
    """Every metric of a query exists, with the labels by which it is selected or grouped."""
    series = world.prometheus.series('{job="goe"}')
    labels: dict[str, set[str]] = {}
    for each in series:
        labels.setdefault(each["__name__"], set()).update(each)
    known = set().union(*labels.values())
    for text in texts(name):
        used = re.findall(r"\b(up|(?:goe|process)_\w+)(?:\{([^}]*)\})?", text)
        assert used or text == LIMIT, text
        for metric, matchers in used:
            if metric not in WHILE_INFLUXDB_FAILS and not metric.startswith(OF_SECTIONS):
                assert metric in labels, text
                chosen = set(re.findall(r"(\w+) *(?:=~|!~|!=|=)", matchers))
                assert chosen <= labels[metric], (metric, chosen)
        for grouped in LABEL_LISTS.findall(text):
            named = {label.strip() for label in grouped.split(",")} - {"", "le"}
            assert named <= known, text


@pytest.mark.parametrize("name", INFLUXDB)
def test_fields_are_the_exporters(world: World, name: str) -> None:
    """Every field of a query exists in the database."""
    fields = {row["fieldKey"] for row in world.influxdb.query("SHOW FIELD KEYS")}
    tags = {row["tagKey"] for row in world.influxdb.query("SHOW TAG KEYS")}
    for query in queries(name):
        aliases = set(re.findall(r'AS "([^"]+)"', query.text))
        named = (
            set(re.findall(r'"([^"]+)"', query.text))
            - aliases
            - {"goe_charger", "goe_controller", "goe_session"}
        )
        assert named <= fields | tags, query.name


def test_only_the_exporter_is_shown(world: World) -> None:
    """With all jobs chosen, processes and scrapes of other jobs are not shown."""
    assert len(world.prometheus.now("process_open_fds", time.time())) == 2
    for panel in ("CPU", "Memory", "Open files"):
        (query,) = queries("prometheus/exporter.json", panel)
        found = ask(world.prometheus, query, moment(world, query))
        assert [each.labels["job"] for each in found] == ["goe"]


# Unusual chargers


def shown(world: World, panel: str, charger: str, letter: str = "A") -> list[Found]:
    """Return what a panel of the charger's dashboard shows of one charger."""
    found = query_of("prometheus/charger.json", panel, letter)
    return ask(world.prometheus, found, moment(world, found, charger=charger))


def values(found: list[Found]) -> list[float]:
    """Return the last value of each series."""
    return [list(each.values.values())[-1] for each in found]


def test_a_dead_charger_is_unreachable(world: World) -> None:
    """Its state is -1, shown as unreachable; its readings are empty, not zero."""
    (state,) = shown(world, "State", "dead")
    assert values([state]) == [-1]
    # Its labels are those of a state, so that both are one row of the timeline.
    (answering,) = shown(world, "State history", "old")
    assert state.labels | {"charger": "old"} == answering.labels
    for panel in ("Power now", "This session", "Error", "Phases", "Data age", "Voltage"):
        assert shown(world, panel, "dead") == [], panel


def test_a_charger_of_api_v1(world: World) -> None:
    """It has a state, its board's and four other sensors, but no reason and no Wi-Fi signal."""
    assert values(shown(world, "State", "old")) == [2]
    assert shown(world, "Charging reason", "old") == []
    assert shown(world, "Wi-Fi", "old") == []
    sensors = [each.labels["sensor"] for each in shown(world, "Temperatures", "old")]
    assert sorted(sensors) == ["board", *(f"internal_{number}" for number in range(1, 5))]


def test_phases_that_are_not_connected_are_not_drawn(world: World) -> None:
    """A charger on one phase has one voltage, one on three has three; N has none."""

    def phases(charger: str) -> list[str]:
        return [each.labels["phase"] for each in shown(world, "Voltage", charger)]

    assert phases("old") == ["L1"]
    assert phases("new") == ["L1", "L2", "L3"]


def test_an_error_has_its_name(world: World) -> None:
    """The panel has one row, whose column `error` is the name of the error."""
    (row,) = shown(world, "Error", "pro")
    assert row.labels["error"] == "gnd_invalid"
    (row,) = shown(world, "Error", "new")
    assert row.labels["error"] == "none"


def test_fleet_has_a_row_for_each_charger(world: World) -> None:
    """Every charger has a state and an urgency; only the dead one has no readings."""
    table = queries("prometheus/fleet.json", "All chargers")
    columns = [ask(world.prometheus, query, moment(world, query)) for query in table]
    state, *others, urgency, labels = (
        {each.labels["charger"] for each in column} for column in columns
    )
    assert state == urgency == {"broken", "dead", "new", "old", "pro"}
    assert labels == urgency
    assert all(names == {"broken", "new", "old", "pro"} for names in others)
    counts = {
        query.panel: values(ask(world.prometheus, query, moment(world, query)))
        for panel in COUNTS
        for query in queries("prometheus/fleet.json", panel)
    }
    assert counts == {
        "Chargers": [5],
        "Not answering": [1],
        "Charging": [3],
        "With an error": [1],
    }


def test_fleet_groups_by_label(world: World) -> None:
    """Power is grouped by the label of the configuration; the table has it as a column."""
    (query,) = queries("prometheus/fleet.json", "Power by $group")
    at = moment(world, query)
    chargers = {"depot": "new|pro", "home": "old", "no site": "broken"}

    def sums_are_right() -> bool:
        """Return whether the groups match sums of chargers, once every scrape is stored."""
        expected = {}
        for site, names in chargers.items():
            power = f'sum(goe_power_watts{{job="goe",charger=~"{names}"}})'
            (expected[site],) = world.prometheus.past(power, at.start, at.end, at.step)
        found = ask(world.prometheus, query, at)
        return {each.labels.pop("site"): each for each in found} == expected

    wait_for(sums_are_right, "the power by site")
    column = query_of("prometheus/fleet.json", "All chargers", "H")
    rows = ask(world.prometheus, column, moment(world, column))
    assert {each.labels["charger"]: each.labels.get("site") for each in rows} == {
        "new": "depot", "pro": "depot", "old": "home", "broken": None, "dead": None,
    }  # fmt: skip


def test_labels_are_tags_in_influxdb(world: World) -> None:
    """The values of a label are the values of a tag."""
    rows = world.influxdb.query('SHOW TAG VALUES FROM "goe_charger" WITH KEY = "site"')
    assert {row["value"] for row in rows} == {"depot", "home"}


def test_chosen_chargers_only(world: World) -> None:
    """With one charger chosen, no panel has a series of another."""
    for query in itertools.chain.from_iterable(queries(name) for name in PROMETHEUS):
        for each in ask(world.prometheus, query, moment(world, query, charger="old")):
            assert each.labels.get("charger", "old") == "old", query.name


# No charger


def test_without_chargers_nothing_errs(tmp_path: Path) -> None:
    """On empty servers every query succeeds; counts are 0, all else except the limit is empty."""
    now = time.time()
    with Prometheus(tmp_path).up() as prometheus, InfluxDB(tmp_path).up() as influxdb:
        for query in itertools.chain.from_iterable(queries(name) for name in PROMETHEUS):
            step = max(query.least_step, 60)
            found = ask(prometheus, query, Moment(now - 3600, now, step))
            counts = query.panel in COUNTS and query.board == "prometheus/fleet.json"
            expected = [0] if counts else [63] if query.text == LIMIT else []
            assert values(found) == expected, query.name
        for query in itertools.chain.from_iterable(queries(name) for name in INFLUXDB):
            assert influxdb.query(Moment(now - 3600, now, 60).fill(query.text)) == []


def test_an_exporter_that_died_is_not_scraped(tmp_path: Path) -> None:
    """An exporter that ended within the time range gives 0, shown as No."""
    target, began = f"127.0.0.1:{free_port()}", time.time()
    labels = {"job": "goe", "instance": target, "version": "0.1.0"}
    server = Prometheus(tmp_path)
    server.remember([Sample("goe_exporter_build_info", labels, 1.0, began - 600)])
    (query,) = queries("prometheus/exporter.json", "Scraped")
    with server.up(target):

        def scraped() -> list[float]:
            now = time.time()
            return values(ask(server, query, Moment(began - 3600, now, 60)))

        wait_for(lambda: scraped() != [], "the first scrape")
        assert scraped() == [0]
