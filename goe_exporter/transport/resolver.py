"""Host names looked up in a few threads: a name server that does not answer delays nobody else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from goe_exporter.transport.sockets import MAX_LOOKUPS, Address, lookup
from goe_exporter.transport.workers import Workers

Found = list[Address] | OSError
Take = Callable[[Found], object]


class Resolver:
    """Looks up hosts for one thread, to which `call` hands functions from any other."""

    def __init__(self, call: Callable[[Callable[[], None]], None]) -> None:
        self._call = call
        self._workers = Workers("resolve", MAX_LOOKUPS)
        self._waiting: dict[tuple[str, int], list[Take]] = {}

    def find(self, place: tuple[str, int], take: Take) -> None:
        """Look up a host and port; `take` gets the addresses, or the error, later.

        A lookup that is still in progress is not repeated, so that there are never more than hosts.
        """
        waiting = self._waiting.setdefault(place, [])
        waiting.append(take)
        if len(waiting) == 1:
            self._workers.submit(partial(self._look_up, place))

    def _look_up(self, place: tuple[str, int]) -> None:
        self._call(partial(self._found, place, lookup(*place)))

    def _found(self, place: tuple[str, int], found: Found) -> None:
        for take in self._waiting.pop(place):
            take(found)
