"""What may be written to a channel: a user's text → the values sent to a charger. Pure.

A value that is not allowed is refused, never adjusted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeGuard

from goe_exporter.channels.model import Allowed, Channel, Choices, Range, option_name
from goe_exporter.channels.snapshot import Status
from goe_exporter.channels.table import CHANNELS
from goe_exporter.errors import UsageError

_NUMBER = re.compile(r"([+-]?[0-9]{1,12}(?:\.[0-9]{1,6})?) ?([A-Za-zµ°/]*)")
MIN_SIMILAR = 3
NO_KEYS: Mapping[str, str] = {}
_MAX_NUMBER = 1e15
"""Larger than any written number; a charger may report an integer too large for a float."""


@dataclass(frozen=True)
class Write:
    """A value to write through one API: `value` to `key`, both in v2's terms."""

    channel: Channel
    allowed: Allowed
    key: str
    value: object

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
    """A user's text for a channel, parsed: the writes of the APIs that accept it."""

    channel: Channel
    text: str
    writes: Mapping[int, Write]

    def through(self, api: int, status: Status | None = None) -> Write:
        """Return the write for an API of the charger with this `status`.

        Raises `UsageError` with what the charger accepts if it does not accept the text.
        """
        spec = self.channel.write.get(api)
        if spec is None:
            only = f"cannot be written through API v{api}, only through API v{3 - api}"
            raise UsageError(f"{self.channel.option} {only}{instead(self.channel, api, status)}")
        limit = None if status is None else _limit(spec, status)
        found = self.writes.get(api)
        if found is None or (limit is not None and _is_number(found.value) and found.value > limit):
            who = "" if status is None else "this charger accepts "
            raise self._refusal(f"{who}{allowed(self.channel, spec, limit)}")
        return found

    def refusal(self) -> UsageError:
        """Return the error for a text that no API accepts, where the charger is not known."""
        texts = {api: allowed(self.channel, spec) for api, spec in self.channel.write.items()}
        if len(set(texts.values())) == 1:
            return self._refusal(next(iter(texts.values())))
        return self._refusal("; ".join(f"v{api}: {text}" for api, text in texts.items()))

    def _refusal(self, accepted: str) -> UsageError:
        return UsageError(f"{self.channel.option}: {accepted}, not {self.text!r:.80}")


def find(channels: Sequence[Channel], name: str, v1_keys: Mapping[str, str] = NO_KEYS) -> Channel:
    """Return the channel called `name`: our name (`max-current`) or openHAB's (`maxCurrent`).

    Raises `UsageError`, which suggests similar names and lists the writable channels. A key gets a
    suggestion, too; `v1_keys` maps API v1's keys to v2's.
    """
    option = option_name(name)
    for channel in channels:
        if option == channel.option or name in channel.openhab.split():
            return channel
    similar = " or ".join(_similar(channels, v1_keys.get(name, name)))
    suggestion = f"; did you mean {similar}?" if similar else ""
    raise UsageError(f"unknown channel {name!r:.80}{suggestion}; {_writable(channels)}")


def parse(channel: Channel, text: str, channels: Sequence[Channel] = CHANNELS) -> Change:
    """Parse `text` for each API of the channel; raises `UsageError` for a read-only channel.

    A number may have its unit, also with the prefix k: `10A`, `5kWh`.
    """
    if not channel.write:
        raise UsageError(f"{channel.option} is read-only{instead(channel)}; {_writable(channels)}")
    parsed = {api: _parse(channel, spec, text) for api, spec in channel.write.items()}
    return Change(channel, text, {api: write for api, write in parsed.items() if write})


def allowed(channel: Channel, spec: Allowed, high: float | None = None) -> str:
    """Return what may be written, as in `6 to 32 A`; `high` is the charger's own upper limit."""
    if isinstance(spec, Choices):
        *names, last = spec.values
        return f"{', '.join(names)} or {last}"
    top = spec.high if high is None else high
    step = "" if spec.step == 1 else f" in steps of {spec.step:g}"
    step = f" in whole {spec.whole}" if spec.whole else step
    off = "off, or " if spec.off else ""
    return f"{off}{spec.low:.10g} to {top:.10g} {channel.unit.symbol}".rstrip() + step


