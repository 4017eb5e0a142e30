"""Gives back the settings of a charger that no process controls."""

from __future__ import annotations

import time
from collections.abc import Iterator

from goe_exporter.charger.client import Client
from goe_exporter.charger.write import Written, write
from goe_exporter.control.lease_file import LeaseFile
from goe_exporter.control.sending import change


def release(client: Client, lease_file: LeaseFile) -> Iterator[Written]:
    """Restore all that is on loan, a pause too, and yield what the charger confirms.

    The lease keeps what could not be restored. Raises what `charger.write` raises, and `OSError` if
    the lease cannot be saved.
    """
    lease = lease_file.load()
    writes = lease.give_back(None)
    if not writes:
        return
    api = client.status(("amp",)).api
    for each in writes:
        written = write(client, change(each, api))
        lease = lease.given_back((each.channel,), time.monotonic(), closed=True)
        lease_file.save(lease)
        yield written
