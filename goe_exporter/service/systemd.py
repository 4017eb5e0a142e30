"""Notifications to systemd: ready, reloading, stopping, and the watchdog (sd_notify(3)).

systemd sets `NOTIFY_SOCKET` for `Type=notify` and `WATCHDOG_USEC` for `WatchdogSec=`; without them
nothing is sent. A notification that cannot be sent is not an error.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time

NOTIFICATIONS_PER_TIMEOUT = 3
"""How many watchdog notifications are sent within systemd's watchdog timeout."""


def notify(*assignments: str) -> None:
    """Send assignments such as `READY=1` to the service manager, if there is one."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    # "@" marks an abstract socket, whose name begins with a zero byte for the kernel.
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.sendto("\n".join(assignments).encode(), address)


def notify_reloading() -> None:
    """Notify the service manager that a reload begins; `READY=1` ends it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_seconds() -> float | None:
    """Return the interval between watchdog notifications, None if none are expected."""
    timeout, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not timeout.isdecimal() or not int(timeout) or process not in (None, str(os.getpid())):
        return None
    return int(timeout) / 1e6 / NOTIFICATIONS_PER_TIMEOUT
