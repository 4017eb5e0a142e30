"""Random days of the simulated charger: the books close, and the sessions are the true ones.

The days have plug-ins, replugs within 2 s, phase switches that show an idle car, restarts of the
charger, outages of up to 50 minutes, kills of the exporter and corrections of the clock.
"""

from __future__ import annotations

import pytest
from session_runs import Run, total

SEEDS = 240


@pytest.mark.parametrize("seed", [1, 4, 6])
def test_books_close(seed: int) -> None:
    """Sessions, unassigned energy and corrections add up to the meter's difference."""
    run = Run(seed, events=12)
    assert run.metered_wh > 0
    assert run.open_wh() == 0
    assert run.wrong_card_wh() == 0


@pytest.mark.parametrize("model", ["V2", "V3"])
@pytest.mark.parametrize("seed", [1, 4, 207])
def test_books_agree_on_api_v1(seed: int, model: str) -> None:
    """On API v1, they agree within 1 % plus a step of the meter for each beginning and end."""
    run = Run(seed, api=1, model=model)
    assert run.metered_wh > 0
    assert run.agrees()


@pytest.mark.parametrize("seed", [4, 6])
def test_polls_that_say_nothing_new(seed: int) -> None:
    """Leaving them out changes no session, and a fifth of the polls is enough."""
    every, condensed = (
        Run(seed, events=12, outages=False, condensed=condensed) for condensed in (False, True)
    )
    assert condensed.events == every.events
    assert every.sessions
    assert condensed.observations < 0.2 * every.observations


@pytest.mark.slow
def test_many_days() -> None:
    """The promised shares hold."""
    found = total(range(SEEDS))
    assert found.not_closed == 0
    shares = found.shares()
    assert 88 <= shares["booked"] <= 100
    assert shares["exact"] >= 92
    assert shares["unassigned"] <= 3.5
    assert shares["wrong_card"] <= 0.15


@pytest.mark.slow
def test_many_days_without_outages() -> None:
    """Without outages, almost nothing is unassigned."""
    found = total(range(60), outages=False)
    assert found.not_closed == 0
    shares = found.shares()
    assert 88 <= shares["booked"] <= 100
    assert shares["exact"] >= 92
    assert shares["unassigned"] <= 0.5
    assert shares["wrong_card"] <= 0.15


@pytest.mark.slow
@pytest.mark.parametrize("model", ["V2", "V3"])
def test_many_days_on_api_v1(model: str) -> None:
    """On API v1, each day agrees with the meter and the truth, and all days together within 1 %."""
    found = total(range(SEEDS), api=1, model=model)
    assert found.disagreeing == 0
    assert 99 <= found.shares()["accounted"] <= 101
