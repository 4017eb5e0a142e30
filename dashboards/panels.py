"""Kinds of panels with their Grafana options, and options of series and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboards.grafana import Json, Panel

TEXT = "string"
LAST_VALUE: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}


def values(texts: Mapping[str, tuple[str, str]]) -> Json:
    """Return a mapping of values to their text and colour."""
    return {
        "type": "value",
        "options": {
            value: {"color": color, "index": index, "text": text}
            for index, (value, (text, color)) in enumerate(texts.items())
        },
    }


def override(name: str, **properties: object) -> Json:
    """Return field options for one series or column; `custom__x` is the option `custom.x`."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [
            {"id": option.replace("__", "."), "value": value}
            for option, value in properties.items()
        ],
    }


def colored(colors: Mapping[str, str]) -> list[Json]:
    """Return overrides that give series their fixed colours."""
    return [
        override(name, color={"fixedColor": color, "mode": "fixed"})
        for name, color in colors.items()
    ]


def stat(*, fields: str = "", color: str = "value", **panel: Any) -> Panel:
    """Return a panel of large values; `fields` picks a column."""
    options = {
        "colorMode": color,
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": LAST_VALUE | {"fields": fields},
        "showPercentChange": False,
        "textMode": "auto",
        "wideLayout": True,
    }
    return Panel(kind="stat", options=options, **panel)


def bar_gauge(**panel: Any) -> Panel:
    """Return a panel of horizontal bars, one per series."""
    options = {
        "displayMode": "basic",
        "maxVizHeight": 300,
        "minVizHeight": 16,
        "minVizWidth": 8,
        "namePlacement": "left",
        "orientation": "horizontal",
        "reduceOptions": LAST_VALUE,
        "showUnfilled": True,
        "sizing": "auto",
        "text": {"titleSize": 12, "valueSize": 16},
        "valueMode": "color",
    }
    return Panel(kind="bargauge", options=options, **panel)


def time_series(*, calcs: Sequence[str] = (), custom: Json | None = None, **panel: Any) -> Panel:
    """Return a graph; `calcs` makes the legend a table with these columns."""
    legend = {
        "calcs": list(calcs),
        "displayMode": "table" if calcs else "list",
        "placement": "right" if calcs else "bottom",
        "showLegend": True,
    }
    options = {"legend": legend, "tooltip": {"mode": "multi", "sort": "none"}}
    return Panel(kind="timeseries", options=options, custom=LINES | (custom or {}), **panel)


def state_timeline(**panel: Any) -> Panel:
    """Return a panel of bands whose colour shows a state."""
    options = {
        "alignValue": "left",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
        "mergeValues": True,
        "perPage": 20,
        "rowHeight": 0.85,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom = {"fillOpacity": 80, "hideFrom": SHOWN, "lineWidth": 0, "spanNulls": False}
    return Panel(kind="state-timeline", options=options, custom=custom, **panel)


def table(**panel: Any) -> Panel:
    """Return a table. Columns are texts unless an override sets a unit.

    With any other unit Grafana would show the text 055.7 as the number 55.7.
    """
    options = {"cellHeight": "sm", "showHeader": True}
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}
    return Panel(kind="table", unit=TEXT, options=options, custom=custom, **panel)


def transformation(name: str, **options: object) -> Json:
    """Return a transformation of the query results."""
    return {"id": name, "options": options}


def columns(titles: Mapping[str, str], hidden: Sequence[str] = ()) -> Json:
    """Return the transformation that orders, renames and hides the columns of a table."""
    return transformation(
        "organize",
        excludeByName=dict.fromkeys(hidden, True),
        includeByName={},
        indexByName={name: index for index, name in enumerate(titles)},
        renameByName=dict(titles),
    )


def sorted_by(column: str, *, greatest_first: bool = False) -> Json:
    """Return the transformation that sorts rows by a column; equal rows keep their order."""
    sort = {"field": column, "desc": greatest_first}
    return transformation("sortBy", fields={}, sort=[sort])


SHOWN = {"legend": False, "tooltip": False, "viz": False}
LINES: Json = {
    "axisBorderShow": False,
    "axisCenteredZero": False,
    "axisColorMode": "text",
    "axisLabel": "",
    "axisPlacement": "auto",
    "barAlignment": 0,
    "drawStyle": "line",
    "fillOpacity": 0,
    "gradientMode": "none",
    "hideFrom": SHOWN,
    "insertNulls": False,
    "lineInterpolation": "linear",
    "lineWidth": 2,
    "pointSize": 5,
    "scaleDistribution": {"type": "linear"},
    "showPoints": "auto",
    "spanNulls": False,
    "stacking": {"group": "A", "mode": "none"},
    "thresholdsStyle": {"mode": "off"},
}
STACKED: Json = {"fillOpacity": 60, "lineWidth": 1, "stacking": {"group": "A", "mode": "normal"}}
BARS: Json = STACKED | {"barAlignment": 1, "drawStyle": "bars", "fillOpacity": 85, "lineWidth": 0}
STEPS: Json = {"lineInterpolation": "stepAfter"}
