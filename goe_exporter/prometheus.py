"""Snapshots → Prometheus: families built afresh for every scrape, nothing kept between them.

Names, types and units come from the channel table's rows (DESIGN §6). A reading that is not in a
snapshot has no sample; a charger without a snapshot has its vitals only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from goe_exporter import __version__
from goe_exporter.errors import REASONS
from goe_exporter.model import (
    Channel,
    ChargerView,
    Distribution,
    InfluxVitals,
    Kind,
    Reading,
    Snapshot,
    Vitals,
)

DEVICE_LABELS = ("serial", "model", "variant", "firmware", "name")

_Families = dict[str, Metric]


def families(views: Iterable[ChargerView]) -> list[Metric]:
    """Return the families of all chargers' vitals and readings, in the table's order."""
    found: _Families = {}
    views = list(views)
    for view in views:
        _add_vitals(found, view.name, view.vitals)
    for view in views:
        if view.snapshot is not None:
            _add_snapshot(found, view.snapshot)
    return list(found.values())


class Exposition(Collector):
    """The `/metrics` endpoint's content: all chargers, the exporter and its process.

    `views` returns what may be shown now; `duration` and `lateness` are the schedule's, in
    seconds, `defects` its count of cycles that our own mistakes broke, `influx` the delivery's
    vitals where there is one.
    """

    def __init__(
        self,
        views: Callable[[], Sequence[ChargerView]],
        duration: Distribution,
        lateness: Distribution,
        defects: Callable[[], int] = lambda: 0,
        influx: Callable[[], InfluxVitals] | None = None,
    ) -> None:
        self._views = views
        self._duration = duration
        self._lateness = lateness
        self._defects = defects
        self._influx = influx
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield every family of ours; the registry calls this once a scrape."""
        yield from families(self._views())
        build = InfoMetricFamily("goe_exporter_build", "Version of the exporter.")
        build.add_metric([], {"version": __version__})
        yield build
        yield _histogram("poll_duration", "Time the polls of all chargers took.", self._duration)
        yield _histogram("poll_lateness", "Delay of the polls behind their tick.", self._lateness)
        name, help_text = "goe_exporter_defects", "Refresh cycles broken by a mistake of ours."
        defects = Metric(name, help_text, "counter")
        defects.add_sample(f"{name}_total", {}, self._defects())
        yield defects
        if self._influx is not None:
            yield from influx_families(self._influx())

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the body and its content type: OpenMetrics if `accept` asks for it, else text."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


def influx_families(vitals: InfluxVitals) -> list[Metric]:
    """Return the families of the delivery to InfluxDB (DESIGN §6)."""
    found: _Families = {}
    for result in ("written", "rejected", "dropped"):
        help_text = "Points, by what became of them."
        count = getattr(vitals, result)
        _add(found, "goe_influx_points", help_text, "counter", {"result": result}, count)
    gauges = (
        ("spooled_points", "Points that wait on disk.", vitals.spooled),
        ("spool_bytes", "Size of the spool on disk.", vitals.spool_bytes),
        ("oldest_spooled_timestamp_seconds", "When the oldest point was taken.", vitals.oldest),
    )
    for name, help_text, value in gauges:
        if value is not None:
            _add(found, f"goe_influx_{name}", help_text, "gauge", {}, value)
    damaged = "Records of the spool that were unreadable."
    _add(found, "goe_influx_damaged_records", damaged, "counter", {}, vitals.damaged)
    for reason, count in sorted(vitals.failures.items()):
        help_text = "Writes that failed and are tried again."
        _add(found, "goe_influx_write_failures", help_text, "counter", {"reason": reason}, count)
    return list(found.values())


def render_readings(views: Iterable[ChargerView]) -> str:
    """Return the chargers' families alone, in the text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Fixed(families(views)))
    return choose_encoder("")[0](registry).decode()


class _Fixed(Collector):
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


def _add_vitals(found: _Families, charger: str, vitals: Vitals) -> None:
    labels = {"charger": charger}
    gauges = (
        ("goe_up", "Whether the last poll of the charger succeeded.", vitals.up),
        (
            "goe_last_success_timestamp_seconds",
            "When the charger last answered.",
            vitals.last_success,
        ),
        ("goe_poll_duration_seconds", "Time the last poll took.", vitals.last_duration),
    )
    for name, help_text, value in gauges:
        if value is not None:
            _add(found, name, help_text, "gauge", labels, float(value))
    _add(found, "goe_polls", "Polls of the charger.", "counter", labels, vitals.polls)
    for reason in REASONS:
        count = vitals.failures.get(reason, 0)
        of_reason = labels | {"reason": reason}
        _add(found, "goe_poll_failures", "Failed polls.", "counter", of_reason, count)
    for key, count in sorted(vitals.decode_failures.items()):
        help_text = "Values of the charger that were no reading, by their key in API v2."
        _add(found, "goe_decode_failures", help_text, "counter", labels | {"key": key}, count)


def _add_snapshot(found: _Families, snapshot: Snapshot) -> None:
    device = dict.fromkeys(DEVICE_LABELS, "")
    for reading in snapshot.readings:
        kind = reading.channel.kind
        if kind is Kind.TEXT:
            device[reading.channel.label] = str(reading.value)
        elif kind is Kind.STATE or kind is Kind.REASON:
            _add_state(found, snapshot.charger, reading)
        else:
            _add_value(found, snapshot.charger, reading)
    labels = {"charger": snapshot.charger, **device, "api": str(snapshot.api)}
    _add(found, "goe_device_info", "The device.", "gauge", labels, 1.0)


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
    help_text = f"{channel.help[:-1]}, as the charger's number."
    labels = {"charger": charger}
    _add(found, f"goe_{channel.name}_code", help_text, "gauge", labels, float(reading.code))


def _states(channel: Channel, present: str) -> Sequence[str]:
    assert channel.states is not None
    return (present,) if channel.kind is Kind.REASON else channel.states.names


def _histogram(name: str, help_text: str, distribution: Distribution) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"goe_exporter_{name}_seconds", help_text)
    family.add_metric([], distribution.buckets(), distribution.sum)
    return family
