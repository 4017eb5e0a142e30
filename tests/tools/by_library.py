"""The oracle of `/metrics`: the same chargers and families, encoded by prometheus_client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from goe_exporter.channels.model import Channel, Kind
from goe_exporter.channels.snapshot import Reading, Snapshot
from goe_exporter.channels.table import CHARGER
from goe_exporter.errors import REASONS
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.prometheus.families import Provider
from goe_exporter.prometheus.prepared import info_labels

_Families = dict[str, Metric]


def families(views: Iterable[ChargerView]) -> list[Metric]:
    """Return the families of all chargers' stats and readings, for the library."""
    found: _Families = {}
    views = list(views)
    for view in views:
        _add_stats(found, view.name, view.stats, view.snapshot_age)
    for view in views:
        if view.snapshot is not None:
            _add_snapshot(found, view.snapshot)
    return list(found.values())


def provided(providers: Iterable[Provider]) -> Iterator[Metric]:
    """Yield the families of the exporter's providers, for the library."""
    for provider in providers:
        for family in provider():
            metric = Metric(family.name, family.help, family.kind)
            for sample in family.samples:
                metric.add_sample(sample.name, dict(sample.labels), sample.value)
            yield metric


def encoded(metrics: Iterable[Metric], accept: str = "") -> str:
    """Return what the library writes of families to a scraper with this `Accept` header."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Fixed(list(metrics)))
    return choose_encoder(accept)[0](registry).decode()


class Fixed(Collector):
    """A collector of families that stay as they are."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def _add(
    found: _Families, name: str, help_text: str, kind: str, labels: dict[str, str], value: float
) -> None:
    """Add a sample to the family `name`, making the family if it is the first."""
    family = found.get(name)
    if family is None:
        family = found[name] = Metric(name, help_text, kind)
    sample = f"{name}_total" if kind == "counter" else name
    family.samples.append(Sample(sample, labels, value))


def _add_stats(found: _Families, charger: str, stats: PollStats, age: float | None) -> None:
    labels = {"charger": charger}
    gauges = (
        ("goe_up", "Whether the last poll of the charger succeeded.", stats.up),
        (
            "goe_last_success_timestamp_seconds",
            "Unix time of the charger's last answer.",
            stats.last_success,
        ),
        (
            "goe_snapshot_age_seconds",
            "Time since the values of the charger's last answer were measured.",
            age,
        ),
        ("goe_poll_duration_seconds", "Duration of the last poll.", stats.last_duration),
    )
    for name, help_text, value in gauges:
        if value is not None:
            _add(found, name, help_text, "gauge", labels, float(value))
    _add(found, "goe_polls", "Polls of the charger.", "counter", labels, stats.polls)
    for reason in REASONS:
        count = stats.failures.get(reason, 0)
        of_reason = labels | {"reason": reason}
        _add(found, "goe_poll_failures", "Failed polls by reason.", "counter", of_reason, count)
    for key, count in sorted(stats.decode_failures.items()):
        help_text = "Values that could not be decoded, by API v2 key."
        _add(found, "goe_decode_failures", help_text, "counter", labels | {"key": key}, count)


def _add_snapshot(found: _Families, snapshot: Snapshot) -> None:
    device = dict.fromkeys(info_labels(CHARGER)[""], "")
    for reading in snapshot.readings:
        kind = reading.channel.kind
        if kind is Kind.TEXT:
            device[reading.channel.label] = str(reading.value)
        elif kind is Kind.STATE or kind is Kind.REASON:
            _add_state(found, snapshot.charger, reading)
        else:
            _add_value(found, snapshot.charger, reading)
    labels = {"charger": snapshot.charger, **device, "api": str(snapshot.api)}
    _add(
        found, "goe_device_info", "Device identity, firmware and API version.", "gauge", labels, 1.0
    )


def _add_value(found: _Families, charger: str, reading: Reading) -> None:
    channel = reading.channel
    labels = {"charger": charger}
    if channel.label:
        labels[channel.label] = reading.label
    value = float(reading.value) * channel.unit.factor
    kind = "counter" if channel.kind is Kind.COUNTER else "gauge"
    _add(found, channel.metric, channel.help, kind, labels, value)


def _add_state(found: _Families, charger: str, reading: Reading) -> None:
    """Add the state's number, and one sample per state or, for a reason, the present one."""
    channel = reading.channel
    for name in _states(channel, str(reading.value)):
        labels = {"charger": charger, channel.label: name}
        value = 1.0 if name == reading.value else 0.0
        _add(found, channel.metric, channel.help, "gauge", labels, value)
    assert reading.code is not None
    help_text = f"{channel.help[:-1]} (numeric code)."
    labels = {"charger": charger}
    _add(found, f"goe_{channel.name}_code", help_text, "gauge", labels, float(reading.code))


def _states(channel: Channel, present: str) -> Sequence[str]:
    assert channel.states is not None
    return (present,) if channel.kind is Kind.REASON else channel.states.names
