"""Removes what macOS does not have from a Python that starts with this folder in PYTHONPATH.

Only what the exporter could use: `mypy --platform darwin` finds names that Python lacks there.
"""

import errno
import os
import resource
import select
import sys
import time
from typing import Any

OPEN_MAX = 10240
"""macOS accepts no higher number of open files, although the hard limit is infinite."""

del time.CLOCK_BOOTTIME, os.fdatasync, errno.EUCLEAN, select.epoll

_readlink, _getrlimit, _setrlimit = os.readlink, resource.getrlimit, resource.setrlimit


def _missing(path: Any) -> None:
    if str(os.fsdecode(path)).startswith(("/proc", "/sys")):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("open", "os.listdir", "os.scandir") and not isinstance(arguments[0], int | None):
        _missing(arguments[0])
    if event == "ctypes.dlsym" and arguments[1] == "adjtimex":
        raise AttributeError("dlsym(RTLD_DEFAULT, adjtimex): symbol not found")


def readlink(path: Any, **options: Any) -> Any:
    _missing(path)
    return _readlink(path, **options)


def getrlimit(kind: int) -> tuple[int, int]:
    soft, hard = _getrlimit(kind)
    return (soft, resource.RLIM_INFINITY) if kind == resource.RLIMIT_NOFILE else (soft, hard)


def setrlimit(kind: int, limits: tuple[int, int]) -> None:
    if kind == resource.RLIMIT_NOFILE:
        soft, _hard = limits
        if not 0 <= soft <= OPEN_MAX:
            raise ValueError("current limit exceeds maximum limit")
        limits = soft, _getrlimit(kind)[1]
    _setrlimit(kind, limits)


os.readlink, resource.getrlimit, resource.setrlimit = readlink, getrlimit, setrlimit
sys.addaudithook(_hook)
