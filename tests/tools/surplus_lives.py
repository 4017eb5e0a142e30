"""A program that controls a charger until it is killed, again and again.

`python surplus_lives.py CHARGER METER STATE`: each life is a forked process, so that it begins at
once. For every line with a time on standard input, a life polls, decides and writes, and prints
`done`. `FORKED PID` and `DIED` are printed when a life begins and ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from surplus_home import Clock, Home

from goe_exporter import logs


def live(charger: str, meter: str, state: str) -> None:
    """Control the charger at each time that is read."""
    clock = Clock()
    home = None
    while line := os.read(0, 40):
        clock.now = float(line)
        home = home or Home(clock, charger, meter, Path(state))
        home.poll()
        print("done", home.state, flush=True)


def main() -> None:
    """Fork a life, and the next one when it has died."""
    logs.configure("logfmt", "info")
    while True:
        pid = os.fork()
        if pid == 0:
            live(*sys.argv[1:])
            os._exit(0)
        print("FORKED", pid, flush=True)
        _pid, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            return
        print("DIED", flush=True)


if __name__ == "__main__":
    main()
