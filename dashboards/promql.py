"""PromQL that names metrics and labels through the channel table.

A metric, label or state that the exporter does not have is a KeyError while the dashboards are
built. The names of polling and delivery metrics are those of the exporter's own families.
"""

from __future__ import annotations

from functools import cache

from prometheus_client.parser import text_string_to_metric_families

from dashboards.grafana import Json, variable
from goe_exporter.channels.model import Channel, Kind
from goe_exporter.channels.table import CHANNELS
from goe_exporter.influx.stats import DeliveryStats
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.prometheus.exposition import DEVICE_LABELS, Exposition
from goe_exporter.prometheus.process import process_metrics
from goe_exporter.service.self_metrics import Reload, providers

SOURCE = "prometheus"
OF_JOB = 'job=~"$job"'
SELECTED = f'{OF_JOB},charger=~"$charger"'
OF_CHARGER = "by (job, charger)"
JOULES_PER_KWH = "3.6e6"

_CHANNELS = {channel.name: channel for channel in CHANNELS}


def channel(name: str) -> Channel:
    """Return the row of the channel table; KeyError if there is none."""
    return _CHANNELS[name]


def series(name: str, but: str = "", **words: str | tuple[str, ...]) -> str:
    """Return a channel's samples of the selected chargers.

    `words` holds the label with the words wanted, as in `phase=("L1", "L2")`; `but` is one word of
    the channel's label that is not.
    """
    row = channel(name)
    matchers = [SELECTED]
    for label, wanted in words.items():
        listed = (wanted,) if isinstance(wanted, str) else wanted
        _known(row, label, *listed)
        matchers.append(
            f'{label}=~"{"|".join(listed)}"' if listed[1:] else f'{label}="{listed[0]}"'
        )
    if but:
        _known(row, row.label, but)
        matchers.append(f'{row.label}!="{but}"')
    return f"{row.sample}{{{','.join(matchers)}}}"


def code(name: str) -> str:
    """Return the charger's own number of a state or reason."""
    row = channel(name)
    if row.kind not in (Kind.STATE, Kind.REASON):
        raise KeyError(f"{name}: no state")
    return f"goe_{row.name}_code{{{SELECTED}}}"


def device(*labels: str, api: int | None = None) -> str:
    """Return the devices' identities, for joining or to read `labels` from."""
    for label in labels:
        if label not in DEVICE_LABELS:
            raise KeyError(label)
    only = f',api="{api}"' if api else ""
    return f"{channel('serial').metric}{{{SELECTED}{only}}}"


def polled(name: str) -> str:
    """Return what the exporter says of polling the selected chargers, as in `goe_up`."""
    if "charger" not in _exposed()[name]:
        raise KeyError(f"{name}: not of a charger")
    return f"{name}{{{SELECTED}}}"


def exporter(name: str, labels: str = "") -> str:
    """Return what the exporter says of itself; `labels` is a further matcher."""
    if "charger" in _exposed()[name]:
        raise KeyError(f"{name}: of a charger")
    return f"{name}{{{OF_JOB}{',' if labels else ''}{labels}}}"


def once(expression: str) -> str:
    """Return the PromQL with a sample per charger.

    Two exporters of a job that watch a charger, or the series before and after a change of other
    labels, count as one.
    """
    return f"max {OF_CHARGER} ({expression})"


def now(expression: str, legend: str = "", *, rows: bool = False) -> Json:
    """Return a query for the present; with `rows` its labels are the columns of a table."""
    shape = "table" if rows else "time_series"
    return _target(expression, legend) | {"format": shape, "instant": True, "range": False}


def past(expression: str, legend: str = "", *, rows: bool = False) -> Json:
    """Return a query over the time shown; with `rows` every sample is a row of a table."""
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


def _known(row: Channel, label: str, *words: str) -> None:
    """Raise KeyError unless the channel has this label with these words."""
    of_states = row.states.names if row.states else ()
    known = of_states or [part.label for part in row.parts]
    unknown = [word for word in words if word not in known]
    if label != row.label or unknown:
        raise KeyError(f"{row.name}: {label} {' '.join(unknown)}")


def _bare(name: str) -> str:
    """Return the name if the exporter has it, else raise KeyError."""
    assert _exposed()[name] is not None
    return name


@cache
def _exposed() -> dict[str, frozenset[str]]:
    """Return all samples' names with their labels, of an exporter that has seen everything."""
    stats = PollStats(
        up=True, decode_failures={"nrg": 1}, last_success=0.0, last_duration=0.0
    )  # fmt: skip
    influx = DeliveryStats(
        written=0, rejected=0, dropped=0, damaged=0, spooled=0, spool_bytes=0, oldest=0.0,
        failing="", failures={"timeout": 1},
    )  # fmt: skip
    view = ChargerView("", "", stats, None, None)
    own = providers(Scheduler(()), lambda: Reload(True, 0.0), lambda: influx)
    exposition = Exposition(lambda: [view], [*own, process_metrics()])
    return {
        sample.name: frozenset(sample.labels)
        for family in text_string_to_metric_families(exposition.render()[0].decode())
        for sample in family.samples
    }
