"""The dashboard of the exporter: polling of the chargers, and delivery to InfluxDB."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards import looks, promql
from dashboards.grafana import Board, Json, Panel, Row, Thresholds
from dashboards.panels import (
    BARS,
    TEXT,
    colored,
    stat,
    time_series,
)

RATE = "[$__rate_interval]"
PERCENTILES = {"median": 0.5, "95th percentile": 0.95, "99th percentile": 0.99}
NO_INFLUXDB = "No InfluxDB"
BUILD = promql.exporter("goe_exporter_build_info")
OURS = f"and on (job, instance) {BUILD}"
"""Selects the exporters among all processes with these metrics."""


def board() -> Board:
    """Return the dashboard for Prometheus."""
    return Board(
        uid="goe-exporter", title="go-e Exporter", source=promql.SOURCE, refresh="30s",
        description="Polling of the chargers, and delivery to InfluxDB.",
        variables=promql.variables(), time_from="now-6h",
        rows=[
            Row("Now", [_now()]),
            Row("Polling", [[_failures(), _up()], [_durations(), _lateness(), _slowest()]]),
            Row("Readings and InfluxDB", [[_decode_failures(), _points(), _spool()]]),
            Row("Process", [[_cpu(), _memory(), _files()]]),
        ],
    )  # fmt: skip


def _now() -> list[Panel]:
    up, failures = promql.polled("goe_up"), promql.polled("goe_poll_failures_total")
    scraped = f"up{{{promql.OF_JOB}}} and on (job, instance) last_over_time({BUILD}[$__range])"
    share = f"sum(rate({failures}{RATE})) / sum(rate({promql.polled('goe_polls_total')}{RATE}))"
    oldest = f"time() - {promql.exporter('goe_influx_oldest_spooled_timestamp_seconds')}"
    defects = f"sum(increase({promql.exporter('goe_exporter_defects_total')}[$__range]))"
    return [
        _stat(
            "Scraped", "Whether Prometheus can scrape the exporter.", f"min({scraped})",
            thresholds=((None, looks.RED), (1, looks.GREEN)), mappings=[looks.yes_no("Yes", "No")],
            nothing="No exporter",
        ),
        _stat(
            "Chargers answering", "Share of the chargers whose last poll succeeded.",
            f"avg({up})", "percentunit",
            ((None, looks.RED), (0.5, looks.YELLOW), (1, looks.GREEN)), nothing="No charger",
        ),
        _stat(
            "Failed polls", "Share of failed polls in the last minutes.", share,
            "percentunit", ((None, looks.GREEN), (0.01, looks.YELLOW), (0.1, looks.RED)),
            nothing="No charger",
        ),
        _stat(
            "Waiting for InfluxDB", "Age of the oldest point that is not yet delivered.",
            f"max({oldest}) or sum({promql.exporter('goe_influx_spooled_points')})", "s",
            ((None, looks.GREEN), (60, looks.YELLOW), (600, looks.RED)), nothing=NO_INFLUXDB,
        ),
        _stat(
            "Internal errors", "Polls aborted by an internal error of the exporter in the selected "
            "time range. Please report them.", defects, thresholds=looks.ANY, nothing="No exporter",
        ),
        stat(
            title="Version", description="Version of the exporter.",
            targets=[promql.now(BUILD, rows=True)], unit=TEXT, width=4, height=4,
            fields="/^version$/", thresholds=looks.COUNT,
            defaults={"noValue": "No exporter"},
        ),
    ]  # fmt: skip


def _stat(
    title: str, description: str, expression: str, unit: str = "none",
    thresholds: Thresholds = looks.ANY, mappings: Sequence[Json] = (),
    nothing: str = "",
) -> Panel:  # fmt: skip
    return stat(
        title=title, description=description, targets=[promql.now(expression)], unit=unit,
        width=4, height=4, thresholds=thresholds, mappings=mappings,
        defaults={"noValue": nothing, "decimals": 0},
    )  # fmt: skip


def _failures() -> Panel:
    failures = promql.polled("goe_poll_failures_total")
    per_minute = f"sum by (charger, reason) (rate({failures}{RATE})) * 60 > 0"
    return _graph(
        "Failed polls by charger and reason", "Failed polls per minute.",
        {"{{charger}}: {{reason}}": per_minute}, "none", 12, bars=True, nothing="None failed",
    )  # fmt: skip


def _up() -> Panel:
    return _graph(
        "Chargers polled and answering",
        "Number of chargers polled, and with a successful last poll.",
        {
            "polled": f"count({promql.polled('goe_polls_total')})",
            "answering": f"sum({promql.polled('goe_up')})",
        },
        "none", 12, nothing="No charger", colors={"polled": looks.GREY, "answering": looks.GREEN},
    )  # fmt: skip


def _durations() -> Panel:
    return _graph(
        "Poll duration", "Duration of the polls of all chargers.",
        _percentiles("goe_exporter_poll_duration_seconds_bucket"), "s", 8,
    )  # fmt: skip


def _lateness() -> Panel:
    return _graph(
        "Lateness",
        "Delay of polls after their scheduled time. Over a second, the machine is overloaded.",
        _percentiles("goe_exporter_poll_lateness_seconds_bucket"), "s", 8,
    )  # fmt: skip


def _percentiles(buckets: str) -> dict[str, str]:
    rates = f"sum by (le) (rate({promql.exporter(buckets)}{RATE}))"
    return {name: f"histogram_quantile({share}, {rates})" for name, share in PERCENTILES.items()}


def _slowest() -> Panel:
    slowest = f"topk(5, max by (charger) ({promql.polled('goe_poll_duration_seconds')}))"
    return _graph(
        "Slowest chargers", "Duration of the last poll of the five slowest chargers at each time.",
        {"{{charger}}": slowest}, "s", 8,
    )  # fmt: skip


def _decode_failures() -> Panel:
    failures = promql.polled("goe_decode_failures_total")
    return _graph(
        "Decode failures by charger and key",
        "Values per minute that could not be decoded, by API v2 key.",
        {"{{charger}}: {{key}}": f"sum by (charger, key) (rate({failures}{RATE})) * 60 > 0"},
        "none", 8, bars=True, nothing="None failed",
    )  # fmt: skip


def _points() -> Panel:
    points = promql.exporter("goe_influx_points_total")
    failures = promql.exporter("goe_influx_write_failures_total")
    return _graph(
        "InfluxDB points",
        "Points per minute that were written, rejected by the server, or dropped to stay within "
        "the spool limit, and failed writes per minute, which are retried.",
        {
            "{{result}}": f"sum by (result) (rate({points}{RATE})) * 60",
            "failed: {{reason}}": f"sum by (reason) (rate({failures}{RATE})) * 60 > 0",
        },
        "none", 8, nothing=NO_INFLUXDB,
        colors={"written": looks.GREEN, "rejected": looks.RED, "dropped": looks.ORANGE},
    )  # fmt: skip


def _spool() -> Panel:
    return _graph(
        "Spool", "Points waiting on disk for InfluxDB.",
        {"waiting": f"sum({promql.exporter('goe_influx_spooled_points')})"}, "none", 8,
        nothing=NO_INFLUXDB,
    )  # fmt: skip


def _cpu() -> Panel:
    cpu = promql.exporter("process_cpu_seconds_total")
    return _graph(
        "CPU",
        "CPU usage as a share of one core.",
        {"{{instance}}": f"rate({cpu}{RATE}) {OURS}"},
        "percentunit",
        8,
    )


def _memory() -> Panel:
    memory = promql.exporter("process_resident_memory_bytes")
    return _graph("Memory", "Resident memory.", {"{{instance}}": f"{memory} {OURS}"}, "bytes", 8)


def _files() -> Panel:
    files = promql.exporter("process_open_fds")
    return _graph(
        "Open files", "Open files and connections.", {"{{instance}}": f"{files} {OURS}"}, "none", 8
    )


def _graph(
    title: str, description: str, queries: dict[str, str], unit: str, width: int, *,
    colors: dict[str, str] | None = None, bars: bool = False, nothing: str = "No data",
) -> Panel:  # fmt: skip
    return time_series(
        title=title, description=description, unit=unit, width=width, height=7,
        targets=[promql.past(expression, legend) for legend, expression in queries.items()],
        overrides=colored(colors or {}),
        custom=BARS | {"barAlignment": 0} if bars else {}, defaults={"min": 0, "noValue": nothing},
    )  # fmt: skip
