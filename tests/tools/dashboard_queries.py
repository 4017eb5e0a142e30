"""The dashboards' queries as Grafana sends them, with variables replaced and days aligned."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from paths import ROOT
from prometheus_server import Found, Prometheus

FOLDER = ROOT / "dashboards"
DAY = 86_400.0
VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


class Moment(NamedTuple):
    """The time range of a dashboard, `start` to `end` (Unix seconds), and its step in seconds.

    `chosen` are the values of its variables; all chargers of all jobs unless it says otherwise.
    """

    start: float
    end: float
    step: float
    chosen: Mapping[str, str] = {}

    def fill(self, text: str) -> str:
        """Return a query with its variables replaced; raises KeyError for an unknown one."""
        whole = max(round(self.end - self.start), 1)
        values = {
            "job": ".*",
            "charger": ".*",
            "price": "0.25",
            "limit": "63",
            "group": "site",
            "timezone": "Etc/GMT-1",
            "__interval": f"{round(self.step)}s",
            "__rate_interval": f"{max(round(4 * self.step), 4)}s",
            "__range": f"{whole}s",
            "timeFilter": f"time >= {round(self.start * 1000)}ms"
            f" AND time <= {round(self.end * 1000)}ms",
            **self.chosen,
        }
        return VARIABLE.sub(lambda found: values[found[1] or found[2]], text)


class Query(NamedTuple):
    """A query of a panel; `past` for a range query; `least_step` is the panel's in seconds."""

    board: str
    panel: str
    letter: str
    text: str
    past: bool
    least_step: float

    @property
    def name(self) -> str:
        """The name of the query in failures."""
        return f"{self.board} {self.panel} {self.letter}"


def board(name: str) -> dict[str, Any]:
    """Return a dashboard as provisioned."""
    made: dict[str, Any] = json.loads((FOLDER / name).read_text("utf-8"))
    return made


def queries(name: str, panel: str = "") -> list[Query]:
    """Return the queries of a dashboard, or of its panel with this title."""
    return [
        Query(
            name,
            each["title"],
            target["refId"],
            target.get("expr") or target["query"],
            not target.get("instant", False),
            {"": 0.0, "10s": 10.0, "1m": 60.0, "1d": DAY}[each.get("interval", "")],
        )
        for each in board(name)["panels"]
        if each["type"] != "row" and panel in ("", each["title"])
        for target in each["targets"]
    ]


def query_of(name: str, panel: str, letter: str = "A") -> Query:
    """Return the only query of a panel with this letter."""
    (found,) = [each for each in queries(name, panel) if each.letter == letter]
    return found


def ask(server: Prometheus, query: Query, moment: Moment) -> list[Found]:
    """Return Prometheus' result of a dashboard's query."""
    text = moment.fill(query.text)
    if query.past:
        return server.past(text, moment.start, moment.end, moment.step)
    return server.now(text, moment.end)


def midnight(unix: float, hours_east: float = 1) -> float:
    """Return the last midnight before a time, in a zone this many hours ahead of UTC."""
    return (unix + hours_east * 3600) // DAY * DAY - hours_east * 3600


def unix(year: int, month: int, day: int, hours: float = 0, hours_east: float = 1) -> float:
    """Return the Unix time of a local date and hours after midnight."""
    start = dt.datetime(year, month, day, tzinfo=dt.UTC).timestamp()
    return start + (hours - hours_east) * 3600
