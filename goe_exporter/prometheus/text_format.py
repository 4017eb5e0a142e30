"""Prometheus' text formats: 0.0.4 and OpenMetrics 1.0, and which of them a scraper asks for.

Knows nothing of chargers. prometheus_client writes the same bytes, as the tests see to; it takes
its time, and its versions differ in how they write large numbers and in what they negotiate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_INFINITY = float("inf")
_ESCAPING = re.compile(r"allow-utf-8|underscores|values")
"""The ways of writing foreign names that leave ours, which are of the old set, as they are."""

_FIRST_OR_LATER = re.compile(r"[1-9][0-9]*(\.[0-9]+)*")
"""A version of 1.0 or above."""


class Format(NamedTuple):
    """One of the formats, and the content type that says so."""

    content_type: str
    openmetrics: bool = False

    def head(self, name: str, kind: str, help_text: str) -> str:
        """Return what stands above the samples of a family."""
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
        """What stands behind the last family."""
        return "# EOF\n" if self.openmetrics else ""


TEXT = Format("text/plain; version=0.0.4; charset=utf-8")


def negotiated(accept: str) -> Format:
    """Return the first format that an `Accept` header names and we speak, else the old one."""
    for wish in accept.split(","):
        media_type, *parameters = (part.strip() for part in wish.split(";"))
        wanted = dict(_pairs(parameters))
        version = wanted.get("version", "")
        current = _FIRST_OR_LATER.fullmatch(version) is not None
        escaping = wanted.get("escaping", "")
        escaping = escaping if _ESCAPING.fullmatch(escaping) else "underscores"
        if media_type == "application/openmetrics-text" and (current or not version):
            said = f"; escaping={escaping}" if version else ""
            openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"
            return Format(openmetrics + said, openmetrics=True)
        if media_type == "text/plain" and current:
            return Format(f"text/plain; version=1.0.0; charset=utf-8; escaping={escaping}")
    return TEXT


def _pairs(parameters: list[str]) -> Iterator[tuple[str, str]]:
    for parameter in parameters:
        name, separator, value = parameter.partition("=")
        if separator:
            yield name, value


def number(value: float) -> str:
    """Return a number as Go writes it, who turns to exponents sooner than Python."""
    value = float(value)
    if -_INFINITY < value < 1e6:
        return repr(value)
    if value != value:  # noqa: PLR0124, what only NaN is
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
    """Return a label's value as it stands between quotes."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def series(name: str, labels: Mapping[str, str]) -> str:
    """Return a series: its name, and its labels in the order of their names."""
    if not labels:
        return name
    pairs = ",".join(f'{label}="{escaped(labels[label])}"' for label in sorted(labels))
    return f"{name}{{{pairs}}}"
