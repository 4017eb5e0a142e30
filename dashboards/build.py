"""Write the dashboards as JSON.

    python -m dashboards.build                     write the files that Grafana provisions
    python -m dashboards.build --check             list the files that are not current
    python -m dashboards.build --grafana-com DIR   write the copies for grafana.com to DIR

The copies for grafana.com ask for the data source at import (`__inputs`) and list the required
panels (`__requires`).
"""

from __future__ import annotations

import argparse
import json
import os
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
"""File name, below `dashboards/` or the directory for grafana.com → dashboard."""

SOURCES = {"prometheus": "Prometheus", "influxdb": "InfluxDB"}
PANELS = {
    "bargauge": "Bar gauge",
    "stat": "Stat",
    "state-timeline": "State timeline",
    "table": "Table",
    "timeseries": "Time series",
}


def provisioned() -> dict[Path, str]:
    """Return the content of every file that Grafana provisions."""
    return {FOLDER / name: _text(dashboard(board())) for name, board in BOARDS.items()}


def grafana_com(folder: Path) -> dict[Path, str]:
    """Return the content of every copy for grafana.com, in `folder`."""
    return {folder / name: _text(shared(board())) for name, board in BOARDS.items()}


def shared(board: Board) -> Json:
    """Return the copy that asks for its data source at import."""
    made = dashboard(board)
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
    choice, *variables = made["templating"]["list"]
    chosen = {"selected": True, "text": name, "value": f"${{{placeholder}}}"}
    return {
        "__elements": {},
        "__inputs": [asked],
        "__requires": _requires(board.source, made["panels"]),
        **made,
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


def main(arguments: list[str] | None = None) -> int:
    """Write files; with `--check` list those that are not current, and return 1 if any is not."""
    parser = argparse.ArgumentParser(
        "dashboards.build", description="Write the dashboards as JSON."
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="only list files that are not current")
    choice.add_argument(
        "--grafana-com", type=Path, metavar="DIR", help="write the copies for grafana.com"
    )
    chosen = parser.parse_args(arguments)
    files = grafana_com(chosen.grafana_com) if chosen.grafana_com else provisioned()
    old = [
        path for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text
    ]
    for path in old:
        print(f"{os.path.relpath(path)}: {'not current' if chosen.check else 'written'}")
        if not chosen.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], "utf-8")
    return 1 if chosen.check and old else 0


if __name__ == "__main__":
    sys.exit(main())
