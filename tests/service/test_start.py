"""The start of the service."""

from __future__ import annotations

import gc

from goe_exporter.charger.settings import ChargerConfig
from goe_exporter.service.config import RunConfig
from goe_exporter.service.service import Service


def test_what_stays_is_not_searched_for_garbage() -> None:
    """Modules and chargers are left out of searches, which stop the polls for as long as it takes.

    With 1,000 chargers a search took 160 ms.
    """
    config = RunConfig((ChargerConfig(name="garage", host="127.0.0.1:1"),), 3600.0)
    service = Service(config, lambda: config)
    service.watch = lambda: None  # type: ignore[method-assign]
    (garage,) = service._scheduler.pollers
    assert any(each is garage for each in gc.get_objects())
    try:
        service._start()
        assert not any(each is garage for each in gc.get_objects())
    finally:
        service._stop(0.0)
        gc.unfreeze()
