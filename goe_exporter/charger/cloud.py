"""What answers of the vendor's cloud have beyond those of a charger. Pure.

A status there was measured some time ago, and a write is answered with what was passed on
(docs/protocol.md §5.2).
"""

from __future__ import annotations

import email.utils
from collections.abc import Mapping

MAX_AGE_SECONDS = 45
"""Maximum age of a status; one of 30 s ago is common."""


def age_seconds(headers: Mapping[str, str]) -> float:
    """Return how long before the answer its values were measured, by the clock of its sender.

    That is 0 unless both `Date` and `Last-Modified` are dates.
    """
    if "Last-Modified" not in headers:  # which only the cloud sends
        return 0.0
    now, measured = _unix_time(headers.get("Date")), _unix_time(headers.get("Last-Modified"))
    return 0.0 if now is None or measured is None else max(now - measured, 0.0)


def passed_on(answer: Mapping[str, object], key: str) -> bool | None:
    """Return whether a write was passed on to the charger, None if the answer does not say so.

    The answer is `{"succeeded":[{"amp":7}],"failed":[]}`.
    """
    succeeded, failed = answer.get("succeeded"), answer.get("failed")
    if not isinstance(succeeded, list) and not isinstance(failed, list):
        return None
    return not failed and isinstance(succeeded, list) and any(_has(key, each) for each in succeeded)


def refusal(answer: Mapping[str, object], key: str) -> object:
    """Return the message that the answer to a write has for a key, None if it has none."""
    failed = answer.get("failed")
    items = failed if isinstance(failed, list) else []
    return next((each[key] for each in items if isinstance(each, dict) and key in each), None)


def _has(key: str, item: object) -> bool:
    return item == key or (isinstance(item, dict) and key in item)


def _unix_time(text: str | None) -> float | None:
    try:
        parts = email.utils.parsedate_tz(text) if text else None
        return None if parts is None else float(email.utils.mktime_tz(parts))
    except (ValueError, OverflowError):
        return None
