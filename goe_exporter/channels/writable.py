"""What may be written to a channel: a user's text → the values sent to a charger. Pure.

A value that is not allowed is refused, never adjusted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from goe_exporter.channels.model import Allowed, Channel, Choices, Range
from goe_exporter.channels.snapshot import Status
from goe_exporter.errors import UsageError

_NUMBER = re.compile(r"([+-]?[0-9]{1,12}(?:\.[0-9]{1,6})?) ?([A-Za-zµ°/]*)")
_MAX_NUMBER = 1e15
"""Larger than any written number; a charger may report an integer too large for a float."""


@dataclass(frozen=True)
class Write:
    """A value to write through one API: `value` to `key`, both in v2's terms."""

    channel: Channel
    allowed: Allowed
    text: str
    key: str
    value: object

    def check_limit(self, status: Status) -> None:
        """Raise `UsageError` if the value exceeds the charger's own limit in its `status`.

        A limit below the range is a glitch and is ignored.
        """
        if not isinstance(self.allowed, Range) or not _is_number(self.value):
            return
        limit = status.get(self.allowed.limit)
        if _is_number(limit) and self.allowed.low <= limit < self.value:
            text = f"{allowed(self.channel, self.allowed, limit)} on this charger"
            raise UsageError(f"{self.channel.option}: {text}, not {self.text!r:.80}")

    @property
    def bound(self) -> str:
        """The key of the setting that limits this one, too; "" without one."""
        return self.allowed.bound if isinstance(self.allowed, Range) else ""

    def shown_by(self, status: Status) -> str:
        """Return the key that shows the written value in the charger's `status`."""
        return self.bound if self.bound and self.key not in status else self.key

    def is_bounded(self, status: Status) -> bool:
        """Return whether the other setting in `status` limits the charger to less."""
        bound = status.get(self.bound)
        return _is_number(bound) and _is_number(self.value) and bound < self.value

    def describe(self, value: object) -> str:
        """Return a value of the written key as a user would write it, with its unit."""
        if isinstance(self.allowed, Choices):
            names = (name for name, choice in self.allowed.values.items() if same(value, choice))
            return next(names, f"{value!r:.80}")
        if value is None and self.allowed.off:
            return "off"
        if value is None or value is ...:
            return "no value"
        # A larger integer may not fit into a float.
        if _is_number(value) and abs(value) <= _MAX_NUMBER:
            return f"{value:.10g} {self.channel.unit.symbol}".rstrip()
        return f"{value!r:.80}"


@dataclass(frozen=True)
class Change:
    """A user's text for a channel, parsed: a write, or a refusal, for each API of the channel."""

    channel: Channel
    outcomes: Mapping[int, Write | UsageError]

    @property
    def writes(self) -> dict[int, Write]:
        """The writes by API, without the APIs that do not accept the text."""
        return {api: found for api, found in self.outcomes.items() if isinstance(found, Write)}

    def through(self, api: int) -> Write:
        """Return the write for an API; raises `UsageError` if it does not accept the text."""
        outcome = self.outcomes.get(api)
        if outcome is None:
            raise UsageError(
                f"{self.channel.option} cannot be written through API v{api},"
                f" only through API v{3 - api}"
            )
        if isinstance(outcome, UsageError):
            raise outcome
        return outcome


def find(channels: Sequence[Channel], name: str) -> Channel:
    """Return the channel called `name`: our name (`max-current`) or openHAB's (`maxCurrent`).

    Raises `UsageError`, which lists the writable channels.
    """
    option = name.replace("_", "-")
    for channel in channels:
        if option == channel.option or name in channel.openhab.split():
            return channel
    raise UsageError(f"unknown channel {name!r:.80}; {_writable(channels)}")


def parse(channel: Channel, text: str, channels: Sequence[Channel] = ()) -> Change:
    """Parse `text` for each API of the channel; raises `UsageError` if none accepts it.

    A number may have its unit, also with the prefix k: `10A`, `5kWh`.
    """
    if not channel.write:
        raise UsageError(f"{channel.option} is read-only; {_writable(channels)}")
    outcomes = {api: _parse(channel, spec, text) for api, spec in channel.write.items()}
    change = Change(channel, outcomes)
    if not change.writes:
        change.through(max(outcomes))
    return change


def allowed(channel: Channel, spec: Allowed, high: float | None = None) -> str:
    """Return what may be written, as in `6 to 32 A`; `high` is the charger's own upper limit."""
    if isinstance(spec, Choices):
        *names, last = spec.values
        return f"{', '.join(names)} or {last}"
    top = spec.high if high is None else high
    step = "" if spec.step == 1 else f" in steps of {spec.step:g}"
    off = "off, or " if spec.off else ""
    return f"{off}{spec.low:.10g} to {top:.10g} {channel.unit.symbol}".rstrip() + step


def written_key(channel: Channel, spec: Allowed) -> str:
    """Return the key that is written, in v2's terms."""
    return spec.key or channel.key.split()[0]


def same(reported: object, value: object) -> bool:
    """Return whether a charger that reports one value has applied a write of the other."""
    if _is_number(reported) and _is_number(value):
        # A larger integer may not fit into a float.
        return abs(reported) <= _MAX_NUMBER and math.isclose(reported, value, rel_tol=1e-5)
    return reported is value


def _parse(channel: Channel, spec: Allowed, text: str) -> Write | UsageError:
    name = text.strip().lower()
    if isinstance(spec, Choices):
        accepted, value = name in spec.values, spec.values.get(name)
    elif spec.off and name == "off":
        accepted, value = True, None
    else:
        value = _number(channel, spec, text.strip())
        accepted = value is not None
    if not accepted:
        return UsageError(f"{channel.option}: {allowed(channel, spec)}, not {text!r:.80}")
    return Write(channel, spec, text, written_key(channel, spec), value)


def _number(channel: Channel, spec: Range, text: str) -> float | None:
    """Return the number of a text with an optional unit, None if it is not allowed."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    unit, symbol = match[2], channel.unit.symbol
    value = float(match[1])
    if symbol and unit == f"k{symbol}":
        value *= 1000
    elif unit not in ("", symbol):
        return None
    steps = value / spec.step
    if not spec.low <= value <= spec.high or not math.isclose(steps, round(steps), abs_tol=1e-9):
        return None
    return int(value) if value.is_integer() else value


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _writable(channels: Sequence[Channel]) -> str:
    names = ", ".join(channel.option for channel in channels if channel.write)
    return f"writable channels: {names}" if names else "no channel is writable"
