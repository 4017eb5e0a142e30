"""The exposition: snapshots and the families of providers → Prometheus text.

Built anew for every scrape; nothing is kept between scrapes. What a reading lacks has no sample;
a charger without a snapshot has its poll statistics only. The lines of a series are prepared once,
with a placeholder for the charger's name, because rendering dominates the CPU time of a scrape.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from goe_exporter.channels.model import Channel, Kind
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.errors import REASONS
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.prometheus.families import Family, Provider
from goe_exporter.prometheus.negotiation import negotiated
from goe_exporter.prometheus.text_format import TEXT, Format, escaped, number, series

DEVICE_LABELS = ("serial", "model", "variant", "firmware", "name", "revision", "style")


class Exposition:
    """The content of `/metrics`: the chargers that `views` returns, and the providers' families."""

    def __init__(
        self, views: Callable[[], Sequence[ChargerView]], providers: Iterable[Provider] = ()
    ) -> None:
        self._views = views
        self._providers = tuple(providers)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the body and its content type: OpenMetrics if `accept` asks for it, else text."""
        form = negotiated(accept)
        parts = (
            _chargers(form, self._views()),
            *(_written(form, family) for provider in self._providers for family in provider()),
            form.end,
        )
        return "".join(parts).encode(), form.content_type


def render_readings(views: Iterable[ChargerView]) -> str:
    """Return the chargers' families alone, in the text format."""
    return _chargers(TEXT, tuple(views))


def _written(form: Format, family: Family) -> str:
    """Return the text of a provider's family."""
    lines = (f"{series(name, labels)} {number(value)}\n" for name, labels, value in family.samples)
    return form.head(family.name, family.kind, family.help) + "".join(lines)


@dataclass(frozen=True, eq=False)
class _Head:
    """The head of a family of the chargers; `name` is without a counter's `_total`."""

    name: str
    help: str
    kind: str = "gauge"


_UP = _Head("goe_up", "Whether the last poll of the charger succeeded.")
_LAST_SUCCESS = _Head(
    "goe_last_success_timestamp_seconds", "Unix time of the charger's last answer."
)
_SNAPSHOT_AGE = _Head(
    "goe_snapshot_age_seconds", "Time since the values of the charger's last answer were measured."
)
_LAST_DURATION = _Head("goe_poll_duration_seconds", "Duration of the last poll.")
_POLLS = _Head("goe_polls", "Polls of the charger.", "counter")
_FAILURES = _Head("goe_poll_failures", "Failed polls by reason.", "counter")
_DECODE_FAILURES = _Head(
    "goe_decode_failures",
    "Values that could not be decoded, by API v2 key.",
    "counter",
)
_DEVICE = _Head("goe_device_info", "Device identity, firmware and API version.")
_LABELS = _Head("goe_charger_info", "Labels of the charger in the configuration.")

_Lines = defaultdict[_Head, list[str]]
"""The lines of each family, in the order of the families' first samples."""

_NAME = "\0"
"""Placeholder for the charger's name in a prepared line; no other label contains it."""


def _chargers(form: Format, views: Sequence[ChargerView]) -> str:
    """Return the families of all chargers' poll statistics and readings."""
    lines: _Lines = defaultdict(list)
    for view in views:
        _add_stats(lines, escaped(view.name), view.stats, view.snapshot_age)
    for view in views:
        if view.snapshot is not None:
            _add_snapshot(lines, escaped(view.name), view.snapshot)
        _add_device(lines, view)
    _add_labels(lines, views)
    return "".join(
        text
        for family, samples in lines.items()
        for text in (form.head(family.name, family.kind, family.help), *samples)
    )


def _add_stats(lines: _Lines, charger: str, stats: PollStats, age: float | None) -> None:
    single = (
        (_UP, stats.up),
        (_LAST_SUCCESS, stats.last_success),
        (_SNAPSHOT_AGE, age),
        (_LAST_DURATION, stats.last_duration),
        (_POLLS, stats.polls),
    )
    for family, value in single:
        if value is not None:
            before, after = _series(family)
            lines[family].append(f"{before}{charger}{after} {number(value)}\n")
    for reason in REASONS:
        before, after = _series(_FAILURES, "reason", reason)
        count = number(stats.failures.get(reason, 0))
        lines[_FAILURES].append(f"{before}{charger}{after} {count}\n")
    for key, failures in sorted(stats.decode_failures.items()):
        before, after = _series(_DECODE_FAILURES, "key", key)
        lines[_DECODE_FAILURES].append(f"{before}{charger}{after} {number(failures)}\n")


def _add_snapshot(lines: _Lines, charger: str, snapshot: Snapshot) -> None:
    for channel, label, value, code in snapshot.readings:
        if channel.kind is Kind.TEXT:
            continue
        if code is not None:
            family, pieces = _state_set(channel, str(value))
            lines[family].append(charger.join(pieces))
            family, before, after = _code(channel)
            lines[family].append(f"{before}{charger}{after} {number(code)}\n")
        else:
            family, before, after, factor = _row(channel, label)
            lines[family].append(f"{before}{charger}{after} {number(float(value) * factor)}\n")


def _add_device(lines: _Lines, view: ChargerView) -> None:
    """Add the identity of the device that answered last, which stays while it does not answer."""
    api = view.snapshot.api if view.snapshot else view.api
    if api is None:
        return
    device = dict.fromkeys(DEVICE_LABELS, "")
    for channel, _label, value, _code in view.readings:
        if channel.kind is Kind.TEXT:
            device[channel.label] = str(value)
    labels = {"charger": view.name, **device, "api": str(api)}
    lines[_DEVICE].append(f"{series(_DEVICE.name, labels)} 1.0\n")


def _add_labels(lines: _Lines, views: Sequence[ChargerView]) -> None:
    """Add a sample for each charger, with the label names of all of them, if there are any."""
    names = dict.fromkeys((name for view in views for name in view.labels), "")
    if names:
        for view in views:
            labels = {"charger": view.name, **names, **view.labels}
            lines[_LABELS].append(f"{series(_LABELS.name, labels)} 1.0\n")


@cache
def _series(family: _Head, label: str = "", text: str = "") -> tuple[str, str]:
    """Return the text of a series before and after the charger's name."""
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    labels = {"charger": _NAME} | ({label: text} if label else {})
    before, after = series(name, labels).split(_NAME)
    return before, after


@cache
def _family(channel: Channel) -> _Head:
    kind = "counter" if channel.kind is Kind.COUNTER else "gauge"
    return _Head(channel.metric, channel.help, kind)


@cache
def _row(channel: Channel, part: str) -> tuple[_Head, str, str, float]:
    """Return a part's family, its series before and after the charger's name, and its factor."""
    family = _family(channel)
    return family, *_series(family, channel.label, part), channel.unit.factor


@cache
def _code(channel: Channel) -> tuple[_Head, str, str]:
    """Return the family of a state's code, and its series before and after the charger's name."""
    help_text = f"{channel.help[:-1]} (numeric code)."
    family = _Head(f"goe_{channel.name}_code", help_text)
    return family, *_series(family)


@cache
def _state_set(channel: Channel, present: str) -> tuple[_Head, list[str]]:
    """Return a state's family, and its lines, split where the charger's name belongs.

    A state has one sample per name, 1 for the present one and 0 for the others; a reason has only
    the sample of the present one.
    """
    assert channel.states is not None
    family = _family(channel)
    states = (present,) if channel.kind is Kind.REASON else channel.states.names
    text = "".join(
        f"{_NAME.join(_series(family, channel.label, state))} {float(state == present)}\n"
        for state in states
    )
    return family, text.split(_NAME)
