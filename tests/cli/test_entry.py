"""The process of the command: what a signal does to it before the command handles signals."""

from __future__ import annotations

import atexit
import gc
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from goe_exporter.cli import entry
from goe_exporter.cli import main as command_line


class Exited(BaseException):
    """Stands for the immediate end of the process."""


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def at_exit(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Return what the process would call at its exit."""
    registered: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", registered.append)
    return registered


def exit_now(status: int) -> None:
    raise Exited(status)


def test_sigterm_ends_the_first_process_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """Process 1 ends at once: the kernel would ignore the signal of a process without a handler."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(os, "_exit", exit_now)
    monkeypatch.setattr(command_line, "main", lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Exited, match="143"):
        entry.main()


def test_other_processes_keep_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other process is ended by SIGTERM as usual, so a service manager sees the signal."""
    seen = []
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    monkeypatch.setattr(command_line, "main", lambda: seen.append(signal.getsignal(signal.SIGTERM)))
    entry.main()
    assert seen == [signal.SIG_DFL]


def test_ctrl_c_at_any_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C outside of a command, such as during an import, ends with 130 and no traceback."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(command_line, "main", lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert ended.value.code == 130


def test_a_second_signal_does_not_change_the_status(
    monkeypatch: pytest.MonkeyPatch, at_exit: list[Callable[[], None]]
) -> None:
    """Once the command has ended, SIGTERM and Ctrl-C are ignored until the process is gone."""
    monkeypatch.setattr(command_line, "main", lambda: None)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    entry.main()
    (finish,) = at_exit
    finish()
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
