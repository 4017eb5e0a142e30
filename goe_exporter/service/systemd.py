"""What a service manager is told and asks: readiness, reloads, the end, and a sign of life.

systemd sets `NOTIFY_SOCKET` for `Type=notify` and `WATCHDOG_USEC` for `WatchdogSec=`; without
them nothing is said (sd_notify(3)). Datagrams that nobody takes are no failure of ours.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time

SIGNS_PER_PATIENCE = 3
"""So often life is shown within the time after which systemd would give up."""


def notify(*words: str) -> None:
    """Tell the service manager, if there is one, words such as `READY=1`."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    # A name that begins with @ lies in no folder; the kernel writes it with a zero.
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.sendto("\n".join(words).encode(), address)


def reloading() -> None:
    """Say that the configuration is being read again; `READY=1` says that it has been."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_seconds() -> float | None:
    """Return how often a sign of life is wanted, or None if nobody waits for one."""
    wanted, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not wanted.isdecimal() or not int(wanted) or process not in (None, str(os.getpid())):
        return None
    return int(wanted) / 1e6 / SIGNS_PER_PATIENCE
