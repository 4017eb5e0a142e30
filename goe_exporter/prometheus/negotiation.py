"""Content negotiation (RFC 9110 §12): the choices of a header, and the format of `/metrics`.

Independent of chargers. The tests compare the formats with prometheus_client, which ignores
weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from goe_exporter.prometheus.text_format import TEXT, Format

_ITEM = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_PART = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*"?)+')
_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")

_ESCAPING = re.compile(r"allow-utf-8|underscores|values")
"""The escapings of UTF-8 names that do not change the exporter's names, which are ASCII."""

_FIRST_OR_LATER = re.compile(r"[1-9][0-9]*(\.[0-9]+)*")
"""A version of 1.0 or higher."""

_OPENMETRICS_TYPE = "application/openmetrics-text"
_OPENMETRICS = Format(f"{_OPENMETRICS_TYPE}; version=1.0.0; charset=utf-8", openmetrics=True)


class Choice(NamedTuple):
    """An item of an `Accept`, `Accept-Encoding` or `Accept-Language` header, in lower case."""

    name: str
    parameters: Mapping[str, str]
    weight: float


def choices(header: str) -> list[Choice]:
    """Return the items of a header, in its order; those with a malformed weight are skipped."""
    found = []
    for item in _ITEM.findall(header):
        name, _semicolon, rest = item.partition(";")
        parameters = dict(_parameters(rest))
        weight = parameters.pop("q", "1")
        if _WEIGHT.fullmatch(weight):
            found.append(Choice(name.strip().lower(), parameters, float(weight)))
    return found


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    for pair in _PART.findall(text):
        name, separator, value = pair.partition("=")
        if separator:
            yield name.strip().lower(), value.strip().strip('"')


def negotiated(accept: str) -> Format:
    """Return the format with the highest weight in an `Accept` header, else the text format 0.0.4.

    Of equal weights OpenMetrics and the text format 1.0 win over 0.0.4 if the header names them,
    in its order.
    """
    accepted = choices(accept)
    newer = [(choice.weight, form) for choice in accepted if (form := _newer_format(choice))]
    others = [choice for choice in accepted if not _newer_format(choice)]
    offers = [*newer, (_weight(others, "text/plain"), TEXT)]
    if not any(choice.name == _OPENMETRICS_TYPE for choice in accepted):
        offers.append((_weight(others, _OPENMETRICS_TYPE), _OPENMETRICS))
    weight, form = max(offers, key=lambda offer: offer[0])
    return form if weight else TEXT


def _weight(accepted: Iterable[Choice], media_type: str) -> float:
    """Return the weight of a media type by the most specific item that covers it, else 0."""
    ranks = {"*/*": 0, f"{media_type.partition('/')[0]}/*": 1, media_type: 2}
    covering = [
        (ranks[choice.name] + (choice.parameters.get("version") == "0.0.4"), choice.weight)
        for choice in accepted
        if choice.name in ranks
    ]
    return max(covering, default=(0, 0.0))[1]


def _newer_format(choice: Choice) -> Format | None:
    """Return OpenMetrics or the text format 1.0 if an item names it, None if it does not."""
    version = choice.parameters.get("version", "")
    current = _FIRST_OR_LATER.fullmatch(version) is not None
    escaping = choice.parameters.get("escaping", "")
    escaping = escaping if _ESCAPING.fullmatch(escaping) else "underscores"
    if choice.name == _OPENMETRICS_TYPE and not version:
        return _OPENMETRICS
    if choice.name == _OPENMETRICS_TYPE and current:
        return _OPENMETRICS._replace(
            content_type=f"{_OPENMETRICS.content_type}; escaping={escaping}"
        )
    if choice.name == "text/plain" and current:
        return Format(f"text/plain; version=1.0.0; charset=utf-8; escaping={escaping}")
    return None
