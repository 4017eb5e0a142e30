"""Notifications to systemd: ready, reloading, stopping, and the watchdog unless stalled."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from clocks import Clock
from commands import Launch
from exporters import LISTEN, Exporter, charging
from servers import wait_for
from tickers import Led, Ticker

from goe_exporter.charger.settings import ChargerConfig
from goe_exporter.http_server import server as server_module
from goe_exporter.http_server.server import Server
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.service import service, systemd
from goe_exporter.service.config import RunConfig
from goe_exporter.simulator import Simulator


class Manager:
    """A service manager's end of the socket, and the notifications it received, in order."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)
        self._received: list[dict[str, str]] = []

    def received(self) -> list[dict[str, str]]:
        """Return all datagrams so far, each as a mapping of its assignments."""
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except BlockingIOError:
                return self._received
            self._received.append(dict(line.split("=", 1) for line in text.splitlines()))

    def watchdogs(self) -> int:
        """Return the number of watchdog notifications."""
        return sum("WATCHDOG" in each for each in self.received())


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """Yield a manager that listens at `notify` in the test's directory."""
    listening = Manager(str(tmp_path / "notify"))
    with closing(listening.socket):
        yield listening


@pytest.fixture(autouse=True)
def _no_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)


# Notifications


def test_a_notification_arrives(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All assignments of one call are one datagram."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    systemd.notify("READY=1", "STATUS=polls 3 charger(s)")
    assert manager.received() == [{"READY": "1", "STATUS": "polls 3 charger(s)"}]


def test_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that begins with @ is an abstract socket."""
    name = f"goe-exporter-test-{os.getpid()}"
    listening = Manager(f"\0{name}")
    with closing(listening.socket):
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        systemd.notify("READY=1")
        assert listening.received() == [{"READY": "1"}]


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/nowhere/notify", "@no-one"])
def test_no_manager(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a manager, or if it is gone, nothing happens."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.notify("READY=1")


def test_a_manager_that_does_not_read(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full socket does not block."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    for _ in range(10_000):
        systemd.notify("WATCHDOG=1")
    assert 0 < len(manager.received()) < 10_000


@pytest.mark.parametrize(
    ("microseconds", "process", "seconds"),
    [
        ("60000000", None, 20.0),
        ("3000000", "mine", 1.0),
        ("60000000", "1", None),
        ("", None, None),
        ("0", None, None),
        ("soon", None, None),
        ("-1", None, None),
    ],
)
def test_watchdog_interval(
    microseconds: str,
    process: str | None,
    seconds: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A third of systemd's timeout; none if the watchdog is for another process."""
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    if process is not None:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if process == "mine" else process)
    assert systemd.watchdog_seconds() == seconds


# The whole process


def test_notifications_of_a_process(
    launch: Launch, manager: Manager, tmp_path: Path, simulator: Simulator
) -> None:
    """Ready, watchdog, reloading, ready again, silent while stopped, watchdog again, stopping."""
    box = simulator.add(charging("V4"))
    variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"}
    exporter = Exporter(launch("serve", f"garage={box.address}", *LISTEN, **variables))
    wait_for(lambda: manager.watchdogs() >= 3, "three watchdog notifications")
    first = manager.received()[0]
    assert first == {"READY": "1", "STATUS": "polls 1 charger(s)"}
    before = time.monotonic_ns() // 1000
    exporter.command.process.send_signal(signal.SIGHUP)
    wait_for(lambda: sum("READY" in each for each in manager.received()) == 2, "ready again")
    (reload,) = [each for each in manager.received() if "RELOADING" in each]
    assert reload["RELOADING"] == "1"
    assert before <= int(reload["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    exporter.command.process.send_signal(signal.SIGSTOP)
    count, silence = manager.watchdogs(), time.monotonic() + 2
    wait_for(lambda: time.monotonic() >= silence, "three times systemd's timeout")
    assert manager.watchdogs() <= count + 1
    exporter.command.process.send_signal(signal.SIGCONT)
    wait_for(lambda: manager.watchdogs() >= count + 3, "watchdog notifications again")
    assert exporter.command.end(signal.SIGTERM).status == 0
    assert "STOPPING" in manager.received()[-1]


# Stalls


def test_stalled_polls() -> None:
    """A poll that does not end stalls the polls only if no other poll ends either."""
    led = Led(1.0, 1.0)
    stuck, sound = led.tickers
    led.settle()
    led.to(0.5)
    stuck.release.clear()
    led.to(1.0)
    for number in range(1, 400):
        led.to(number + 0.5)
        assert not led.scheduler.is_stalled()
    sound.release.clear()
    led.to(400.5)
    led.clock.now = 699.0
    assert not led.scheduler.is_stalled()
    led.clock.now = 700.0
    assert led.scheduler.is_stalled()
    sound.release.set()
    led.settle()
    assert not led.scheduler.is_stalled()
    stuck.release.set()
    led.scheduler.stop(1)


def test_a_dead_scheduler() -> None:
    """A poll that is due and does not start is a stall, although none is in progress."""
    clock = Clock(0.0)
    idle = Scheduler((Ticker(3600),), clock)  # type: ignore[arg-type]
    idle.replace(idle.pollers)
    assert not idle.is_stalled()
    clock.now = 301.0
    assert idle.is_stalled()


def test_rare_polls_are_not_stalled() -> None:
    """An hour between two polls is not a stall."""
    led = Led(3600.0)
    led.settle()
    led.clock.now = 3599.0
    assert not led.scheduler.is_stalled()
    led.scheduler.stop(1)


def test_a_stalled_web_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not run yet is not stalled; one whose event loop is blocked is."""
    server = Server([("127.0.0.1", 0)])
    assert not server.is_stalled()
    monkeypatch.setattr(server_module, "MAX_TICK_AGE_SECONDS", -1.0)
    server.stop()
    server.run(lambda *_: None)  # type: ignore[arg-type, return-value]
    assert server.is_stalled()


def made(is_stalled: Callable[[], bool]) -> service.Service:
    """Return a service that does not run, whose polls are stalled or not."""
    config = RunConfig((ChargerConfig(name="garage", host="127.0.0.1:1"),), 1.0)
    found = service.Service(config, lambda: config)
    found._scheduler.is_stalled = is_stalled  # type: ignore[method-assign]
    return found


def test_a_reload_with_an_internal_error(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug fails the reload; the service manager is still told that the service is ready."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    reloaded = made(lambda: False)
    monkeypatch.setattr(reloaded, "_load", lambda: 1 / 0)
    reloaded.reload()
    assert next(iter(manager.received()[0])) == "RELOADING"
    assert manager.received()[-1]["READY"] == "1"
    assert not reloaded._last_reload.successful


def test_the_watchdog_is_not_notified_during_a_stall(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notifications end when a component stalls, and go on when it recovers."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "60000")
    stalled = [False]
    checks = [0]

    def is_stalled() -> bool:
        checks[0] += 1
        return stalled[0]

    watched = made(is_stalled)
    assert watched.stalled_component() == ""
    threading.Thread(target=watched.watch, daemon=True).start()
    wait_for(lambda: manager.watchdogs() >= 3, "three watchdog notifications")
    stalled[0] = True
    assert watched.stalled_component() == "polls"
    seen = checks[0]
    wait_for(lambda: checks[0] >= seen + 2, "two checks")
    count, seen = manager.watchdogs(), checks[0]
    wait_for(lambda: checks[0] >= seen + 5, "five more checks")
    assert manager.watchdogs() == count
    stalled[0] = False
    wait_for(lambda: manager.watchdogs() >= count + 3, "watchdog notifications again")