def written_key(channel: Channel, spec: Allowed) -> str:
    """Return the key that is written, in v2's terms."""
    return spec.key or channel.key.split()[0]


def same(reported: object, value: object) -> bool:
    """Return whether a charger that reports one value has applied a write of the other."""
    if _is_number(reported) and _is_number(value):
        # A larger integer may not fit into a float.
        if abs(reported) > _MAX_NUMBER or (reported % 1 == 0 and value % 1 == 0):
            return reported == value
        return math.isclose(reported, value, rel_tol=1e-5)
    return reported is value


def _parse(channel: Channel, spec: Allowed, text: str) -> Write | None:
    """Return the write of a text, None if it is not allowed."""
    name = text.strip().lower()
    if isinstance(spec, Choices):
        texts = {**spec.aliases, **spec.values}
        accepted, value = name in texts, texts.get(name)
    elif spec.off and name == "off":
        accepted, value = True, None
    else:
        number = _number(channel, text.strip())
        off = spec.zero_is_off and number == 0
        accepted = off or (number is not None and _is_allowed(spec, number))
        value = None if off else number
    return Write(channel, spec, written_key(channel, spec), value) if accepted else None


def _number(channel: Channel, text: str) -> float | None:
    """Return the number of a text with an optional unit, None if it is not a number of this unit.

    A whole number is an int.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    unit, symbol = match[2], channel.unit.symbol
    value = float(match[1])
    if symbol and unit == f"k{symbol}":
        value *= 1000
    elif unit not in ("", symbol):
        return None
    return int(value) if value.is_integer() else value


def _is_allowed(spec: Range, value: float) -> bool:
    steps = value / spec.step
    return spec.low <= value <= spec.high and math.isclose(
        steps, round(steps), rel_tol=0, abs_tol=1e-9
    )


def _limit(spec: Allowed, status: Status) -> float | None:
    """Return the charger's own upper limit; one below the range is a glitch and is ignored."""
    limit = status.get(spec.limit) if isinstance(spec, Range) else None
    if isinstance(spec, Range) and _is_number(limit) and spec.low <= limit < spec.high:
        return limit
    return None


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def instead(channel: Channel, api: int | None = None, status: Status | None = None) -> str:
    """Return which channel to write instead; "" without one.

    If they are known, through `api` of the charger with this `status`.
    """
    other = next((row for row in CHANNELS if row.name == channel.instead), None)
    if other is None or (api is not None and api not in other.write):
        return ""
    if api is None:
        return f"; use {other.option} instead"
    spec = other.write[api]
    return f"; use {other.option} ({allowed(other, spec, _limit(spec, status or {}))}) instead"


def _similar(channels: Sequence[Channel], name: str) -> list[str]:
    """Return up to three channels of that key or with a similar name, writable ones first."""
    ordered = sorted(channels, key=lambda channel: not channel.write)
    for channel in ordered:
        written = {written_key(channel, spec) for spec in channel.write.values()}
        if name in written or name in channel.key.split():
            return [channel.option]
    wanted = _plain(name)
    names = {
        _plain(each): channel.option
        for channel in reversed(ordered)
        for each in (*channel.openhab.split(), channel.option)
    }
    if wanted in names:
        return [names[wanted]]
    parts = [each for each in reversed(names) if len(wanted) >= MIN_SIMILAR and wanted in each]
    close = get_close_matches(wanted, names, n=3, cutoff=0.7)
    return list(dict.fromkeys(names[each] for each in (*parts, *close)))[:3]


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name[:80].lower())


def _writable(channels: Sequence[Channel]) -> str:
    names = ", ".join(channel.option for channel in channels if channel.write)
    return f"writable channels: {names}" if names else "no channel is writable"
