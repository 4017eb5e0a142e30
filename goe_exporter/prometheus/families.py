"""Metric families as plain values, which the exporter's parts report about themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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


def family(
    kind: str, name: str, help_text: str, values: float | Mapping[str, float], label: str = ""
) -> Family:
    """Return a gauge or a counter: one sample, or a sample for each value of a label."""
    full_name = f"{name}_total" if kind == "counter" else name
    if not isinstance(values, Mapping):
        return Family(name, help_text, kind, [Sample(full_name, {}, values)])
    samples = [Sample(full_name, {label: text}, value) for text, value in values.items()]
    return Family(name, help_text, kind, samples)


def labelled(
    kind: str, name: str, help_text: str, values: Iterable[tuple[Mapping[str, str], float]]
) -> Iterator[Family]:
    """Yield a gauge or a counter with a sample for each set of labels, nothing without one."""
    full_name = f"{name}_total" if kind == "counter" else name
    if samples := [Sample(full_name, labels, value) for labels, value in values]:
        yield Family(name, help_text, kind, samples)


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
