"""Writes: a person's text → an allowed value → the charger → read back.

A value outside its range is refused before anything is sent, never bent to fit; and only what the
charger shows afterwards counts as written (PROTOCOL.md §1: a v1 charger refuses by silence).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from goe_exporter.channels.model import Allowed, Answer, Channel, Range
from goe_exporter.errors import ChargerError, RefusedError, UsageError

READ_BACK_SECONDS = 5.0
READ_BACK_PAUSE_SECONDS = 0.5

_NUMBER = re.compile(r"([+-]?[0-9]{1,12}(?:\.[0-9]{1,6})?) ?([A-Za-zµ°/]*)")
_THOUSAND = "k"
_LARGEST = 1e15
"""More than any number that is written; an integer may be too long for a float."""


class WritingClient(Protocol):
    """What a write needs of a client; all keys and values are v2's."""

    def status(self, keys: Sequence[str]) -> Answer:
        """Return the charger's answer for `keys`, or raise `ChargerError`."""

    def write(self, api: int, key: str, value: object) -> None:
        """Write one value, or raise `RefusedError` or `ChargerError`."""


class Written(NamedTuple):
    """A write that the charger shows: through which API, and after how many seconds."""

    api: int
    value: object
    seconds: float


def find(channels: Sequence[Channel], name: str) -> Channel:
    """Return the channel called `name`: ours (`max-current`) or openHAB's (`maxCurrent`).

    Raises `UsageError` naming the writable ones.
    """
    wanted = name.replace("_", "-")
    for channel in channels:
        if wanted == channel.option or name in channel.openhab.split():
            return channel
    raise UsageError(f"no channel {name!r:.80}; {_writable(channels)}")


def specification(channel: Channel, api: int, channels: Sequence[Channel] = ()) -> Allowed:
    """Return what may be written to `channel` through `api`; raises `UsageError` if nothing."""
    if not channel.write:
        raise UsageError(f"{channel.option} can only be read; {_writable(channels)}")
    if api not in channel.write:
        raise UsageError(
            f"{channel.option} cannot be written through API v{api}, only through API v{3 - api}"
        )
    return channel.write[api]


def written_key(channel: Channel, spec: Allowed) -> str:
    """Return the key that is written, in v2's words."""
    return spec.key or channel.key.split()[0]


def allowed(channel: Channel, spec: Allowed, high: float | None = None) -> str:
    """Say what may be written, as in `6 to 32 A`; `high` is this charger's own upper limit."""
    if not isinstance(spec, Range):
        words = list(spec.values)
        return f"{', '.join(words[:-1])} or {words[-1]}"
    top = spec.high if high is None else min(spec.high, high)
    step = "" if spec.step == 1 else f" in steps of {spec.step:g}"
    off = "off, or " if spec.off else ""
    return f"{off}{spec.low:.10g} to {top:.10g} {channel.unit.symbol}".rstrip() + step


def parse(channel: Channel, spec: Allowed, text: str, high: float | None = None) -> object:
    """Return the value that `text` means, in v2's words; raises `UsageError` if not allowed.

    A number may carry its unit, with a k before it where that is usual: `10A`, `5kWh`.
    """
    word = text.strip()
    if not isinstance(spec, Range):
        if word.lower() not in spec.values:
            raise _refusal(channel, spec, text, high)
        return spec.values[word.lower()]
    if spec.off and word.lower() == "off":
        return None
    value = _number(channel, word)
    top = spec.high if high is None else min(spec.high, high)
    if value is None or not spec.low <= value <= top:
        raise _refusal(channel, spec, text, high)
    steps = value / spec.step
    if not math.isclose(steps, round(steps), abs_tol=1e-9):
        raise _refusal(channel, spec, text, high)
    return int(value) if value == int(value) else value


def write(
    client: WritingClient,
    channel: Channel,
    text: str,
    *,
    channels: Sequence[Channel] = (),
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Written:
    """Write `text` to `channel` and wait until the charger's status shows it, up to 5 s.

    Raises `UsageError` before anything is sent if the value is not allowed (the charger's own
    limit is read first), `RefusedError` if the charger refuses or nothing changes, and
    `ChargerError` if it does not answer.
    """
    _check_before_asking(channel, text, channels)
    limits = {spec.limit for spec in channel.write.values() if isinstance(spec, Range)} - {""}
    answer = client.status(tuple(limits) or ("car",))
    spec = specification(channel, answer.api, channels)
    value = parse(channel, spec, text, _own_limit(spec, answer.status))
    key = written_key(channel, spec)
    client.write(answer.api, key, value)
    started = clock()
    while True:
        try:
            shown = client.status((key,)).status.get(key)
        except ChargerError:
            if clock() - started > READ_BACK_SECONDS:
                raise
            shown = ...
        if same(shown, value):
            return Written(answer.api, value, clock() - started)
        if clock() - started > READ_BACK_SECONDS:
            still = f"it is still {_word(spec, shown)}"
            raise RefusedError(f"the charger took {channel.option} without effect: {still}")
        sleep(READ_BACK_PAUSE_SECONDS)


def same(shown: object, value: object) -> bool:
    """Tell whether a status shows the value that was written."""
    if isinstance(shown, bool) or isinstance(value, bool):
        return shown is value
    if isinstance(shown, int | float) and isinstance(value, int | float):
        return -_LARGEST <= shown <= _LARGEST and math.isclose(shown, value, rel_tol=1e-5)
    return shown is None and value is None


def _word(spec: Allowed, shown: object) -> str:
    """Return what a status shows as a person would write it."""
    if shown is None:
        return "off" if isinstance(spec, Range) and spec.off else "absent"
    if isinstance(spec, Range):
        return f"{shown!r:.80}"
    words = (word for word, value in spec.values.items() if same(shown, value))
    return next(words, f"{shown!r:.80}")


def _check_before_asking(channel: Channel, text: str, channels: Sequence[Channel]) -> None:
    """Refuse what no charger takes, so that nothing is sent for it."""
    if not channel.write:
        specification(channel, 2, channels)
    refusals = []
    for spec in channel.write.values():
        try:
            parse(channel, spec, text)
        except UsageError as error:
            refusals.append(error)
    if len(refusals) == len(channel.write):
        raise refusals[-1]


def _own_limit(spec: Allowed, status: dict[str, object]) -> float | None:
    """Return the charger's own upper limit where the row names its key and it makes sense."""
    limit = status.get(spec.limit) if isinstance(spec, Range) and spec.limit else None
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        return None
    assert isinstance(spec, Range)
    # Compared before any conversion: an integer may be too long for a float.
    return float(min(limit, spec.high)) if limit >= spec.low else None


def _number(channel: Channel, word: str) -> float | None:
    match = _NUMBER.fullmatch(word)
    if match is None:
        return None
    unit, symbol = match[2], channel.unit.symbol
    if unit in ("", symbol):
        return float(match[1])
    return float(match[1]) * 1000 if symbol and unit == _THOUSAND + symbol else None


def _refusal(channel: Channel, spec: Allowed, text: str, high: float | None) -> UsageError:
    own = "" if high is None else " on this charger"
    return UsageError(f"{channel.option}: {allowed(channel, spec, high)}{own}, not {text!r:.80}")


def _writable(channels: Sequence[Channel]) -> str:
    names = ", ".join(channel.option for channel in channels if channel.write)
    return f"what can be written: {names}" if names else "nothing can be written"
