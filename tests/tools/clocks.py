"""Clocks that stand still until a test moves them."""

from __future__ import annotations


class Clock:
    """One clock, read by a call."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move it on, as a sleeping caller sees it."""
        self.now += seconds


class Clocks:
    """A machine's two clocks: `wall`, which may be set, and `up`, which only runs.

    `boot_id` names the boot; `synchronised` is what the kernel reports about NTP.
    """

    def __init__(self, wall: float = 1_780_000_000.0, up: float = 1000.0) -> None:
        self.wall = wall
        self.up = up
        self.boot_id = "boot-1"
        self.synchronised = False

    def go(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.up += seconds

    def boot(self, wall: float) -> None:
        """Start the machine again with this time."""
        self.wall, self.up = wall, 10.0
        self.boot_id = f"boot-{int(self.boot_id[5:]) + 1}"
