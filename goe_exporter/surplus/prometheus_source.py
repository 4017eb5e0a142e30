"""A number from Prometheus, or from a server with its API: one instant query, and its age.

The time in the answer to an instant query is that of the evaluation. The value's own age is
`time() - timestamp(SELECTOR)`, in which both times are the server's. `timestamp` of an expression
returns the time of the evaluation, so an expression has a query for the time of its values.

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


class PrometheusSource(HttpSource):
    """Reads the one value that a query returns."""

    def __init__(
        self, name: str, config: SourceConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        assert config.prometheus is not None
        assert config.query is not None
        super().__init__(name, config, config.prometheus, clock)
        self._query = config.query
        times = config.time_query or f"timestamp({config.query})"
        self._age_query = f"time() - ({times})" if config.time_query else f"time() - {times}"

    def _read(self, until: float) -> Reading:
        # The age is queried first: if a new value arrives between, it is younger, not older.
        started = self.clock()
        try:
            age_s = checked_age(number(self._one(self._age_query, until)))
        except SourceError:
            self._one(self._query, until)  # its error is the clearer one
            raise
        return Reading(self._value(self._one(self._query, until)), started - age_s, age_known=True)

    def _one(self, query: str, until: float) -> object:
        """Return the only value that an instant query returns; raises `SourceError`."""
        parameters = urlencode({"query": query, "nocache": "1"})
        answer = self._get(f"/api/v1/query?{parameters}", until)
        if answer.status not in (200, 400, 422, 503):
            self._failed(answer.status)
        document = self._document(answer)
        if not isinstance(document, dict):
            raise SourceError("not_an_object", "the answer is not that of Prometheus")
        if answer.status != 200 or document.get("status") != "success":
            said = self._cleaned(str(document.get("error", "no message")).removeprefix(PARAMETER))
            raise SourceError("query_refused", f"Prometheus refuses the query: {said}")
        return _only(document.get("data"))


def _only(data: object) -> object:
    """Return the value of a scalar, or of a vector of one; raises `SourceError`."""
    found = data if isinstance(data, dict) else {}
    kind, result = found.get("resultType"), found.get("result")
    if kind not in ("vector", "scalar") or not isinstance(result, list):
        raise SourceError("ambiguous", f"the query returns no single value but {kind!s:.20}")
    if kind == "vector":
        if not result:
            raise SourceError("no_value", "the query found nothing; is the meter scraped?")
        if len(result) > 1:
            text = f"the query found {len(result)} values; make it one, as in sum(…)"
            raise SourceError("ambiguous", text)
        result = result[0].get("value") if isinstance(result[0], dict) else None
    if not isinstance(result, list) or len(result) != 2:
        raise SourceError("no_value", "the answer has no value")
    value: object = result[1]
    return value
