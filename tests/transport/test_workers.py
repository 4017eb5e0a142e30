"""The pool of threads: as many as there are jobs, up to the limit."""

from __future__ import annotations

import queue
import threading

from servers import PATIENCE_SECONDS

from goe_exporter.transport.workers import Workers


def test_threads_after_jobs_that_had_to_wait() -> None:
    """A job that waited for a thread does not count as an idle thread later."""
    workers = Workers("pool", 1)
    ended: queue.Queue[int] = queue.Queue()
    for number in range(3):
        workers.submit(lambda number=number: ended.put(number))  # type: ignore[misc]
    assert [ended.get(timeout=PATIENCE_SECONDS) for _job in range(3)] == [0, 1, 2]
    workers.limit = 3
    both = threading.Barrier(3, timeout=PATIENCE_SECONDS)
    for _job in range(3):
        workers.submit(both.wait)
    workers.submit(lambda: ended.put(3))
    assert ended.get(timeout=PATIENCE_SECONDS) == 3
