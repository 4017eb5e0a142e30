"""CPU, memory, threads and context switches of a running process."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process and its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    return _status(f"{pid}", "VmRSS") / 1024


def threads(pid: int) -> int:
    """Return the number of a process' threads."""
    return _status(f"{pid}", "Threads")


def switches(pid: int) -> int:
    """Return the context switches of a process' present threads, voluntary or not."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # the thread may have ended
            for kind in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"):
                total += _status(f"{pid}/task/{task.name}", kind)
    return total


def _status(process: str, field: str) -> int:
    """Return a number of a process' or thread's status."""
    status = Path(f"/proc/{process}/status").read_text()
    match = re.search(rf"^{field}:\s+(\d+)", status, re.MULTILINE)
    assert match is not None
    return int(match[1])
