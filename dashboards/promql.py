"""PromQL whose metrics and labels are looked up in the channel table.

A metric, label or state that the exporter does not export raises KeyError when the dashboards are
built. Metrics of polling and delivery are looked up in an exposition.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial

from prometheus_client.parser import text_string_to_metric_families

from dashboards.grafana import Json, variable
from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.channels.model import Channel, Kind
from goe_exporter.channels.table import CHANNELS, CHARGER
from goe_exporter.control.vitals import SourceVitals, SurplusVitals
from goe_exporter.influx.stats import DeliveryStats
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.prometheus.prepared import info_labels
from goe_exporter.prometheus.process import process_metrics
from goe_exporter.service import session_metrics
from goe_exporter.service.self_metrics import Parts, Reload, providers
from goe_exporter.sessions.bookkeeper import StoreStats
from goe_exporter.sessions.memory import Open
from goe_exporter.sessions.session import Session
from goe_exporter.sessions.tally import Tally

SOURCE = "prometheus"
OF_JOB = 'job=~"$job"'
SELECTED = f'{OF_JOB},charger=~"$charger"'
OF_CHARGER = "by (job, charger)"
JOULES_PER_KWH = "3.6e6"

SURPLUS = SurplusVitals(
    charger="", mode="control", state="charging", surplus_w=1.0, amps=6, phases=1, budget_wh=1.0,
    sources=(SourceVitals("grid", up=True, power_w=1.0, age_s=1.0, failures={"timeout": 1}),),
    writes={"max_current": 1}, write_failures={"timeout": 1},
    energy_wh={"sun": 1.0, "battery": 1.0, "grid": 1.0},
)  # fmt: skip
"""Charging with the surplus, of which everything is known."""

STORE = StoreStats(size_bytes=0, failures=0, lost=0, damaged=0, waiting=0)
SESSIONS = {"": Tally({"0": 1}, Session("", "", "", 2, 0, 0, 0, 0, 0), under_way=Open(2, 0.0, 0))}
"""A charger with a session under way, and one before that."""

_CHANNELS = {channel.name: channel for channel in CHANNELS}
_OF_CONTROLLERS = {channel.name: channel for channel in CONTROLLER.channels}


def channel(name: str) -> Channel:
    """Return the row of the channel table; KeyError if there is none."""
    return _CHANNELS[name]


def series(name: str, but: str = "", **labels: str | tuple[str, ...]) -> str:
    """Return a channel's samples of the selected chargers.

    `labels` maps the label to the selected values, as in `phase=("L1", "L2")`; `but` excludes a
    value of the channel's label.
    """
    row = channel(name)
    matchers = [SELECTED]
    for label, wanted in labels.items():
        listed = (wanted,) if isinstance(wanted, str) else wanted
        _known(row, label, *listed)
        matchers.append(
            f'{label}=~"{"|".join(listed)}"' if listed[1:] else f'{label}="{listed[0]}"'
        )
    if but:
        _known(row, row.label, but)
        matchers.append(f'{row.label}!="{but}"')
    return f"{row.sample}{{{','.join(matchers)}}}"


def house(name: str, *categories: str) -> str:
    """Return a channel's samples of all Controllers, by category and added up.

    A Controller that two exporters of a job poll counts once.
    """
    row = house_channel(name, *categories)
    matchers = f'{OF_JOB},category=~"{"|".join(categories)}"'
    return f"sum by (category) (max by (controller, category) ({row.sample}{{{matchers}}}))"


def house_channel(name: str, *categories: str) -> Channel:
    """Return the row of a Controller's table; KeyError if it has no such row or category."""
    row = _OF_CONTROLLERS[name]
    _known(row, "category", *categories)
    return row


def code(name: str) -> str:
    """Return the numeric code of a state or reason."""
    row = channel(name)
    if row.kind not in (Kind.STATE, Kind.REASON):
        raise KeyError(f"{name} is not a state")
    return f"goe_{row.name}_code{{{SELECTED}}}"


def device(*labels: str, api: int | None = None) -> str:
    """Return `goe_device_info`, for joins and for its `labels`."""
    for label in labels:
        if label not in info_labels(CHARGER)[""]:
            raise KeyError(label)
    only = f',api="{api}"' if api else ""
    return f"{channel('serial').metric}{{{SELECTED}{only}}}"


