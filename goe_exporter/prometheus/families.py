"""Metric families as plain values, which the exporter's parts report about themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple


class Sample(NamedTuple):
    """A sample: the series' full name, its labels, and its value."""

    name: str
    labels: Mapping[str, str]
    value: float


class Family(NamedTuple):
    """A metric family; `name` is without the suffixes of a counter, an info or a histogram."""

    name: str
    help: str
    kind: str
    samples: Sequence[Sample]


Provider = Callable[[], Iterable[Family]]
"""Returns the present families of a part of the exporter."""


def gauge(name: str, help_text: str, value: float) -> Family:
    """Return a gauge without labels."""
    return Family(name, help_text, "gauge", [Sample(name, {}, value)])


def counter(name: str, help_text: str, value: float) -> Family:
    """Return a counter without labels."""
    return Family(name, help_text, "counter", [Sample(f"{name}_total", {}, value)])


def counters(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Family:
    """Return a counter with one label, and a sample for each of its values."""
    samples = [Sample(f"{name}_total", {label: text}, value) for text, value in values.items()]
    return Family(name, help_text, "counter", samples)


def info(name: str, help_text: str, labels: Mapping[str, str]) -> Family:
    """Return an info: a constant 1 whose labels are the content."""
    return Family(name, help_text, "info", [Sample(f"{name}_info", labels, 1)])


def histogram(
    name: str, help_text: str, buckets: Sequence[tuple[str, float]], total: float
) -> Family:
    """Return a histogram of cumulative `buckets` (upper bound, count) and the sum of its values."""
    samples = [Sample(f"{name}_bucket", {"le": bound}, count) for bound, count in buckets]
    samples += [Sample(f"{name}_count", {}, buckets[-1][1]), Sample(f"{name}_sum", {}, total)]
    return Family(name, help_text, "histogram", samples)
