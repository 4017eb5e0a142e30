"""What limits the current: the lowest limit, or the one that the charger applies."""

from __future__ import annotations

import pytest

from goe_exporter.web.current_limit import SOURCES, CurrentLimit, current_limit
from goe_exporter.web.locale import translations

ALL = {
    "max_current": 20.0,
    "cable_current": 32.0,
    "temperature_current_limit": 32.0,
    "absolute_max_current": 32.0,
    "adapter_connected": False,
}


@pytest.mark.parametrize(
    ("values", "amperes", "sources"),
    [
        ({}, 20, ("set",)),
        ({"cable_current": 13.0}, 13, ("cable",)),
        ({"temperature_current_limit": 10.0}, 10, ("temperature",)),
        ({"load_balancing_current": 8.0}, 8, ("load_balancing",)),
        ({"adapter_connected": True}, 16, ("adapter",)),
        ({"absolute_max_current": 16.0}, 16, ("charger",)),
        ({"max_current_temporary": 10.0}, 10, ("set_temporary",)),
        ({"max_current_temporary": 24.0}, 20, ("set",)),  # docs/protocol.md §5.1
        ({"cable_current": 20.0}, 20, ("set", "cable")),
        ({"adapter_connected": True, "absolute_max_current": 16.0}, 16, ("adapter", "charger")),
    ],
)
def test_lowest_limit(
    values: dict[str, float | bool], amperes: float, sources: tuple[str, ...]
) -> None:
    """If the charger reports no allowed current, the lowest limits are the sources."""
    assert current_limit(ALL | values) == CurrentLimit(amperes, sources)


@pytest.mark.parametrize(
    ("values", "allowed", "sources"),
    [
        ({}, 20.0, ("set",)),
        ({"load_balancing_current": 0.0}, 20.0, ("set",)),
        ({"load_balancing_current": 10.0}, 10.0, ("load_balancing",)),
        ({}, 11.0, ("other",)),
        ({"adapter_connected": True}, 16.0, ("adapter",)),
    ],
)
def test_allowed_current(
    values: dict[str, float | bool], allowed: float, sources: tuple[str, ...]
) -> None:
    """The limits that equal the allowed current are the sources; lower ones are ignored."""
    found = current_limit(ALL | values | {"allowed_current": allowed})
    assert found == CurrentLimit(allowed, sources)


def test_nothing_known() -> None:
    """Without any limit there is no result; one limit is enough."""
    assert current_limit({}) is None
    assert current_limit({"adapter_connected": False}) is None
    assert current_limit({"absolute_max_current": 16.0}) == CurrentLimit(16, ("charger",))
    assert current_limit({"allowed_current": 6.0}) == CurrentLimit(6, ("other",))


@pytest.mark.parametrize("source", SOURCES)
def test_every_limit_has_a_text(source: str) -> None:
    """Each source has a text."""
    assert f"limit.{source}" in translations("en")
