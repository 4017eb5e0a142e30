"""A parser of the log format logfmt, independent of the code that writes it."""

from __future__ import annotations

import json
import re


def fields(text: str) -> dict[str, str]:
    """Read a logfmt line back."""
    found: dict[str, str] = {}
    rest = text
    while rest:
        match = re.match(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "=]+)(?: |$)', rest)
        assert match, rest
        value = match[2]
        found[match[1]] = json.loads(value) if value.startswith('"') else value
        rest = rest[match.end() :]
    return found
