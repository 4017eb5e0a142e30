"""A number from Prometheus: answers of its HTTP API, as its documentation shows them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_influx import FakeInflux, Fakes, Received, Reply

from goe_exporter.surplus.config import GridConfig
from goe_exporter.surplus.prometheus_source import PrometheusSource
from goe_exporter.surplus.source import Reading, SourceError

UNTIL = time.monotonic() + 100_000
"""So late that only what hangs takes it."""

STAMP = 1782820983.0


def answer(result: list[dict[str, object]]) -> Reply:
    """Return the answer to an instant query with this vector."""
    data = {"resultType": "vector", "result": result}
    return Reply(200, json.dumps({"status": "success", "data": data}).encode())


def vector(*values: str) -> Reply:
    """Return the answer to an instant query that finds these values."""
    labels = [{"__name__": "meter_power_watts", "phase": f"L{n}"} for n in range(1, 4)]
    return answer(
        [
            {"metric": metric, "value": [STAMP, value]}
            for metric, value in zip(labels, values, strict=False)
        ]
    )


def joined(value: str, time: str) -> Reply:
    """Return the answer to a query for the value of a selector, and its time."""
    labels = {"phase": "L1", "job": "meter"}
    return answer(
        [
            {"metric": {"__name__": "meter_power_watts", **labels}, "value": [STAMP, value]},
            {"metric": {**labels, "goe_time": "1"}, "value": [STAMP, time]},
        ]
    )


def refused(status: int, error: str) -> Reply:
    body = {"status": "error", "errorType": "bad_data", "error": error}
    return Reply(status, json.dumps(body).encode())


def by_query(replies: dict[str, Reply]) -> Callable[[Received], Reply]:
    """Return a rule that answers each query in its own way."""
    return lambda request: replies[request.query["query"][0]]


def source(server: FakeInflux, query: str, **keys: Any) -> PrometheusSource:
    config = GridConfig(prometheus=server.url, query=query, **keys)
    return PrometheusSource("grid", config, lambda: 100.0)


def test_plain_selector(fakes: Fakes) -> None:
    """One request has value and time of a selector; the age is by the clock of the server."""
    selector = 'meter_power_watts{phase="L1+L2"}'
    server = fakes(lambda _request: joined("-3210.5", "1782820978.75"))
    assert source(server, selector).read(UNTIL) == Reading(-3210.5, 95.75, True)
    (request,) = server.received
    assert (request.method, request.path) == ("GET", "/api/v1/query")
    times = 'label_replace(timestamp(meter_power_watts{phase="L1+L2"}), "goe_time", "1", "", "")'
    assert request.query == {"nocache": ["1"], "query": [f"{selector} or {times}"]}


def test_url_with_a_path(fakes: Fakes) -> None:
    """Prometheus, or a server with its API, may be below a path."""
    server = fakes(lambda _request: joined("1", f"{STAMP}"))
    config = GridConfig(prometheus=f"{server.url}/select/0/prometheus/", query="meter_power_watts")
    assert PrometheusSource("grid", config).read(UNTIL).value == 1
    assert {each.path for each in server.received} == {"/select/0/prometheus/api/v1/query"}


def test_expression_with_time(fakes: Fakes) -> None:
    """The time of an expression is what `time_query` returns."""
    server = fakes(
        by_query(
            {
                "sum(meter_power_watts)": vector("2.5"),
                "time() - (min(timestamp(meter_power_watts)))": vector("11"),
            }
        )
    )
    found = source(
        server,
        "sum(meter_power_watts)",
        time_query="min(timestamp(meter_power_watts))",
        unit="kW",
        positive="export",
    )
    assert found.read(UNTIL) == Reading(-2500.0, 89.0, True)


def test_scalar(fakes: Fakes) -> None:
    """A scalar is a single value too."""
    data = {"resultType": "scalar", "result": [STAMP, "-12.5"]}
    scalar = Reply(200, json.dumps({"status": "success", "data": data}).encode())
    query, times = "scalar(meter_power_watts)", "timestamp(meter_power_watts)"
    server = fakes(by_query({query: scalar, f"time() - ({times})": vector("0")}))
    assert source(server, query, time_query=times).read(UNTIL).value == -12.5


def test_one_measurement_has_one_time(fakes: Fakes) -> None:
    """The age varies with the time of the request; the measurement is the same."""
    times = iter(["1782820978.75", "1782820978.5", "1782820982"])
    server = fakes(lambda _request: joined("1", next(times)))
    found = source(server, "meter_power_watts")
    assert [found.read(UNTIL).measured_at for _ in range(3)] == [95.75, 95.75, 99.0]


LOGIN = Reply(302, b"", (("Location", "http://192.0.2.9/"),))
SAID = 'invalid parameter "query": 1:5: parse error: unclosed left parenthesis'


@pytest.mark.parametrize(
    ("reply", "reason", "text"),
    [
        (vector(), "no_value", "the query found nothing; is the meter scraped?"),
        (vector("1", "2"), "ambiguous", "the query found 2 values; aggregate them, as in sum(…)"),
        (vector("NaN"), "not_a_number", "'NaN' is not a number"),
        (vector("+Inf"), "not_a_number", "'+Inf' is not a number"),
        (vector("4200000"), "implausible", "4.2e+06 W is implausible for a house; check the unit"),
        (
            Reply(200, b'{"status":"success","data":{"resultType":"matrix","result":[]}}'),
            "ambiguous",
            "the query must return one value, not matrix",
        ),
        (
            Reply(200, b'{"status":"success","data":{"resultType":"vector","result":[{}]}}'),
            "no_value",
            "the answer has no value",
        ),
        (
            Reply(200, b'{"status":"success"}'),
            "ambiguous",
            "the query must return one value, not None",
        ),
        (Reply(200, b"[]"), "not_an_object", "the answer is not one of Prometheus"),
        (
            refused(400, SAID),
            "query_refused",
            "Prometheus rejects the query: 1:5: parse error: unclosed left parenthesis",
        ),
        (
            refused(422, "many-to-many\n matching\x1b[31m not allowed"),
            "query_refused",
            r"Prometheus rejects the query: many-to-many matching\x1b[31m not allowed",
        ),
        (Reply(400, b"{}"), "query_refused", "Prometheus rejects the query: no message"),
        (Reply(401, b"Unauthorized"), "unauthorized", "URL answers with HTTP status 401"),
        (Reply(404, b"404 page not found"), "not_found", "URL answers with HTTP status 404"),
        (Reply(502, b"<html>"), "http_status", "URL answers with HTTP status 502"),
        (Reply(503, b"<html>"), "not_json", "URL: the answer is not JSON"),
        (LOGIN, "http_status", "URL answers with HTTP status 302"),
        (Reply(200, b"{}", manner="cut"), "truncated", "URL closed the connection before the"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_number(fakes: Fakes, reply: Reply, reason: str, text: str) -> None:
    """Whatever is not exactly one finite number is an error, in Prometheus' own words."""
    server = fakes(lambda _request: reply)
    with pytest.raises(SourceError) as failed:
        source(server, "meter_power_watts").read(UNTIL)
    assert failed.value.reason == reason
    assert str(failed.value).startswith(f"grid: {text.replace('URL', server.url)}")


