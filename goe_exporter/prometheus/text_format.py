"""Prometheus' text formats, 0.0.4 and OpenMetrics 1.0.

Independent of chargers. The tests compare every byte with prometheus_client, which is slower, and
whose versions differ in the format of large numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_INFINITY = float("inf")


class Format(NamedTuple):
    """A format, and its content type."""

    content_type: str
    openmetrics: bool = False

    def head(self, name: str, kind: str, help_text: str) -> str:
        """Return the HELP and TYPE lines of a family."""
        help_text = help_text.replace("\\", r"\\").replace("\n", r"\n")
        if self.openmetrics:
            help_text = help_text.replace('"', r"\"")
        elif kind == "counter":
            name = f"{name}_total"
        elif kind == "info":
            name, kind = f"{name}_info", "gauge"
        return f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n"

    @property
    def end(self) -> str:
        """The line after the last family."""
        return "# EOF\n" if self.openmetrics else ""


TEXT = Format("text/plain; version=0.0.4; charset=utf-8")


def number(value: float) -> str:
    """Return a number as Go writes it, with exponents at smaller numbers than Python."""
    value = float(value)
    if -_INFINITY < value < 1e6:
        return repr(value)
    if value != value:  # noqa: PLR0124, only true of NaN
        return "NaN"
    if value in {_INFINITY, -_INFINITY}:
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    point = text.find(".")
    if point < 7:
        return text
    digits = f"{text[0]}.{text[1:point]}{text[point + 1 :]}".rstrip("0.")
    return f"{digits}e+{point - 1:02d}"


def escaped(text: str) -> str:
    """Return the escaped value of a label, without the quotes."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def series(name: str, labels: Mapping[str, str]) -> str:
    """Return a series: its name, and its labels sorted by name."""
    if not labels:
        return name
    pairs = ",".join(f'{label}="{escaped(labels[label])}"' for label in sorted(labels))
    return f"{name}{{{pairs}}}"
