"""A number from Prometheus, or from a server with its API, by instant queries, and its age.

The time in the answer to an instant query is that of the evaluation. The value's own time is
`timestamp(SELECTOR)`, which is queried together with the value of a plain selector: so both are of
the same sample, and the age is the difference of two times of the server. `timestamp` of an
expression returns the time of the evaluation, so an expression has a query for the time of its
values.

VictoriaMetrics evaluates queries for the present 30 s in the past, unless `nocache` is set: values
would be old, and their ages 30 s too low. Other servers ignore this parameter.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlencode

from goe_exporter.surplus.config import SourceConfig
from goe_exporter.surplus.http_source import HttpSource, checked_age, number
from goe_exporter.surplus.source import Reading, SourceError

PARAMETER = 'invalid parameter "query": '
"""What Prometheus writes before the error in a query."""

TIME_LABEL = "goe_time"
"""The label of the time, in the answer that has the value and its time."""


class PrometheusSource(HttpSource):
    """Reads the one value that a query returns."""

    def __init__(
        self, name: str, config: SourceConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        assert config.prometheus is not None
        assert config.query is not None
        super().__init__(name, config, config.prometheus, clock)
        self._query, self._time_query = config.query, config.time_query

    def _read(self, until: float) -> Reading:
        started = self.clock()
        if self._time_query is None:
            return self._of_selector(started, until)
        # The age is queried first: if a new value arrives between, it is younger, not older.
        try:
            found = self._data(f"time() - ({self._time_query})", until)
            age_s = checked_age(number(_only(found)[1]))
        except SourceError:
            _only(self._data(self._query, until))  # its error is the clearer one
            raise
        value = _only(self._data(self._query, until))[1]
        return Reading(self._value(value), started - age_s, age_known=True)

    def _of_selector(self, started: float, until: float) -> Reading:
        """Return the value of a plain selector with its time; raises `SourceError`."""
        times = f'label_replace(timestamp({self._query}), "{TIME_LABEL}", "1", "", "")'
        found = self._data(f"{self._query} or {times}", until)
        value = self._value(_only(_part(found, times=False))[1])
        evaluated, measured = _only(_part(found, times=True))
        age_s = checked_age(number(evaluated) - number(measured))
        return Reading(value, started - age_s, age_known=True)

    def _data(self, query: str, until: float) -> object:
        """Return what an instant query finds; raises `SourceError`."""
        parameters = urlencode({"query": query, "nocache": "1"})
        answer = self._get(f"/api/v1/query?{parameters}", until)
        if answer.status not in (200, 400, 422, 503):
            self._failed(answer.status)
        document = self._document(answer)
        if not isinstance(document, dict):
            raise SourceError("not_an_object", "the answer is not one of Prometheus")
        if answer.status != 200 or document.get("status") != "success":
            said = self._cleaned(str(document.get("error", "no message")).removeprefix(PARAMETER))
            raise SourceError("query_refused", f"Prometheus rejects the query: {said}")
        return document.get("data")


def _part(data: object, *, times: bool) -> object:
    """Return a vector's values, or their times, as a vector; anything else as it is."""
    result = data.get("result") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(result, list):
        return data
    return data | {"result": [each for each in result if _is_time(each) == times]}


def _is_time(element: object) -> bool:
    labels = element.get("metric") if isinstance(element, dict) else None
    return isinstance(labels, dict) and TIME_LABEL in labels


def _only(data: object) -> list[object]:
    """Return the time of the evaluation and the value of a scalar, or of a vector of one.

    Raises `SourceError`.
    """
    found = data if isinstance(data, dict) else {}
    kind, result = found.get("resultType"), found.get("result")
    if kind not in ("vector", "scalar") or not isinstance(result, list):
        raise SourceError("ambiguous", f"the query must return one value, not {kind!s:.20}")
    if kind == "vector":
        if not result:
            raise SourceError("no_value", "the query found nothing; is the meter scraped?")
        if len(result) > 1:
            text = f"the query found {len(result)} values; aggregate them, as in sum(…)"
            raise SourceError("ambiguous", text)
        result = result[0].get("value") if isinstance(result[0], dict) else None
    if not isinstance(result, list) or len(result) != 2:
        raise SourceError("no_value", "the answer has no value")
    return result
