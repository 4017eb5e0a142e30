"""The dashboards' JSON: current, importable into Grafana 11 to 13, and complete in every panel."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from dashboard_queries import Moment, queries
from servers import binary

from dashboards import influxql, looks, promql
from dashboards.build import BOARDS, FOLDER, grafana_com, main, provisioned
from dashboards.grafana import Board, Row, dashboard
from dashboards.panels import (
    stat,
)
from goe_exporter.channels import codes
from goe_exporter.web.locale import translations

ROOT = FOLDER.parent
PROVISIONED = {name: json.loads((FOLDER / name).read_text("utf-8")) for name in BOARDS}
SHARED = {str(path): json.loads(text) for path, text in grafana_com(Path()).items()}
EVERY = [
    pytest.param(made, id=f"{folder}{name}")
    for folder, boards in (("", PROVISIONED), ("grafana.com/", SHARED))
    for name, made in boards.items()
]
UIDS = {
    "prometheus/charger.json": "goe-charger",
    "prometheus/energy.json": "goe-energy",
    "prometheus/fleet.json": "goe-fleet",
    "prometheus/exporter.json": "goe-exporter",
    "influxdb/charger.json": "goe-influx-charger",
    "influxdb/energy.json": "goe-influx-energy",
}
CORE_PANELS = {"bargauge", "row", "stat", "state-timeline", "table", "timeseries"}
UNITLESS = {"none"}
BUILT_IN = {"__interval", "__rate_interval", "__range", "timeFilter"}
LINK_ONLY = {"__url_time_range", "__value"}

Json = dict[str, Any]
every_dashboard = pytest.mark.parametrize("made", EVERY)


def panels(made: Json) -> list[Json]:
    """Return the panels without the rows."""
    return [panel for panel in made["panels"] if panel["type"] != "row"]


def targets(made: Json) -> list[Json]:
    """Return the queries of all panels."""
    return [target for panel in panels(made) for target in panel["targets"]]


def leaves(value: object, *path: str) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yield every object and value of a JSON document with its path of keys."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, *path, key)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, *path)


# Checked in and current


def test_files_are_current() -> None:
    """The checked-in files are those that the build writes, and there is no other dashboard."""
    made = provisioned()
    there = {path for path in FOLDER.rglob("*.json") if "alerts" not in path.parts}
    assert there == set(made)
    assert [path for path, text in made.items() if path.read_text("utf-8") != text] == []


@pytest.mark.system
def test_the_check_names_what_is_old(tmp_path: Path) -> None:
    """`--check` fails and names an edited file; the build rewrites it; a typo is an error."""
    shutil.copytree(FOLDER, tmp_path / "dashboards")
    edited = tmp_path / "dashboards" / "influxdb" / "energy.json"
    edited.write_text(edited.read_text("utf-8").replace("go-e Energy", "My Energy"), "utf-8")

    def build(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "dashboards.build", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    assert build("--check") == (1, "dashboards/influxdb/energy.json: not current\n")
    assert build("--chek")[0] == 2
    assert build() == (0, "dashboards/influxdb/energy.json: written\n")
    assert build("--check") == (0, "")


def test_copies_for_grafana_com_are_written_to_a_folder(tmp_path: Path) -> None:
    """`--grafana-com` writes every copy there, and nothing else changes."""
    assert main(["--grafana-com", str(tmp_path / "copies")]) == 0
    written = {
        str(path.relative_to(tmp_path / "copies")): json.loads(path.read_text("utf-8"))
        for path in (tmp_path / "copies").rglob("*.json")
    }
    assert written == SHARED
    assert set(written) == set(UIDS)
    assert main(["--check"]) == 0
    assert not (FOLDER / "grafana.com").exists()


@pytest.mark.parametrize("name", BOARDS)
def test_uids_are_those_others_link_to(name: str) -> None:
    """A dashboard has the same uid in both copies, and it never changes."""
    assert PROVISIONED[name]["uid"] == SHARED[name]["uid"] == UIDS[name]


# Importable


@every_dashboard
def test_is_the_classic_model_of_schema_39(made: Json) -> None:
    """It is no v2 resource, has no database id, and later migrations do not change it."""
    assert "apiVersion" not in made
    assert "elements" not in made
    assert made["id"] is None
    assert made["schemaVersion"] == 39
    assert isinstance(made["refresh"], str)  # 40
    assert "time_options" not in made["timepicker"]  # 41
    for path, value in leaves(made):
        if path and path[-1] == "hideFrom":
            assert value == {"legend": False, "tooltip": False, "viz": False}, path  # 42


@every_dashboard
def test_panels_are_grafanas_own(made: Json) -> None:
    """Every panel is a core panel in its present form, with the version that saved it."""
    assert {panel["type"] for panel in made["panels"]} <= CORE_PANELS
    for panel in panels(made):
        assert panel["pluginVersion"] == "11.0.0"
        assert isinstance(panel["options"], dict)
        legend = panel["options"].get("legend")
        assert legend is None or (legend["displayMode"] in ("list", "table"))
        assert "footer" not in panel["options"]


@every_dashboard
def test_the_data_source_is_a_variable_everywhere(made: Json) -> None:
    """Panels, queries and variables refer to `${datasource}`, as an object with its type."""
    choice, *variables = made["templating"]["list"]
    source = choice["query"]
    assert (choice["type"], choice["name"]) == ("datasource", "datasource")
    assert source in ("prometheus", "influxdb")
    named = (
        [panel["datasource"] for panel in panels(made)]
        + [target["datasource"] for target in targets(made)]
        + [variable["datasource"] for variable in variables if variable["type"] == "query"]
    )
    assert len(named) > 20
    assert {tuple(sorted(each.items())) for each in named} == {
        (("type", source), ("uid", "${datasource}"))
    }
    others = [value for path, value in leaves(made) if path and path[-1] == "datasource"]
    assert [each for each in others if each not in named] == [
        {"type": "grafana", "uid": "-- Grafana --"}
    ]


@pytest.mark.parametrize("name", BOARDS)
def test_grafana_com_copy_asks_for_its_data_source(name: str) -> None:
    """The copy differs only in its inputs and requirements, which are complete and used."""
    made, original = SHARED[name], PROVISIONED[name]
    (asked,) = made["__inputs"]
    source = original["tags"][1]
    assert (asked["type"], asked["pluginId"]) == ("datasource", source)
    chosen = made["templating"]["list"][0]
    assert chosen["current"]["value"] == f"${{{asked['name']}}}"
    required = {(each["type"], each["id"]) for each in made["__requires"]}
    kinds = {("panel", panel["type"]) for panel in panels(made)}
    assert required == {("grafana", "grafana"), ("datasource", source), *kinds}
    assert all(each["name"] for each in made["__requires"])
    chosen["current"] = {}
    rest = {key: value for key, value in made.items() if not key.startswith("__")}
    assert rest == original
    assert not any(key.startswith("__") for key in original)


# Variables and links


def of_query(made: Json) -> dict[str, Json]:
    """Return the variables whose values come from a query."""
    listed = made["templating"]["list"]
    return {each["name"]: each for each in listed if each["type"] == "query"}


@every_dashboard
def test_variables_take_several_and_all(made: Json) -> None:
    """`charger`, and for Prometheus `job`, take several values or all, which match anything.

    Only the dashboard of one charger takes one charger.
    """
    variables = of_query(made)
    expected = {"charger"} if "influxdb" in made["tags"] else {"charger", "job"}
    assert set(variables) == expected
    assert {each["refresh"] for each in variables.values()} == {2}
    if made["title"].startswith("go-e Charger"):
        variables.pop("charger")
    for each in variables.values():
        assert (each["multi"], each["includeAll"], each["allValue"]) == (True, True, ".*")
        assert each["current"]["value"] == ["$__all"]


@pytest.mark.parametrize("name", ["prometheus/charger.json", "influxdb/charger.json"])
def test_charger_opens_on_one_charger(name: str) -> None:
    """The variable takes one charger, by default the first one, and never all."""
    made = PROVISIONED[name]
    charger = of_query(made)["charger"]
    assert (charger["multi"], charger["includeAll"], charger["allValue"]) == (False, False, None)
    assert charger["current"] == {}
    assert {row.get("repeat") for row in made["panels"] if row["type"] == "row"} == {None}


@every_dashboard
def test_variables_are_used_and_defined(made: Json) -> None:
    """Every variable that a query or link uses is defined, and every defined variable is used."""
    defined = {each["name"] for each in made["templating"]["list"]}
    text = json.dumps([made["panels"], made["templating"]])
    named = {first or second for first, second in re.findall(r"\$\{(\w+)[^}]*\}|\$(\w+)", text)}
    named -= BUILT_IN | LINK_ONLY | {"DS_PROMETHEUS", "DS_INFLUXDB", "__all"}
    named -= {"col", "tag_card", "tag_charger"}
    assert named == defined


@every_dashboard
def test_links_among_the_dashboards_keep_time_and_variables(made: Json) -> None:
    """Each links to the dashboards of its data source that show any number of chargers."""
    source = made["tags"][1]
    link = made["links"][0]
    assert made["tags"][0] == "go-e"
    assert link["type"] == "dashboards"
    assert link["tags"] == ["go-e", source, "go-e-overview"]
    assert (link["keepTime"], link["includeVars"]) == (True, True)


@pytest.mark.parametrize("name", BOARDS)
def test_no_link_opens_one_charger_on_all(name: str) -> None:
    """The link to the dashboard of one charger leaves out the variable `charger`."""
    made = PROVISIONED[name]
    source, is_charger = made["tags"][1], name.endswith("/charger.json")
    assert ("go-e-overview" in made["tags"]) is not is_charger
    urls = {
        "prometheus": "/d/goe-charger?${datasource:queryparam}&${job:queryparam}",
        "influxdb": "/d/goe-influx-charger?${datasource:queryparam}",
    }
    expected = [] if is_charger else [("link", urls[source], True, False)]
    assert [
        (link["type"], link["url"], link["keepTime"], link["includeVars"])
        for link in made["links"][1:]
    ] == expected


def test_fleet_leads_to_the_charger() -> None:
    """A charger's name in the fleet's table opens its dashboard with data source, job and time."""
    (chargers,) = [
        panel for panel in panels(PROVISIONED["prometheus/fleet.json"])
        if panel["title"] == "All chargers"
    ]  # fmt: skip
    (override,) = [
        each for each in chargers["fieldConfig"]["overrides"]
        if each["matcher"]["options"] == "Charger"
    ]  # fmt: skip
    ((link,),) = [each["value"] for each in override["properties"] if each["id"] == "links"]
    assert link["url"] == (
        "/d/goe-charger?${datasource:queryparam}&${job:queryparam}"
        "&var-charger=${__value.text:percentencode}&${__url_time_range}"
    )


# Panels


@every_dashboard
def test_every_panel_says_what_it_shows(made: Json) -> None:
    """A panel has a title, a description, a unit, thresholds and a text for no data."""
    for panel in panels(made):
        defaults = panel["fieldConfig"]["defaults"]
        assert panel["title"], panel["id"]
        assert re.fullmatch(r"[A-Z].{10,}[.a-z0-9]", panel["description"], re.DOTALL), panel[
            "title"
        ]
        assert defaults["unit"], panel["title"]
        steps = defaults["thresholds"]["steps"]
        assert steps[0]["value"] is None, panel["title"]
        bounds = [step["value"] for step in steps[1:]]
        assert bounds == sorted(bounds), panel["title"]
        assert "noValue" in defaults, panel["title"]


@every_dashboard
def test_numbers_have_units(made: Json) -> None:
    """Only counts, codes and tables go without a unit."""
    without = {panel["title"] for panel in panels(made)} & {
        panel["title"]
        for panel in panels(made)
        if panel["fieldConfig"]["defaults"]["unit"] in UNITLESS and panel["type"] == "timeseries"
    }
    assert without <= {
        *(
            "Chargers by state",
            "Chargers polled and answering",
            "Failed polls by charger and reason",
        ),
        *("Decode failures by charger and key", "InfluxDB points", "Spool", "Open files"),
    }


@every_dashboard
def test_names_beside_bars_are_not_cut(made: Json) -> None:
    """Grafana reserves the width of the longest name at 12 px, or more beside bars above 30 px.

    It writes the name in the size of the panel's option, so that 14 px would cut "apartment 1" to
    "apartme…" when there are many bars.
    """
    bars = [panel for panel in panels(made) if panel["type"] == "bargauge"]
    assert [panel["title"] for panel in bars if panel["options"]["text"]["titleSize"] > 12] == []


@every_dashboard
def test_panels_are_numbered_and_do_not_overlap(made: Json) -> None:
    """Ids are unique, and no two panels share a cell of the grid's 24 columns."""
    numbers = [panel["id"] for panel in made["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: dict[tuple[int, int], str] = {}
    for panel in made["panels"]:
        place = panel["gridPos"]
        across = range(place["x"], place["x"] + place["w"])
        assert across.stop <= 24, panel["title"]
        down = range(place["y"], place["y"] + place["h"])
        for cell in itertools.product(across, down):
            assert cell not in taken, (panel["title"], taken.get(cell))
            taken[cell] = panel["title"]


@every_dashboard
def test_titles_are_unique(made: Json) -> None:
    """No two panels of a dashboard have the same title."""
    titles = [panel["title"] for panel in panels(made)]
    assert sorted(set(titles)) == sorted(titles)


@every_dashboard
def test_lines_of_panels_are_full(made: Json) -> None:
    """Panels of a line fill the width and have the same height."""
    lines: dict[int, list[Json]] = {}
    for panel in panels(made):
        lines.setdefault(panel["gridPos"]["y"], []).append(panel["gridPos"])
    for line in lines.values():
        assert sum(place["w"] for place in line) == 24
        assert len({place["h"] for place in line}) == 1


@every_dashboard
def test_queries_have_their_letters(made: Json) -> None:
    """The queries of a panel are named A, B, C and so on, and are queries of its data source."""
    for panel in panels(made):
        letters = [target["refId"] for target in panel["targets"]]
        assert letters, panel["title"]
        assert letters == [chr(ord("A") + index) for index in range(len(letters))]
    for target in targets(made):
        if target["datasource"]["type"] == "prometheus":
            assert target["expr"]
            assert target["instant"] is not target["range"]
        else:
            assert target["rawQuery"]
            assert target["query"]


OWN = ("goe_exporter_", "goe_influx_", "goe_surplus_source_", "goe_controller_", "process_")


@every_dashboard
def test_all_queries_are_bound_to_the_chosen_chargers(made: Json) -> None:
    """Every selector and every FROM uses the variables, except for the exporter's own metrics.

    A Controller belongs to all chargers of a house.
    """
    for target in targets(made):
        if "expr" in target:
            for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", target["expr"]):
                assert 'job=~"$job"' in matchers, (name, matchers)
                own = name.startswith(OWN) or name == "up"
                assert ('charger=~"$charger"' in matchers) is not own, (name, matchers)
        else:
            if 'FROM "goe_controller"' in target["query"]:
                continue
            read = len(re.findall('FROM "goe_(charger|session)"', target["query"]))
            assert target["query"].count('"charger" =~ /^$charger$/') == read == 1


@every_dashboard
def test_rates_fit_the_scrape_interval(made: Json) -> None:
    """The window of a rate is `$__rate_interval`; that of an increase is a fixed span."""
    for target in targets(made):
        query = target.get("expr", "")
        for window in re.findall(r"rate\([^()]*\[([^\]]+)\]", query):
            assert window == "$__rate_interval"
        for window in re.findall(r"increase\([^()]*\[([^\]]+)\]", query):
            assert re.fullmatch(r"\$__range|1d|10m|2h:1h|(31|30|29|28)d1s:1h", window)


@pytest.mark.parametrize("name", ["prometheus/charger.json", "influxdb/charger.json"])
def test_one_colour_for_each_phase(name: str) -> None:
    """L1, L2 and L3 have the same colours in every graph, and three different ones."""
    seen: dict[str, set[str]] = {}
    for panel in panels(PROVISIONED[name]):
        for each in panel["fieldConfig"]["overrides"]:
            for option in each["properties"]:
                if option["id"] == "color" and each["matcher"]["options"] in ("L1", "L2", "L3"):
                    colors = seen.setdefault(each["matcher"]["options"], set())
                    colors.add(option["value"]["fixedColor"])
    assert sorted(seen) == ["L1", "L2", "L3"]
    assert all(len(colors) == 1 for colors in seen.values())
    assert len(set.union(*seen.values())) == 3


@pytest.mark.parametrize("name", ["prometheus/charger.json", "influxdb/charger.json"])
def test_voltage_shows_the_band_of_en_50160(name: str) -> None:
    """The graph of the voltage is red below 207 V and from 253 V, and transparent between."""
    (voltage,) = [panel for panel in panels(PROVISIONED[name]) if panel["title"] == "Voltage"]
    defaults = voltage["fieldConfig"]["defaults"]
    steps = [(step["value"], step["color"]) for step in defaults["thresholds"]["steps"]]
    assert [value for value, _color in steps] == [None, 207, 253]
    assert steps[0][1] == steps[2][1] != steps[1][1] == "transparent"
    assert defaults["custom"]["thresholdsStyle"] == {"mode": "area"}


# Choices


def texts(mappings: list[Json]) -> dict[str, str]:
    """Return the text of each value in a panel's mappings."""
    return {
        value: shown["text"] for mapping in mappings for value, shown in mapping["options"].items()
    }


def test_every_state_has_its_words() -> None:
    """Every code of the table has a text, and every text has a code."""
    assert set(texts(looks.ERROR)) == set(codes.ERROR.names)
    car = texts(looks.CAR_STATE)
    assert set(car) == {"-1", *map(str, range(7))}
    assert car["2"] == "Charging"
    reason = texts(looks.REASON)
    assert set(reason) == {str(number) for number in range(42) if number not in (21, 25)}
    assert reason["12"] == "Allowed: PV surplus"


@pytest.mark.parametrize(
    "name", ["prometheus/charger.json", "prometheus/fleet.json", "influxdb/charger.json"]
)
def test_errors_are_called_as_on_the_page(name: str) -> None:
    """A dashboard has the page's English text for every error, such as ground fault."""
    page = {error: translations("en")[f"error.{error}"] for error in codes.ERROR.names}
    shown = [
        {error: each["text"] for error, each in value.items()}
        for path, value in leaves(PROVISIONED[name])
        if path[-1:] == ("options",) and isinstance(value, dict) and "gnd_invalid" in value
    ]
    assert shown
    assert all(each == page for each in shown)
    assert page["gnd_invalid"] == "Ground fault"


def test_a_fault_to_earth_is_a_ground_fault_everywhere() -> None:
    """Code, dashboards, alerts and documentation use one term."""
    folders = ("goe_exporter", "dashboards", "deploy", "docs")
    paths = [*ROOT.glob("*.md"), *(path for each in folders for path in (ROOT / each).rglob("*"))]
    kinds = {".py", ".md", ".json", ".yaml", ".yml", ".js", ".html"}
    written = [path for path in paths if path.suffix in kinds]
    assert len(written) > 80
    wrong = re.compile(r"earth[\s-]+fault", re.IGNORECASE)
    assert [str(path) for path in written if wrong.search(path.read_text("utf-8"))] == []


# Unknown names


@pytest.mark.parametrize(
    "named",
    [
        lambda: promql.series("powr"),
        lambda: promql.series("phase_power", phase="L4"),
        lambda: promql.series("phase_power", sensor="L1"),
        lambda: promql.series("car_state", state=("charging", "sleeping")),
        lambda: promql.series("error", but="non"),
        lambda: promql.code("power"),
        lambda: promql.device("colour"),
        lambda: promql.polled("goe_upp"),
        lambda: promql.polled("goe_influx_spooled_points"),
        lambda: promql.polled("goe_surplus_state", origin="sun"),
        lambda: promql.exporter("goe_up"),
        lambda: promql.exporter("goe_exporter_poll_duration_seconds"),
        lambda: influxql.field("phase_power", "L4"),
        lambda: influxql.field("phase_power"),
        lambda: influxql.code("power"),
        lambda: influxql.of_session("cost"),
        lambda: influxql.word("car_state", "sleeping"),
    ],
)
def test_unknown_names_stop_the_build(named: Any) -> None:
    """A metric, label, state or field that the exporter does not have stops the build."""
    with pytest.raises(KeyError):
        named()


def test_names_follow_the_table() -> None:
    """Metrics and fields are written as the exporter writes them."""
    chosen = 'job=~"$job",charger=~"$charger"'
    assert promql.series("energy") == f"goe_energy_joules_total{{{chosen}}}"
    assert (
        promql.series("phase_power", phase=("L1", "L2"))
        == f'goe_phase_power_watts{{{chosen},phase=~"L1|L2"}}'
    )
    assert promql.series("error", but="none") == f'goe_error{{{chosen},error!="none"}}'
    assert promql.code("car_state") == f"goe_car_state_code{{{chosen}}}"
    assert influxql.field("phase_power", "L1") == '"phase_power_l1_w"'
    assert influxql.code("car_state") == '"car_state_code"'
    assert influxql.word("car_state", "idle") == "\"car_state\" = 'idle'"


def test_too_wide_a_line_stops_the_build() -> None:
    """The panels of a line have at most 24 columns."""
    wide = stat(title="W", description="Wide.", targets=[], unit="none", width=13, height=4)
    board = Board("u", "t", "d", "prometheus", [], [Row("r", [[wide, wide]])], "now-1h", "1m")
    with pytest.raises(ValueError, match="t: 26 columns in the line of 'W'"):
        dashboard(board)


# The fleet, whose chargers two exporters poll

HOSTS = ("pi:10332", "nas:10332")
GARAGE, YARD, BARN = "garage", "yard", "barn"
WATCHED = {
    "goe_polls_total": ((GARAGE, "", 9), (YARD, "", 9), (BARN, "", 9)),
    "goe_up": ((GARAGE, "", 1), (YARD, "", 0), (BARN, "", 1)),
    "goe_power_watts": ((GARAGE, "", 7000),),
    "goe_car_state": ((GARAGE, 'state="charging"', 1),),
    "goe_error": (
        (GARAGE, 'error="none"', 1),
        (GARAGE, 'error="phase"', 0),
        (BARN, 'error="none"', 0),
        (BARN, 'error="phase"', 1),
    ),
    "goe_phase_current_amperes": (
        (GARAGE, 'phase="L1"', 16),
        (GARAGE, 'phase="L2"', 15),
        (GARAGE, 'phase="N"', 1),
        (BARN, 'phase="L1"', 10),
    ),
}
COUNTED = {
    "Chargers": 3,
    "Not answering": 1,
    "Charging": 1,
    "With an error": 1,
    "Power now": 7000,
}


def promtool_finds(folder: Path, series: list[Json], checks: list[Json]) -> None:
    """Have promtool check the results of queries on series with a sample every 15 seconds."""
    path = folder / "test.json"
    tests = {"interval": "15s", "input_series": series, "promql_expr_test": checks}
    path.write_text(json.dumps({"tests": [tests]}), "utf-8")
    command = [binary("promtool"), "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def check_fleet(
    folder: Path,
    expected: dict[tuple[str, str], dict[str, float]],
    watched: Mapping[str, Sequence[tuple[str, str, int]]] = WATCHED,
) -> None:
    """Have promtool check results (labels → value) of the fleet's queries (panel, letter).

    `watched` holds samples (charger, labels, value) by metric, which both exporters have.
    """
    series = [
        {
            "series": f'{name}{{job="goe",instance="{host}",charger="{charger}",{label}}}',
            "values": f"{value}",
        }
        for name, samples in watched.items()
        for charger, label, value in samples
        for host in HOSTS
    ]
    now = Moment(0, 0, 15)
    checks = [
        {
            "expr": now.fill(query.text),
            "eval_time": "0s",
            "exp_samples": [
                {"labels": f"{{{labels}}}", "value": value} for labels, value in samples.items()
            ],
        }
        for (panel, letter), samples in expected.items()
        for query in queries("prometheus/fleet.json", panel)
        if query.letter == letter
    ]
    assert len(checks) == len(expected)
    promtool_finds(folder, series, checks)


@pytest.mark.system
def test_fleet_counts_a_charger_once(tmp_path: Path) -> None:
    """A charger that two exporters of a job poll counts once, and so does its power."""
    check_fleet(tmp_path, {(title, "A"): {"": value} for title, value in COUNTED.items()})


@pytest.mark.system
def test_fleet_puts_errors_first(tmp_path: Path) -> None:
    """The table is sorted by a hidden column (2 for an error, 1 for no answer), then by name."""
    (chargers,) = [
        panel for panel in panels(PROVISIONED["prometheus/fleet.json"])
        if panel["title"] == "All chargers"
    ]  # fmt: skip
    merge, *sorts, organize = chargers["transformations"]
    assert (merge["id"], organize["id"]) == ("merge", "organize")
    # Grafana sorts by one column; rows that are equal in it keep their order.
    assert [each["options"]["sort"] for each in sorts] == [
        [{"field": "charger", "desc": False}],
        [{"field": "Value #G", "desc": True}],
    ]
    assert organize["options"]["excludeByName"]["Value #G"]
    urgency = {
        f'job="goe",charger="{charger}"': value
        for charger, value in ((BARN, 2), (YARD, 1), (GARAGE, 0))
    }
    check_fleet(tmp_path, {("All chargers", "G"): urgency})


@pytest.mark.system
def test_fleet_compares_the_current_with_the_limit(tmp_path: Path) -> None:
    """Currents are summed by phase, each charger's once, and the limit is drawn."""
    sums = {'phase="L1"': 26, 'phase="L2"': 15}
    check_fleet(tmp_path, {("Current per phase", "A"): sums, ("Current per phase", "B"): {"": 63}})
    limit = PROVISIONED["prometheus/fleet.json"]["templating"]["list"][-1]
    assert (limit["name"], limit["type"], limit["query"]) == ("limit", "textbox", "63")


@pytest.mark.system
@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        ({}, {'site="no site"': 10_500}),
        ({GARAGE: 'feeder="A1"', YARD: 'feeder=""', BARN: 'feeder=""'}, {'site="no site"': 10_500}),
        (
            {GARAGE: 'site="depot"', YARD: 'site="depot"', BARN: 'site="home"'},
            {'site="depot"': 7500, 'site="home"': 3000},
        ),
        (
            {GARAGE: 'site="depot"', YARD: 'site="home"', BARN: 'site=""'},
            {'site="depot"': 7000, 'site="home"': 500, 'site="no site"': 3000},
        ),
    ],
)
def test_fleet_groups_the_power_by_a_label(
    tmp_path: Path, labels: dict[str, str], groups: dict[str, float]
) -> None:
    """Each charger's power counts once, in the group of its label or in that without one."""
    power = ((GARAGE, "", 7000), (YARD, "", 500), (BARN, "", 3000))
    info = tuple((charger, label, 1) for charger, label in labels.items())
    watched = {"goe_power_watts": power, "goe_charger_info": info}
    check_fleet(tmp_path, {("Power by $group", "A"): groups}, watched)
    group = PROVISIONED["prometheus/fleet.json"]["templating"]["list"][-2]
    assert (group["name"], group["type"], group["query"]) == ("group", "textbox", "site")


