"""With a constant surplus the decision is that of openHAB's rule (4.x)."""

from __future__ import annotations

import pytest
from surplus_loop import Loop

LEVELS = range(-2000, 14001, 10)
SETTLED_S = 600.0
START_BAND = range(1380, 1400)
SWITCH_BAND = range(4140, 4640)


def openhab(surplus_w: int) -> tuple[bool, int, int]:
    """Return openHAB's decision: 3 phases of 6 A or more, else one phase, else off.

    It sets whole amperes, and an 11 kW charger allows at most 16.
    """
    if surplus_w >= 3 * 6 * 230:
        return True, 3, min(16, surplus_w // (3 * 230))
    if surplus_w >= 6 * 230:
        return True, 1, min(16, surplus_w // 230)
    return False, 0, 0


def settled(surplus_w: int, before_w: int | None = None) -> tuple[bool, int, int]:
    """Return what is decided after 10 minutes, with another surplus for half an hour before."""
    loop = Loop()
    if before_w is not None:
        loop.run(1800, before_w)
    loop.run(SETTLED_S, surplus_w)
    return loop.state()


def test_constant_surplus_is_decided_as_by_openhab() -> None:
    """From -2 to 14 kW in steps of 10 W, outside the two bands of hysteresis."""
    different = {
        level: (settled(level), openhab(level))
        for level in LEVELS
        if level not in START_BAND and level not in SWITCH_BAND and settled(level) != openhab(level)
    }
    assert different == {}


@pytest.mark.parametrize(
    ("surplus_w", "before_w", "state"),
    [
        (1390, None, (False, 0, 0)),
        (1400, None, (True, 1, 6)),
        (1390, 2300, (True, 1, 6)),
        (1350, 2300, (True, 1, 6)),
        (4500, None, (True, 1, 16)),
        (4640, None, (True, 3, 6)),
        (4500, 9200, (True, 3, 6)),
        (4140, 9200, (True, 3, 6)),
    ],
)
def test_hysteresis(surplus_w: int, before_w: int | None, state: tuple[bool, int, int]) -> None:
    """A start needs 20 W more than 6 A, three phases 500 W more; what charges goes on.

    30 W too little draw 5 Wh in 10 minutes, which the budget of 120 Wh allows.
    """
    assert settled(surplus_w, before_w) == state
