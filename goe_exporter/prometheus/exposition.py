"""Snapshots → Prometheus: the text made afresh for every scrape, nothing kept between them.

Names, types and units come from the channel table's rows (DESIGN §6). A reading that is not in a
snapshot has no sample; a charger without a snapshot has its vitals only.

All of a charger's line but the charger's name and the number follows from the row. So that is
prepared once and a scrape puts the two in, which costs a tenth of describing each sample to a
library that then writes it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.metrics_core import HistogramMetricFamily, InfoMetricFamily, Metric

from goe_exporter import __version__
from goe_exporter.channels.model import (
    Channel,
    ChargerView,
    Distribution,
    InfluxVitals,
    Kind,
    Reload,
    Snapshot,
    Vitals,
)
from goe_exporter.errors import REASONS
from goe_exporter.prometheus.text_format import TEXT, Format, escaped, negotiated, number, series

DEVICE_LABELS = ("serial", "model", "variant", "firmware", "name")


class Exposition:
    """The `/metrics` endpoint's content: all chargers, the exporter and its process.

    `views` returns what may be shown now; `duration` and `lateness` are the schedule's, in
    seconds, `defects` its count of cycles that our own mistakes broke, `influx` the delivery's
    vitals where there is one, and `reload` what came of reading the configuration.
    """

    def __init__(
        self,
        views: Callable[[], Sequence[ChargerView]],
        duration: Distribution,
        lateness: Distribution,
        defects: Callable[[], int] = lambda: 0,
        influx: Callable[[], InfluxVitals] | None = None,
        reload: Callable[[], Reload] | None = None,
    ) -> None:
        self._views = views
        self._duration = duration
        self._lateness = lateness
        self._defects = defects
        self._influx = influx
        self._reload = reload
        self._process = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._process)
        PlatformCollector(registry=self._process)
        GCCollector(registry=self._process)

    def collect(self) -> Iterator[Metric]:
        """Yield the families of the exporter's own vitals."""
        build = InfoMetricFamily("goe_exporter_build", "Version of the exporter.")
        build.add_metric([], {"version": __version__})
        yield build
        yield _histogram("poll_duration", "Time the polls of all chargers took.", self._duration)
        yield _histogram("poll_lateness", "Delay of the polls behind their tick.", self._lateness)
        name, help_text = "goe_exporter_defects", "Refresh cycles broken by a mistake of ours."
        yield _metric(name, help_text, "counter", self._defects())
        if self._reload is not None:
            yield from _reload_families(self._reload())
        if self._influx is not None:
            yield from influx_families(self._influx())

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the body and its content type: OpenMetrics if `accept` asks for it, else text."""
        form = negotiated(accept)
        parts = (
            *(_written(form, metric) for metric in self._process.collect()),
            _chargers(form, self._views()),
            *(_written(form, metric) for metric in self.collect()),
            form.end,
        )
        return "".join(parts).encode(), form.content_type


def _reload_families(reload: Reload) -> Iterator[Metric]:
    name, help_text = "successful", "Whether the configuration was right when last read."
    yield _metric(f"goe_config_last_reload_{name}", help_text, "gauge", reload.successful)
    name, help_text = "success_timestamp_seconds", "When the configuration was last right."
    yield _metric(f"goe_config_last_reload_{name}", help_text, "gauge", reload.last_success)


def influx_families(vitals: InfluxVitals) -> Iterator[Metric]:
    """Yield the families of the delivery to InfluxDB (DESIGN §6)."""
    points = {result: getattr(vitals, result) for result in ("written", "rejected", "dropped")}
    help_text = "Points, by what became of them."
    yield _metric("goe_influx_points", help_text, "counter", points, label="result")
    gauges = (
        ("spooled_points", "Points that wait on disk.", vitals.spooled),
        ("spool_bytes", "Size of the spool on disk.", vitals.spool_bytes),
        ("oldest_spooled_timestamp_seconds", "When the oldest point was taken.", vitals.oldest),
    )
    for name, help_text, value in gauges:
        if value is not None:
            yield _metric(f"goe_influx_{name}", help_text, "gauge", value)
    help_text = "Records of the spool that were unreadable."
    yield _metric("goe_influx_damaged_records", help_text, "counter", vitals.damaged)
    if vitals.failures:
        failures = dict(sorted(vitals.failures.items()))
        help_text = "Writes that failed and are tried again."
        yield _metric("goe_influx_write_failures", help_text, "counter", failures, label="reason")


def render_readings(views: Iterable[ChargerView]) -> str:
    """Return the chargers' families alone, in the text format."""
    return _chargers(TEXT, tuple(views))


def _metric(
    name: str, help_text: str, kind: str, values: float | Mapping[str, float], label: str = ""
) -> Metric:
    """Return a family of one sample, or of one for each value of a label."""
    family = Metric(name, help_text, kind)
    sample = f"{name}_total" if kind == "counter" else name
    if not isinstance(values, Mapping):
        family.add_sample(sample, {}, values)
        return family
    for text, value in values.items():
        family.add_sample(sample, {label: text}, value)
    return family


def _histogram(name: str, help_text: str, distribution: Distribution) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"goe_exporter_{name}_seconds", help_text)
    family.add_metric([], distribution.buckets(), distribution.sum)
    return family


