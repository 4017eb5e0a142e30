"""Which sockets are ready: `select.epoll`, or the same with `select.poll` on other systems.

The standard library's `selectors` take three times as long as the system calls.
"""

from __future__ import annotations

import math
import select


class Poll:
    """The part of `select.epoll` that the loop uses, with `select.poll`."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self.register = self._poll.register
        self.modify = self._poll.modify
        self.unregister = self._poll.unregister

    def poll(self, seconds: float | None) -> list[tuple[int, int]]:
        """Return the ready descriptors with their events, after at most `seconds`."""
        return self._poll.poll(None if seconds is None else math.ceil(seconds * 1000))

    def close(self) -> None:
        """Do nothing: no descriptor is open."""


Readiness: type[Poll] = getattr(select, "epoll", Poll)
"""The class that the system has; the loop uses both in the same way."""
