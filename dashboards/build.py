"""`python -m dashboards.build` writes the dashboards; with `--check` it only says what is old.

Each is written twice: as Grafana provisions it, and as grafana.com and the import dialogue want
it, asking for the data source (`__inputs`) and naming what it needs (`__requires`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dashboards import charger, energy, energy_influxdb, exporter, fleet
from dashboards.grafana import PLUGIN_VERSION, Board, Json, dashboard

FOLDER = Path(__file__).parent
BOARDS = {
    "prometheus/charger.json": charger.prometheus,
    "prometheus/energy.json": energy.prometheus,
    "prometheus/fleet.json": fleet.board,
    "prometheus/exporter.json": exporter.board,
    "influxdb/charger.json": charger.influxdb,
    "influxdb/energy.json": energy_influxdb.board,
}
"""Where each dashboard stands under `dashboards/`, and below `grafana.com/` its other copy."""

SOURCES = {"prometheus": "Prometheus", "influxdb": "InfluxDB"}
PANELS = {
    "bargauge": "Bar gauge",
    "stat": "Stat",
    "state-timeline": "State timeline",
    "table": "Table",
    "timeseries": "Time series",
}


def files() -> dict[Path, str]:
    """Return what every file should hold."""
    made: dict[Path, str] = {}
    for name, board in BOARDS.items():
        provisioned = dashboard(board())
        made[FOLDER / name] = _text(provisioned)
        made[FOLDER / "grafana.com" / name] = _text(shared(board(), provisioned))
    return made


def shared(board: Board, provisioned: Json) -> Json:
    """Return the copy that asks for its data source on import."""
    name = SOURCES[board.source]
    placeholder = f"DS_{name.upper()}"
    asked = {
        "description": "",
        "label": name,
        "name": placeholder,
        "pluginId": board.source,
        "pluginName": name,
        "type": "datasource",
    }
    choice, *variables = provisioned["templating"]["list"]
    chosen = {"selected": True, "text": name, "value": f"${{{placeholder}}}"}
    return {
        "__elements": {},
        "__inputs": [asked],
        "__requires": _requires(board.source, provisioned["panels"]),
        **provisioned,
        "templating": {"list": [choice | {"current": chosen}, *variables]},
    }


def _requires(source: str, panels: list[Json]) -> list[Json]:
    kinds = sorted({panel["type"] for panel in panels} - {"row"})
    return [
        {"id": "grafana", "name": "Grafana", "type": "grafana", "version": PLUGIN_VERSION},
        {"id": source, "name": SOURCES[source], "type": "datasource", "version": "1.0.0"},
        *({"id": kind, "name": PANELS[kind], "type": "panel", "version": ""} for kind in kinds),
    ]


def _text(made: Json) -> str:
    return json.dumps(made, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> int:
    """Write the files, or with `--check` return 1 naming those that are not current."""
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        print(__doc__, file=sys.stderr)
        return 2
    old = [
        path
        for path, text in files().items()
        if not path.exists() or path.read_text("utf-8") != text
    ]
    for path in old:
        print(f"{path.relative_to(FOLDER.parent)}: {'not current' if check else 'written'}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files()[path], "utf-8")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
