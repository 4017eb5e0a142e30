"""A number at a path of a JSON document: of a meter, an inverter, evcc or Home Assistant."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

from goe_exporter.config.quoting import shown
from goe_exporter.surplus.config import SourceConfig
from goe_exporter.surplus.http_source import HttpSource, checked_age, number
from goe_exporter.surplus.source import Reading, SourceError

MIN_MILLISECONDS = 1e11
"""A Unix time of this or more is in milliseconds: in seconds it would be in the year 5138."""

_STEP = re.compile(r"\[([0-9]+)\]|([^.\[\]]+)")


class JsonSource(HttpSource):
    """Reads the number at a path of a JSON document.

    `wall` is the clock that the time in the document is compared with (Unix time).
    """

    def __init__(
        self,
        name: str,
        config: SourceConfig,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        assert config.json_url is not None
        assert config.path is not None
        parts = urlsplit(config.json_url)
        origin = f"{parts.scheme}://{parts.netloc}"
        super().__init__(name, config, origin, clock)
        self._target = config.json_url.removeprefix(origin) or "/"
        self._path = config.path
        self._time_path = config.time_path
        self._wall = wall
        self._last: tuple[float | None, float] = None, 0.0

    def _read(self, until: float) -> Reading:
        started = self.clock()
        answer = self._get(self._target, until)
        if answer.status != 200:
            self._failed(answer.status)
        document = self._document(answer)
        value = self._value(found(document, self._path))
        if self._time_path is None:
            return Reading(value, started, age_known=False)
        stamp = unix_time(found(document, self._time_path))
        measured_at = self.clock() - checked_age(self._wall() - stamp)
        last_stamp, last_at = self._last
        if stamp == last_stamp:
            # A clock that is set back makes no old value younger.
            measured_at = min(measured_at, last_at)
        self._last = stamp, measured_at
        return Reading(value, measured_at, age_known=True)


def found(document: object, path: str) -> object:
    """Return the value at a path such as `emeters[0].power`; raises `SourceError`."""
    value = document
    for index, name in _STEP.findall(path):
        if index and isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        elif name and isinstance(value, dict) and name in value:
            value = value[name]
        else:
            raise SourceError("no_value", f"the answer has no {shown(path)}")
    return value


def unix_time(given: object) -> float:
    """Return the Unix time of a number in s or ms, or of a text as in RFC 3339.

    Raises `SourceError`.
    """
    try:
        value = number(given)
    except SourceError:
        return _moment(given)
    return value / 1000 if abs(value) >= MIN_MILLISECONDS else value


def _moment(given: object) -> float:
    try:
        moment = datetime.fromisoformat(given if isinstance(given, str) else "")
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise SourceError("not_a_time", f"{shown(given)} is not a time with a time zone")
    return moment.timestamp()