def test_error_of_the_time_query(fakes: Fakes) -> None:
    """If only the time is missing, its error is the one that is reported."""
    server = fakes(by_query({"sum(a)": vector("1"), "time() - (timestamp(b))": vector("1", "2")}))
    with pytest.raises(SourceError, match="found 2 values"):
        source(server, "sum(a)", time_query="timestamp(b)").read(UNTIL)


@pytest.mark.parametrize(("time", "measured_at"), [("1782820987", 100.0), ("1782820989", None)])
def test_value_of_the_future(fakes: Fakes, time: str, measured_at: float | None) -> None:
    """A value a few seconds ahead is new; further ahead, its time is wrong."""
    server = fakes(lambda _request: joined("1", time))
    found = source(server, "meter_power_watts")
    if measured_at is not None:
        assert found.read(UNTIL).measured_at == measured_at
        return
    with pytest.raises(SourceError) as failed:
        found.read(UNTIL)
    assert failed.value.reason == "not_a_time"
    assert str(failed.value) == "grid: the time of the value is 6 s in the future; check the clocks"


def test_secrets_are_not_repeated(fakes: Fakes, tmp_path: Path) -> None:
    """A server that repeats the token in its error does not get it into the log."""
    (tmp_path / "token").write_text("abc.def")
    server = fakes(lambda request: refused(400, f"no {request.headers['authorization']}"))
    with pytest.raises(SourceError) as failed:
        source(server, "meter_power_watts", token_file=str(tmp_path / "token")).read(UNTIL)
    assert str(failed.value) == "grid: Prometheus rejects the query: no Bearer [secret]"
