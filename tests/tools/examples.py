"""How many examples a property test tries."""

from __future__ import annotations

from hypothesis import settings


def examples(number: int) -> settings:
    """Return settings with `number` examples in the profile `ci`, and fewer in `dev`."""
    return settings(max_examples=max(number * settings().max_examples // 100, 1))
