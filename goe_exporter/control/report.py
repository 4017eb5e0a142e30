"""What a loop reports: its vitals, its log lines, and whether a step takes too long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from goe_exporter.control import sending
from goe_exporter.control.inputs import Inputs
from goe_exporter.control.log_lines import Step, lines
from goe_exporter.control.vitals import SurplusVitals
from goe_exporter.errors import GoeExporterError
from goe_exporter.logs import Incident, logger

STALL_SECONDS = 60.0
"""A step takes less: its sources, its writes and the disk have time limits."""

_log = logger(__name__)


class Report:
    """The report of the loop that controls or feeds `charger`; `last` is its last step."""

    def __init__(
        self, charger: str, mode: str, inputs: Inputs, first: Step, clock: Callable[[], float]
    ) -> None:
        self.last = first
        self.counts = SurplusVitals(charger, mode)
        self._charger = charger
        self._mode = mode
        self._inputs = inputs
        self._clock = clock
        self._in_step_since: float | None = None
        self._failing = Incident(
            _log, "surplus write failed", "surplus write succeeded again", charger=charger
        )
        self._lacking = Incident(
            _log,
            "values for surplus charging missing",
            "values for surplus charging present again",
            charger=charger,
        )

    def vitals(self) -> SurplusVitals:
        """Return what the loop does now."""
        return replace(self.counts, sources=self._inputs.vitals())

    def is_stalled(self) -> bool:
        """Return whether a step takes too long."""
        since = self._in_step_since
        return since is not None and self._clock() - since > STALL_SECONDS

    @contextmanager
    def step(self) -> Iterator[None]:
        """Enclose a step."""
        self._in_step_since = self._clock()
        try:
            yield
        finally:
            self._in_step_since = None

    def decided(self, after: Step, **vitals: Any) -> None:
        """Report the decision of a step, with further vitals."""
        decision = after.decision
        self.counts = replace(self.counts, state=decision.state, reason=decision.reason, **vitals)
        for level, event, values in lines(self.last, after):
            getattr(_log, level)(event, charger=self._charger, **values)
        self.last = after

    def lacks(self, channels: Sequence[str]) -> bool:
        """Report the needed channels that the charger does not report; return whether it lacks any.

        Their absence is logged as it begins and ends.
        """
        if channels:
            self._lacking.begins(",".join(channels), error="the charger does not report them")
        else:
            self._lacking.ends()
        return bool(channels)

    def unprepared(self, hint: str) -> None:
        """Report a setting of the charger that must be changed."""
        _log.warning("charger not prepared for surplus charging", charger=self._charger, hint=hint)

    def sent(self, key: str, **values: object) -> None:
        """Count a write that succeeded."""
        self.counts = replace(self.counts, writes=Counter(self.counts.writes) + Counter([key]))
        _log.debug("surplus write sent", charger=self._charger, **values)
        self._failing.ends()

    def failed(self, error: GoeExporterError, write: str) -> str:
        """Count a write that failed; return the reason."""
        reason = sending.reason(error)
        failures = Counter(self.counts.write_failures) + Counter([reason])
        self.counts = replace(self.counts, write_failures=failures)
        self._failing.begins(reason, write=write, error=str(error))
        return reason

    def ended(self) -> None:
        """Report the exception at hand, an internal error, after which nothing is decided."""
        _log.exception(
            "surplus control ended by an internal error; restart the exporter to begin again",
            charger=self._charger,
        )
        self.counts = SurplusVitals(self._charger, self._mode, internal_errors=1)
