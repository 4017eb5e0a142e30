"""Reads the sources, and reports about each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from goe_exporter.control.rules import Input
from goe_exporter.control.vitals import SourceVitals
from goe_exporter.logs import Incident, logger
from goe_exporter.surplus.follow import Number
from goe_exporter.surplus.meters import read_all, sample
from goe_exporter.surplus.situation import Sample
from goe_exporter.surplus.source import READ_SECONDS, Reading, Source, SourceError

_log = logger(__name__)


class Inputs:
    """The sources of a charger's surplus: `grid`, perhaps `battery` and `pv`, or `available`.

    A failed read keeps the last sample, whose age then grows. `in_amperes` is whether the followed
    number is a current.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        clock: Callable[[], float] = time.monotonic,
        *,
        in_amperes: bool = False,
    ) -> None:
        self._sources = dict(sources)
        self._last: list[str] = []
        self._clock = clock
        self._in_amperes = in_amperes
        self._sample: Sample | Number | None = None
        self._readings: dict[str, Reading] = {}
        self._vitals = {name: SourceVitals(name) for name in sources}
        self._outages = {
            name: Incident(
                _log, "surplus source failed", "surplus source answered again", source=name
            )
            for name in sources
        }

    def read(self, *, quietly: bool = False) -> Input:
        """Read all sources; with `quietly` a failure is neither counted nor logged."""
        readings = self.readings(quietly=quietly)
        complete = len(readings) == len(self._sources)
        if complete:
            available = readings.get("available")
            self._sample = sample(readings) if available is None else _number(available)
        return Input(self._sample, failed=not complete)

    def readings(
        self, seconds: float = READ_SECONDS, *, quietly: bool = False
    ) -> Mapping[str, Reading]:
        """Read all sources within a time (s), and return the readings of those that gave one."""
        sources = self._sources
        ranks = {name: rank for rank, name in enumerate(self._last, 1)}
        names = sorted(sources, key=lambda name: ranks.get(name, 0))
        ordered = {name: sources[name] for name in names}
        self._readings, failures = read_all(ordered, self._clock(), seconds)
        # The first that failed may hang, which takes the time of those after it: it is read last.
        self._last = [*list(failures)[1:], *list(failures)[:1]]
        for name in self._readings:
            self._vitals[name] = replace(self._vitals[name], up=True)
            self._outages[name].ends()
        for name, error in failures.items():
            if not quietly:
                self._failed(name, error)
        return self._readings

    def reconnect(self, sources: Mapping[str, Source]) -> None:
        """Read these sources from now on, which have the same names, but perhaps other secrets."""
        self._sources = dict(sources)

    def forget(self) -> None:
        """Forget what was read: the sources are not needed now."""
        self._sample = None
        self._readings = {}

    def vitals(self) -> tuple[SourceVitals, ...]:
        """Return what is known about each source now."""
        now, readings = self._clock(), self._readings
        return tuple(
            vitals if name not in readings else self._with_value(vitals, readings[name], now)
            for name, vitals in self._vitals.items()
        )

    def _with_value(self, vitals: SourceVitals, reading: Reading, now: float) -> SourceVitals:
        power_w = None if self._in_amperes else reading.value
        return replace(vitals, power_w=power_w, age_s=max(0.0, now - reading.measured_at))

    def _failed(self, name: str, error: SourceError) -> None:
        before = self._vitals[name]
        failures = Counter(before.failures) + Counter([error.reason])
        self._vitals[name] = replace(before, up=False, failures=failures)
        self._outages[name].begins(error.reason, error=str(error))


def _number(available: Reading) -> Number:
    return Number(available.value, available.measured_at)
