"""Send a write to a charger, and confirm it by reading the value back.

Only the value that the charger reports afterwards counts: a v1 charger refuses a write by leaving
the value unchanged (docs/protocol.md §1).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from goe_exporter.channels.model import Choices, Range
from goe_exporter.channels.snapshot import Answer, Status
from goe_exporter.channels.table import CHANNELS
from goe_exporter.channels.writable import Change, Write, instead, same, written_key
from goe_exporter.charger.client import Client
from goe_exporter.errors import ChargerError, RefusedError, UsageError

READ_BACK_SECONDS = 10.0
"""Firmware 050 shows a written `alw` after 7 s (docs/protocol.md §5.2)."""

CLOUD_READ_BACK_SECONDS = 15.0
READ_BACK_PAUSE_SECONDS = 0.5
READ_BACK_AGE_SECONDS = 1
"""Maximum age of the values that the cloud returns for a read-back."""


class Written(NamedTuple):
    """A confirmed write: its API, and the seconds until the charger reported the value.

    `shown_as` is the option of another channel that shows the value, "" if it is the written one.
    `notes` are sentences without a period about what limits the value.
    """

    api: int
    write: Write
    seconds: float
    shown_as: str = ""
    notes: tuple[str, ...] = ()


def write(
    client: Client,
    change: Change,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Written:
    """Write a change, and wait 10 s (15 s over the cloud) for the charger to report the value.

    The charger's own limit is read first. Raises `UsageError`, before anything is written, if the
    charger's API or its limit does not allow the value, or if it has no such setting, also if no
    charger allows it and this one does not answer;
    `RefusedError` if the charger refuses the write or does not apply it; and `ChargerError` if it
    does not answer.
    """
    try:
        answer = client.status(_before(change))
    except ChargerError:
        if not change.writes:
            raise change.refusal() from None
        raise
    chosen = change.through(answer.api, answer.status)
    _check_known(chosen, answer)
    try:
        client.write(answer.api, chosen.key, chosen.value)
    except RefusedError as error:
        hint = instead(chosen.channel, answer.api, answer.status)
        raise RefusedError(f"{error}{hint}") from error
    started = clock()
    while True:
        try:
            after = client.status(_after(chosen), max_age_seconds=READ_BACK_AGE_SECONDS)
            status = after.status
            key = chosen.shown_by(status) if answer.api == 1 else chosen.key
            # Only on API v1 does a missing key mean that the setting is off.
            reported = status.get(key, None if answer.api == 1 else ...)
            # The cloud may still return what was measured before the write.
            if same(reported, chosen.value) and after.age_seconds <= clock() - started + 1:
                shown_as = "" if key == chosen.key else _option(key)
                notes = tuple(_notes(chosen, status))
                return Written(answer.api, chosen, clock() - started, shown_as, notes)
            failure: Exception = RefusedError(_unchanged(chosen, status, key, reported))
        except ChargerError as error:
            failure = error
            if error.reason == "wrong_device":
                raise ChargerError(
                    error.reason, f"{error}; it may have received the value"
                ) from error
        if clock() - started > (CLOUD_READ_BACK_SECONDS if client.cloud else READ_BACK_SECONDS):
            raise failure
        sleep(READ_BACK_PAUSE_SECONDS)


def _before(change: Change) -> tuple[str, ...]:
    """Return the keys that show whether the charger allows the change, through either API."""
    keys = ["car", "typ"]
    for spec in change.channel.write.values():
        keys.append(written_key(change.channel, spec))
        if isinstance(spec, Range):
            keys += [spec.limit, spec.bound]
    return tuple(dict.fromkeys(filter(None, keys)))


def _after(chosen: Write) -> tuple[str, ...]:
    """Return the keys that confirm a write."""
    return tuple(filter(None, ("car", chosen.key, chosen.bound)))


def _check_known(chosen: Write, answer: Answer) -> None:
    """Raise `UsageError` if the charger does not have the setting: its v2 status lacks the key."""
    if answer.api == 2 and chosen.key not in answer.status:
        raise UsageError(
            f"this charger has no {chosen.channel.option} (no key {chosen.key!r} in its"
            f" status){instead(chosen.channel, answer.api, answer.status)}"
        )


def _notes(chosen: Write, status: Status) -> Iterator[str]:
    """Yield what the user must know about a confirmed write."""
    if chosen.is_bounded(status):
        yield _bounded(chosen, status)
    if isinstance(chosen.allowed, Range) and chosen.allowed.note and chosen.value is not None:
        yield chosen.allowed.note


def _unchanged(chosen: Write, status: Status, key: str, reported: object) -> str:
    """Return the error for a write without effect; `key` is where the charger shows the value."""
    option = chosen.channel.option
    if key != chosen.key and chosen.is_bounded(status):
        return f"{option} had no effect: {_bounded(chosen, status)}"
    shown = chosen.describe(reported)
    if key != chosen.key:
        shown = f"{_option(key)} {shown}"
    what = "did not change: the charger accepted the request but still reports"
    return f"{option} {what} {shown}{_known_to_all(chosen)}"


def _known_to_all(chosen: Write) -> str:
    """Return the names that every API knows, if that of the written value is none of them."""
    names = [
        set(each.values) for each in chosen.channel.write.values() if isinstance(each, Choices)
    ]
    common = set.intersection(*names) if names else set()
    if not common or chosen.describe(chosen.value) in common:
        return ""
    assert isinstance(chosen.allowed, Choices)
    known = " and ".join(name for name in chosen.allowed.values if name in common)
    return f"; some hardware only knows {known}"


def _bounded(chosen: Write, status: Status) -> str:
    limit = chosen.describe(status.get(chosen.bound))
    return f"{_option(chosen.bound)} still limits the current to {limit}"


def _option(key: str) -> str:
    """Return the name of the channel with a key."""
    return next(channel.option for channel in CHANNELS if channel.key == key)
