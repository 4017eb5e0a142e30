"""The entry point of the command `goe-exporter`: the process can be stopped while it starts."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys


def main() -> None:
    """Import and run the command line, and exit with its status."""
    if os.getpid() == 1:
        # Without a handler, the first process of a container does not receive the signal.
        signal.signal(signal.SIGTERM, lambda number, _frame: os._exit(128 + number))
    atexit.register(_finish)
    try:
        # Imported here: Ctrl-C during the import must not print a traceback either.
        from goe_exporter.cli.main import main as run  # noqa: PLC0415

        run()
    except KeyboardInterrupt:
        sys.exit(130)


def _finish() -> None:
    """Let nothing change or delay the exit any more."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # Python would restore the default handler, and a second signal change the status.
        signal.signal(number, signal.SIG_IGN)
    # Python would search all objects for garbage, a second for thousands of chargers.
    gc.freeze()
