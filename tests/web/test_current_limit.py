"""What limits the current: the lowest limit, or the one the charger itself goes by."""

from __future__ import annotations

import pytest

from goe_exporter.web.current_limit import SOURCES, CurrentLimit, current_limit
from goe_exporter.web.translations import WORDS

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
        ({"max_current_temporary": 24.0}, 24, ("set_temporary",)),
        ({"cable_current": 20.0}, 20, ("set", "cable")),
        ({"adapter_connected": True, "absolute_max_current": 16.0}, 16, ("adapter", "charger")),
    ],
)
def test_lowest_limit(
    values: dict[str, float | bool], amperes: float, sources: tuple[str, ...]
) -> None:
    """Without the charger's own word the lowest limit binds, and ties are all named."""
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
def test_the_chargers_word_counts(
    values: dict[str, float | bool], allowed: float, sources: tuple[str, ...]
) -> None:
    """What the charger allows names the limit; a limit it does not go by is not named."""
    found = current_limit(ALL | values | {"allowed_current": allowed})
    assert found == CurrentLimit(allowed, sources)


def test_nothing_known() -> None:
    """Without any limit there is nothing to say; one alone is enough."""
    assert current_limit({}) is None
    assert current_limit({"adapter_connected": False}) is None
    assert current_limit({"absolute_max_current": 16.0}) == CurrentLimit(16, ("charger",))
    assert current_limit({"allowed_current": 6.0}) == CurrentLimit(6, ("other",))


@pytest.mark.parametrize("source", SOURCES)
def test_every_limit_has_words(source: str) -> None:
    """Each limit can be said."""
    assert f"limit.{source}" in WORDS