def polled(name: str, **labels: str) -> str:
    """Return a metric of the exporter about the selected chargers, with these labels."""
    if "charger" not in _exposed()[name]:
        raise KeyError(f"{name} has no label charger")
    return f"{name}{{{_matchers(name, SELECTED, labels)}}}"


def exporter(name: str, **labels: str) -> str:
    """Return a metric of the exporter itself, with these labels."""
    if "charger" in _exposed()[name]:
        raise KeyError(f"{name} has a label charger")
    return f"{name}{{{_matchers(name, OF_JOB, labels)}}}"


def once(expression: str) -> str:
    """Return the PromQL with one sample per charger.

    A charger that two exporters of a job poll counts once, and so do the series before and after
    a change of other labels.
    """
    return f"max {OF_CHARGER} ({expression})"


def now(expression: str, legend: str = "", *, rows: bool = False) -> Json:
    """Return an instant query; with `rows` its labels become the columns of a table."""
    shape = "table" if rows else "time_series"
    return _target(expression, legend) | {"format": shape, "instant": True, "range": False}


def past(expression: str, legend: str = "", *, rows: bool = False) -> Json:
    """Return a range query; with `rows` every sample becomes a row of a table."""
    shape = "table" if rows else "time_series"
    return _target(expression, legend) | {"format": shape, "instant": False, "range": True}


def variables() -> list[Json]:
    """Return the variables `job` and `charger`."""
    jobs = f"label_values({_bare('goe_exporter_build_info')}, job)"
    chargers = f"label_values({_bare('goe_polls_total')}{{{OF_JOB}}}, charger)"
    return [
        variable("job", "Job", SOURCE, _variable_query(jobs), jobs),
        variable("charger", "Charger", SOURCE, _variable_query(chargers), chargers),
    ]


def _target(expression: str, legend: str) -> Json:
    return {
        "editorMode": "code",
        "expr": expression,
        "legendFormat": legend or "__auto",
    }


def _variable_query(query: str) -> Json:
    return {"qryType": 5, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"}


def _known(row: Channel, label: str, *names: str) -> None:
    """Raise KeyError unless the channel has this label with these values."""
    of_states = row.states.names if row.states else ()
    known = of_states or [part.label for part in row.parts]
    unknown = [name for name in names if name not in known]
    if label != row.label or unknown:
        raise KeyError(f"{row.name}: {label} {' '.join(unknown)}")


def _matchers(name: str, first: str, labels: Mapping[str, str]) -> str:
    """Return matchers; raises KeyError for a label that the metric does not have."""
    if unknown := labels.keys() - _exposed()[name]:
        raise KeyError(f"{name} has no label {' '.join(sorted(unknown))}")
    return ",".join([first, *(f'{label}="{text}"' for label, text in labels.items())])


def _bare(name: str) -> str:
    """Return the name of a metric; raises KeyError if the exporter does not export it."""
    assert _exposed()[name] is not None
    return name


@cache
def _exposed() -> dict[str, frozenset[str]]:
    """Return the label names of every sample, of an exposition in which nothing is absent."""
    stats = PollStats(
        up=True, decode_failures={"nrg": 1}, last_success=0.0, last_duration=0.0
    )  # fmt: skip
    influx = DeliveryStats(
        written=0, rejected=0, dropped=0, damaged=0, spooled=0, spool_bytes=0, oldest=0.0,
        failing="", failures={"timeout": 1},
    )  # fmt: skip
    view = ChargerView("", "", stats, None, None, labels={"site": ""})
    reload = Reload(True, 0.0)
    own = providers(
        Parts(
            Scheduler(()), lambda: reload, lambda: influx,
            store=lambda: STORE, surplus=lambda: SURPLUS,
        )
    )  # fmt: skip
    sessions = partial(session_metrics.chargers, SESSIONS, SESSIONS)
    exposition = Exposition(lambda: [view], [*own, sessions, process_metrics()])
    return {
        sample.name: frozenset(sample.labels)
        for family in text_string_to_metric_families(exposition.render()[0].decode())
        for sample in family.samples
    }
