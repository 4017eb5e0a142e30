"""Threads for work that has to wait."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Workers:
    """A pool of threads, named `name`-1 and so on, that grows to `limit` and does not shrink.

    The threads are daemons, unlike those of `concurrent.futures`: `getaddrinfo` cannot be
    interrupted while a name server does not answer, and must not delay the exit.
    """

    def __init__(self, name: str, limit: int = 0) -> None:
        self.limit = limit
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._count = 0
        self._unclaimed = 0

    def submit(self, job: Callable[[], None]) -> None:
        """Queue a job, which raises nothing; start a thread if all are busy and `limit` allows."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._count < self.limit:
                self._count += 1
                name = f"{self._name}-{self._count}"
                threading.Thread(target=self._run, name=name, daemon=True).start()
            else:
                self._unclaimed += 1
        self._jobs.put(job)

    def _run(self) -> None:
        while True:
            self._jobs.get()()
            with self._lock:
                if self._unclaimed:
                    self._unclaimed -= 1
                else:
                    self._idle += 1
