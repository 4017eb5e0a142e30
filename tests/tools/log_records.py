"""The exporter's log records, kept for a test."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def recorded(name: str = "goe_exporter") -> Iterator[list[logging.LogRecord]]:
    """Keep the records of a logger at all levels until the block ends."""
    kept: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = kept.append  # type: ignore[method-assign]
    target = logging.getLogger(name)
    level = target.level
    target.addHandler(handler)
    target.setLevel(logging.DEBUG)
    try:
        yield kept
    finally:
        target.removeHandler(handler)
        target.setLevel(level)
