"""Whether a charger accepted a write, by its answer (docs/protocol.md §1). Pure."""

from __future__ import annotations

import re

from goe_exporter.charger import cloud

HTTP_ACCEPTED = 202
_COUNTED = re.compile(r"[1-9][0-9]* succeeded and 0 failed\.?")


def accepted(status: int, answer: object, text: str, key: str) -> bool:
    """Return whether a write was accepted; firmware before 051.4 only returns counts."""
    if isinstance(answer, dict):
        passed_on = cloud.passed_on(answer, key)
        if passed_on is not None:
            return passed_on
        said = answer.get(key)
        refused = said is False or isinstance(said, str) or answer.get("success") is False
        return said is True or (status == HTTP_ACCEPTED and not refused)
    return status == HTTP_ACCEPTED or _COUNTED.fullmatch(text) is not None