def test_no_panel_leaves_out_chargers() -> None:
    """Only the panel of the five slowest chargers shows fewer than all chargers."""
    cut = {
        (query.panel, query.text.partition("topk(")[2].partition(",")[0])
        for name in BOARDS
        for query in queries(name)
        if re.search(r"topk|bottomk|limitk|\bLIMIT\b", query.text)
    }
    assert cut == {("Slowest chargers", "5")}


# A meter that is not read for a while


@pytest.mark.system
@pytest.mark.parametrize(
    ("after", "kwh"),
    [("40516920000", 3.75), ("7756920000", 3.75), ("4536720000", 5.5)],
    ids=["it jumps by 10 MWh", "it jumps by 900 kWh", "it charges 5.5 kWh"],
)
def test_a_jump_in_a_gap_of_the_readings_is_not_energy(
    after: str, kwh: float, tmp_path: Path
) -> None:
    """A meter that shows more after half an hour counts as far as the charger could give it."""
    meter = {
        "series": 'goe_energy_joules_total{job="goe",instance="pi:10332",charger="garage"}',
        "values": f"4516920000x399 stale _x119 {after}x400",
    }
    (query,) = queries("prometheus/energy.json", "Selected time range")
    found = {
        "expr": Moment(0, 3 * 3600, 15).fill(query.text),
        "eval_time": "3h",
        "exp_samples": [{"labels": "{}", "value": kwh}],
    }
    promtool_finds(tmp_path, [meter], [found])


# What the documentation says about PromQL


@pytest.mark.system
def test_the_rate_of_a_meter_of_whole_kwh_is_not_the_power(tmp_path: Path) -> None:
    """At 11 kW the rate of such a meter is 0 or 12.6 kW, as the documentation says."""
    text = " ".join((ROOT / "docs" / "metrics.md").read_text("utf-8").split())
    warning = "`rate(goe_energy_joules_total[5m])` is not the power on hardware V1 and V2"
    assert warning in text
    assert "while a car draws 11 kW, it alternates between 0 and 12.6 kW" in text
    assert "Use `goe_power_watts`" in text
    # 11 kW give the first kilowatt-hour after 327 seconds, the second after 655.
    values = "3240000000x21 3243600000x21 3247200000x5"
    meter = {"series": 'goe_energy_joules_total{charger="yard"}', "values": values}
    promtool_finds(
        tmp_path,
        [meter],
        [
            {
                "expr": "round(rate(goe_energy_joules_total[5m]))",
                "eval_time": f"{time}s",
                "exp_samples": [{"labels": '{charger="yard"}', "value": watts}],
            }
            for time, watts in ((310, 0), (610, 12632), (650, 0))
        ],
    )