def _written(form: Format, family: Metric) -> str:
    """Return the text of a gauge, a counter, an info or a histogram of the library's making."""
    lines = (
        f"{series(sample.name, sample.labels)} {number(sample.value)}\n"
        for sample in family.samples
    )
    return form.head(family.name, family.type, family.documentation) + "".join(lines)


@dataclass(frozen=True, eq=False)
class _Family:
    """A family of the chargers; `name` is without a counter's `_total`."""

    name: str
    help: str
    kind: str = "gauge"


_UP = _Family("goe_up", "Whether the last poll of the charger succeeded.")
_LAST_SUCCESS = _Family("goe_last_success_timestamp_seconds", "When the charger last answered.")
_LAST_DURATION = _Family("goe_poll_duration_seconds", "Time the last poll took.")
_POLLS = _Family("goe_polls", "Polls of the charger.", "counter")
_FAILURES = _Family("goe_poll_failures", "Failed polls.", "counter")
_DECODE_FAILURES = _Family(
    "goe_decode_failures",
    "Values of the charger that were no reading, by their key in API v2.",
    "counter",
)
_DEVICE = _Family("goe_device_info", "The device.")

_Lines = defaultdict[_Family, list[str]]
"""The lines of each family, in the order in which the families were met."""

_NAME = "\0"
"""Stands for the charger's name where a line is prepared; no label of ours holds it."""


def _chargers(form: Format, views: Sequence[ChargerView]) -> str:
    """Return the families of all chargers' vitals and readings."""
    lines: _Lines = defaultdict(list)
    for view in views:
        _add_vitals(lines, escaped(view.name), view.vitals)
    for view in views:
        if view.snapshot is not None:
            _add_snapshot(lines, escaped(view.snapshot.charger), view.snapshot)
    return "".join(
        text
        for family, samples in lines.items()
        for text in (form.head(family.name, family.kind, family.help), *samples)
    )


def _add_vitals(lines: _Lines, charger: str, vitals: Vitals) -> None:
    single = (
        (_UP, vitals.up),
        (_LAST_SUCCESS, vitals.last_success),
        (_LAST_DURATION, vitals.last_duration),
        (_POLLS, vitals.polls),
    )
    for family, value in single:
        if value is not None:
            before, after = _series(family)
            lines[family].append(f"{before}{charger}{after} {number(value)}\n")
    for reason in REASONS:
        before, after = _series(_FAILURES, "reason", reason)
        count = number(vitals.failures.get(reason, 0))
        lines[_FAILURES].append(f"{before}{charger}{after} {count}\n")
    for key, failures in sorted(vitals.decode_failures.items()):
        before, after = _series(_DECODE_FAILURES, "key", key)
        lines[_DECODE_FAILURES].append(f"{before}{charger}{after} {number(failures)}\n")


def _add_snapshot(lines: _Lines, charger: str, snapshot: Snapshot) -> None:
    device = dict.fromkeys(DEVICE_LABELS, "")
    for channel, label, value, code in snapshot.readings:
        if channel.kind is Kind.TEXT:
            device[channel.label] = str(value)
        elif code is not None:
            family, pieces = _state_set(channel, str(value))
            lines[family].append(charger.join(pieces))
            family, before, after = _code(channel)
            lines[family].append(f"{before}{charger}{after} {number(code)}\n")
        else:
            family, before, after, factor = _row(channel, label)
            lines[family].append(f"{before}{charger}{after} {number(float(value) * factor)}\n")
    labels = {"charger": snapshot.charger, **device, "api": str(snapshot.api)}
    lines[_DEVICE].append(f"{series(_DEVICE.name, labels)} 1.0\n")


@cache
def _series(family: _Family, label: str = "", text: str = "") -> tuple[str, str]:
    """Return a series' text before the charger's name, and after."""
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    labels = {"charger": _NAME} | ({label: text} if label else {})
    before, after = series(name, labels).split(_NAME)
    return before, after


@cache
def _family(channel: Channel) -> _Family:
    kind = "counter" if channel.kind is Kind.COUNTER else "gauge"
    return _Family(channel.metric, channel.help, kind)


@cache
def _row(channel: Channel, part: str) -> tuple[_Family, str, str, float]:
    """Return a part's family, its series before and after the charger's name, and its factor."""
    family = _family(channel)
    return family, *_series(family, channel.label, part), channel.unit.factor


@cache
def _code(channel: Channel) -> tuple[_Family, str, str]:
    """Return the same of a state's number."""
    help_text = f"{channel.help[:-1]}, as the charger's number."
    family = _Family(f"goe_{channel.name}_code", help_text)
    return family, *_series(family)


@cache
def _state_set(channel: Channel, present: str) -> tuple[_Family, list[str]]:
    """Return the family, and its text in the pieces that lie between the charger's name.

    There is one sample per state, the present one 1, or of a reason the present one alone.
    """
    assert channel.states is not None
    family = _family(channel)
    states = (present,) if channel.kind is Kind.REASON else channel.states.names
    text = "".join(
        f"{_NAME.join(_series(family, channel.label, state))} {float(state == present)}\n"
        for state in states
    )
    return family, text.split(_NAME)
