"""The negotiation of the format of `/metrics`, and the items of a header with choices."""

from __future__ import annotations

import pytest
from exposed import OPENMETRICS

from goe_exporter.prometheus.negotiation import Choice, choices, negotiated

TEXT_0 = "text/plain; version=0.0.4; charset=utf-8"
TEXT_1 = "text/plain; version=1.0.0; charset=utf-8; escaping="
OPEN_1 = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT_0),
        ("*/*", TEXT_0),
        ("text/html,application/xhtml+xml", TEXT_0),
        ("text/plain", TEXT_0),
        ("text/plain;version=0.0.4", TEXT_0),
        ("text/plain; version=1.0.0", f"{TEXT_1}underscores"),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", f"{TEXT_1}allow-utf-8"),
        ("text/plain;version=1.0.0;escaping=values", f"{TEXT_1}values"),
        ("text/plain;version=1.0.0;escaping=nonsense", f"{TEXT_1}underscores"),
        ("application/openmetrics-text", OPEN_1),
        ("application/openmetrics-text;version=0.0.1", TEXT_0),
        ("application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4", TEXT_0),
        (OPENMETRICS, f"{OPEN_1}; escaping=underscores"),
        (f"text/html, {OPENMETRICS};q=0.3", f"{OPEN_1}; escaping=underscores"),
        (f"text/plain;version=0.0.4,{OPENMETRICS}", f"{OPEN_1}; escaping=underscores"),
        (PROMETHEUS_3, f"{OPEN_1}; escaping=allow-utf-8"),
    ],
)
def test_content_type(accept: str, content_type: str) -> None:
    """Of equal weights the first newer format wins; the content type has version and escaping."""
    form = negotiated(accept)
    assert form.content_type == content_type
    assert form.openmetrics is content_type.startswith("application/openmetrics-text")
    assert negotiated(accept.replace(";", " ; ").replace(",", " , ")) == form


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("text/plain;version=1.0.0;escaping=dots", f"{TEXT_1}underscores"),
        (f"{OPENMETRICS};escaping=dots", f"{OPEN_1}; escaping=underscores"),
        ("application/openmetrics-text;version=2.0.0", f"{OPEN_1}; escaping=underscores"),
        ("application/openmetrics-text;version=abc", TEXT_0),
        ("text/plain;version=", TEXT_0),
        (";;;,=,;=", TEXT_0),
    ],
)
def test_content_type_where_the_library_errs(accept: str, content_type: str) -> None:
    """An unsupported escaping or version falls back instead of failing."""
    assert negotiated(accept).content_type == content_type


PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        pytest.param(
            "application/openmetrics-text;version=1.0.0,"
            "application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            f"{OPEN_1}; escaping=underscores",
            id="Prometheus 2.42",
        ),
        pytest.param(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;escaping=allow-utf-8;q=0.5,"
            "text/plain;version=1.0.0;escaping=allow-utf-8;escaping=allow-utf-8;q=0.4,"
            "text/plain;version=0.0.4;escaping=allow-utf-8;q=0.3,*/*;q=0.2",
            f"{OPEN_1}; escaping=allow-utf-8",
            id="Prometheus 3.1",
        ),
        pytest.param(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,"
            "application/openmetrics-text;version=0.0.1;q=0.6,"
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,"
            "text/plain;version=0.0.4;q=0.4,*/*;q=0.3",
            f"{OPEN_1}; escaping=allow-utf-8",
            id="Prometheus 3.16",
        ),
        pytest.param(
            f"{PROTOBUF};q=0.7,"
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;q=0.5,"
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            f"{OPEN_1}; escaping=allow-utf-8",
            id="Prometheus 3.16 with native histograms",
        ),
        pytest.param(
            "text/plain;version=0.0.4;q=0.4,"
            "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.3,*/*;q=0.2",
            TEXT_0,
            id="Prometheus 3 with scrape_protocols",
        ),
        pytest.param("text/plain;version=0.0.4;q=1,*/*;q=0.1", TEXT_0, id="VictoriaMetrics"),
        pytest.param(f"{PROTOBUF};q=0.7,text/plain;version=0.0.4;q=0.3", TEXT_0, id="Telegraf"),
        pytest.param(PROTOBUF, TEXT_0, id="protobuf alone"),
        pytest.param("*/*", TEXT_0, id="curl"),
        pytest.param(
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            TEXT_0,
            id="browser",
        ),
    ],
)
def test_clients(accept: str, content_type: str) -> None:
    """What programs send, as captured or as their source composes it, gets the best format."""
    assert negotiated(accept).content_type == content_type


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/openmetrics-text;q=0.5,text/plain;version=0.0.4", TEXT_0),
        ("application/openmetrics-text;q=0.5,text/plain;q=0.6", TEXT_0),
        ("text/plain;q=0.5,application/openmetrics-text;q=0.6", OPEN_1),
        ("text/plain;version=1.0.0;q=0.2,application/openmetrics-text;q=0.3", OPEN_1),
        ("application/openmetrics-text;q=0", TEXT_0),
        ("application/openmetrics-text;q=0,*/*", TEXT_0),
        ("application/openmetrics-text;q=0.000, */*;q=0.001", TEXT_0),
        ("application/openmetrics-text;q=0.5, */*", TEXT_0),
        ("application/openmetrics-text;q=0.5, text/*;q=0.4", OPEN_1),
        ("application/openmetrics-text;q=0.5, text/*;q=0.6", TEXT_0),
        ("*/*, text/plain;q=0.1, application/openmetrics-text;q=0.5", OPEN_1),
        ("text/*;q=0.9, text/plain;version=0.0.4;q=0.1, application/*;q=0.5", OPEN_1),
        ("text/plain;q=0, */*", OPEN_1),
        ("application/*", OPEN_1),
        ("text/plain;q=0", TEXT_0),
        ("*/*;q=0", TEXT_0),
        ("application/json", TEXT_0),
        ("Application/OpenMetrics-Text; Version=1.0.0; Q=0.9, TEXT/plain;q=0.8", f"{OPEN_1}; esc"),
        ('application/openmetrics-text; version="1.0.0", */*;q=0.1', f"{OPEN_1}; esc"),
        ('text/plain; note="a, b; q=0"; q=0.2, application/openmetrics-text; q=0.1', TEXT_0),
        ("application/openmetrics-text;q=2, text/plain", TEXT_0),
        ("application/openmetrics-text;q=0.1234, text/plain;q=0.1", TEXT_0),
        ("application/openmetrics-text;q=-1, text/plain;q=0.1", TEXT_0),
        ("application/openmetrics-text;q=, text/plain;q=0.1", TEXT_0),
    ],
)
def test_weights(accept: str, content_type: str) -> None:
    """The highest weight wins, and the most specific item counts (RFC 9110 §12.5.1)."""
    assert negotiated(accept).content_type.startswith(content_type)


def test_choices() -> None:
    """A header's items have a name, parameters and a weight; a malformed weight costs an item."""
    header = 'Text/Plain; A="b, \\"c; d"; q=0.25; e, gzip;q=1.000, br;q=1.001, *;Q=0, , ;q=1'
    assert choices(header) == [
        Choice("text/plain", {"a": 'b, \\"c; d'}, 0.25),
        Choice("gzip", {}, 1.0),
        Choice("*", {}, 0.0),
        Choice("", {}, 1.0),
        Choice("", {}, 1.0),
    ]
    assert choices("") == []
    assert choices('a"b, c') == [Choice('a"b, c', {}, 1.0)]
