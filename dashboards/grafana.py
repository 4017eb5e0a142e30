"""The part of Grafana's classic dashboard model that the dashboards use.

The JSON has the form that Grafana 11 saves, with `schemaVersion` 39, and already satisfies later
migrations (`refresh` is a string, there are no `time_options`). So every version since 11, and
grafana.com, accepts it unchanged. `${datasource}` is the only data source.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

SCHEMA_VERSION = 39
PLUGIN_VERSION = "11.0.0"
COLUMNS = 24
TAG, OVERVIEW = "go-e", "go-e-overview"
CHARGER = {
    "prometheus": "/d/goe-charger?${datasource:queryparam}&${job:queryparam}",
    "influxdb": "/d/goe-influx-charger?${datasource:queryparam}",
}
"""URL of the dashboard of one charger, by source. It does not pass the selected chargers on: the
value All would override that dashboard's choice of one charger."""

NO_THRESHOLDS = ((None, "green"),)
Thresholds = Sequence[tuple[float | None, str]]
"""Lower bounds and colours; the first bound is None, for minus infinity."""


@dataclass(frozen=True)
class Panel:
    """A panel: its content, unit and size (the dashboard is 24 columns wide).

    `targets` are queries without data source and letter; `mappings` and `overrides` are Grafana's.
    `custom` holds the field options of the `kind`, `options` those of the panel. `time_from`
    replaces the dashboard's time range by one that ends now; `interval` is the minimum step.
    """

    kind: str
    title: str
    description: str
    targets: Sequence[Json]
    unit: str
    width: int
    height: int
    thresholds: Thresholds = NO_THRESHOLDS
    mappings: Sequence[Json] = ()
    overrides: Sequence[Json] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    custom: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    transformations: Sequence[Json] = ()
    time_from: str = ""
    interval: str = ""
    points: int = 0


@dataclass(frozen=True)
class Row:
    """A titled section of lines of panels."""

    title: str
    lines: Sequence[Sequence[Panel]]


@dataclass(frozen=True)
class Board:
    """A dashboard; `source` is the type of its data source, `variables` are the further ones.

    An `overview` shows any number of chargers, other dashboards show one.
    """

    uid: str
    title: str
    description: str
    source: str
    variables: Sequence[Json]
    rows: Sequence[Row]
    time_from: str
    refresh: str
    overview: bool = True


def datasource(source: str) -> Json:
    """Return the reference to the selected data source."""
    return {"type": source, "uid": "${datasource}"}


def dashboard(board: Board) -> Json:
    """Return a dashboard as Grafana provisions it."""
    return {
        "annotations": {"list": [_annotations()]},
        "description": board.description,
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": _links(board),
        "liveNow": False,
        "panels": _panels(board),
        "refresh": board.refresh,
        "schemaVersion": SCHEMA_VERSION,
        "tags": [TAG, board.source, *([OVERVIEW] if board.overview else [])],
        "templating": {"list": [_choice(board.source), *board.variables]},
        "time": {"from": board.time_from, "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": board.title,
        "uid": board.uid,
        "version": 1,
        "weekStart": "",
    }


def variable(name: str, label: str, source: str, query: str | Json, definition: str) -> Json:
    """Return a variable with several values, by default all; all is `.*`."""
    return {
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "datasource": datasource(source),
        "definition": definition,
        "hide": 0,
        "includeAll": True,
        "label": label,
        "multi": True,
        "name": name,
        "options": [],
        "query": query,
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 1,
        "type": "query",
    }


def single(several: Json) -> Json:
    """Return the same variable with one value, by default the first."""
    one: Json = {"allValue": None, "current": {}, "includeAll": False, "multi": False}
    return several | one


def textbox(name: str, label: str, value: str, description: str) -> Json:
    """Return a variable that the user types into a text box."""
    chosen = {"selected": True, "text": value, "value": value}
    return {
        "current": chosen,
        "description": description,
        "hide": 0,
        "label": label,
        "name": name,
        "options": [chosen],
        "query": value,
        "skipUrlSync": False,
        "type": "textbox",
    }


def _annotations() -> Json:
    return {
        "builtIn": 1,
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "type": "dashboard",
    }


def _links(board: Board) -> list[Json]:
    overviews = _link("go-e", type="dashboards", includeVars=True)
    overviews["tags"] = [TAG, board.source, OVERVIEW]
    charger = _link("go-e Charger", type="link", url=CHARGER[board.source])
    return [overviews, *([charger] if board.overview else [])]


def _link(title: str, **properties: object) -> Json:
    return {
        "asDropdown": False,
        "icon": "external link",
        "includeVars": False,
        "keepTime": True,
        "tags": [],
        "targetBlank": False,
        "title": title,
        "tooltip": "",
        "url": "",
        **properties,
    }


def _choice(source: str) -> Json:
    return {
        "current": {},
        "hide": 0,
        "includeAll": False,
        "label": "Data source",
        "multi": False,
        "name": "datasource",
        "options": [],
        "query": source,
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
        "type": "datasource",
    }


def _panels(board: Board) -> list[Json]:
    """Return rows and panels with their positions, numbered from 1."""
    placed: list[Json] = []
    y = 0
    for row in board.rows:
        placed.append(_row(row, len(placed) + 1, y))
        y += 1
        for line in row.lines:
            x = 0
            for panel in line:
                place = {"h": panel.height, "w": panel.width, "x": x, "y": y}
                placed.append(_panel(panel, board.source, len(placed) + 1, place))
                x += panel.width
            if x > COLUMNS:
                raise ValueError(f"{board.title}: {x} columns in the line of {line[0].title!r}")
            y += max(panel.height for panel in line)
    return placed


def _row(row: Row, number: int, y: int) -> Json:
    return {
        "collapsed": False,
        "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y},
        "id": number,
        "panels": [],
        "title": row.title,
        "type": "row",
    }


def _panel(panel: Panel, source: str, number: int, place: Json) -> Json:
    shown: Json = {
        "datasource": datasource(source),
        "description": panel.description,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": list(panel.overrides)},
        "gridPos": place,
        "id": number,
        "options": dict(panel.options),
        "pluginVersion": PLUGIN_VERSION,
        "targets": [
            target | {"datasource": datasource(source), "refId": letter}
            for target, letter in zip(panel.targets, string.ascii_uppercase, strict=False)
        ],
        "title": panel.title,
        "type": panel.kind,
    }
    if panel.transformations:
        shown["transformations"] = list(panel.transformations)
    if panel.interval:
        shown["interval"] = panel.interval
    if panel.points:
        shown["maxDataPoints"] = panel.points
    if panel.time_from:
        shown |= {"hideTimeOverride": True, "timeFrom": panel.time_from}
    return shown


def _defaults(panel: Panel) -> Json:
    steps = [{"color": color, "value": value} for value, color in panel.thresholds]
    graph = panel.kind == "timeseries"
    return {
        "color": {"mode": "palette-classic" if graph else "thresholds"},
        "custom": dict(panel.custom),
        "mappings": list(panel.mappings),
        "thresholds": {"mode": "absolute", "steps": steps},
        "unit": panel.unit,
        **panel.defaults,
    }
