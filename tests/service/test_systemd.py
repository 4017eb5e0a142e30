"""What systemd is told: readiness, reloads, the end, and a sign of life while nothing hangs."""

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
    """A service manager's end of a socket: what it was told, in order."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)
        self._heard: list[dict[str, str]] = []

    def heard(self) -> list[dict[str, str]]:
        """Return all datagrams so far, each by its words."""
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except BlockingIOError:
                return self._heard
            self._heard.append(dict(line.split("=", 1) for line in text.splitlines()))

    def signs(self) -> int:
        """Return how many signs of life there were."""
        return sum("WATCHDOG" in each for each in self.heard())


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """Yield a manager that listens at `notify` in the test's folder."""
    listening = Manager(str(tmp_path / "notify"))
    with closing(listening.socket):
        yield listening


@pytest.fixture(autouse=True)
def _no_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)


# The words


def test_words_arrive(manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All words of one call are one datagram."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    systemd.notify("READY=1", "STATUS=polls 3 charger(s)")
    assert manager.heard() == [{"READY": "1", "STATUS": "polls 3 charger(s)"}]


def test_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that begins with @ is a name of the kernel's."""
    name = f"goe-exporter-test-{os.getpid()}"
    listening = Manager(f"\0{name}")
    with closing(listening.socket):
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        systemd.notify("READY=1")
        assert listening.heard() == [{"READY": "1"}]


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/nowhere/notify", "@no-one"])
def test_nobody_listens(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a manager, and with one that is gone, nothing happens."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.notify("READY=1")


def test_a_manager_that_does_not_read(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full socket holds up nobody."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    for _ in range(10_000):
        systemd.notify("WATCHDOG=1")
    assert 0 < len(manager.heard()) < 10_000


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
def test_how_often_life_is_shown(
    microseconds: str,
    process: str | None,
    seconds: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A third of systemd's patience, and never for another process."""
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    if process is not None:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if process == "mine" else process)
    assert systemd.watchdog_seconds() == seconds


# The whole process


def test_a_life(launch: Launch, manager: Manager, tmp_path: Path, simulator: Simulator) -> None:
    """Ready, alive, reloading, ready again, stopped while it is, alive again, at its end."""
    box = simulator.add(charging("V4"))
    variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"}
    exporter = Exporter(launch("serve", f"garage={box.address}", *LISTEN, **variables))
    wait_for(lambda: manager.signs() >= 3, "three signs of life")
    first = manager.heard()[0]
    assert first == {"READY": "1", "STATUS": "polls 1 charger(s)"}
    before = time.monotonic_ns() // 1000
    exporter.command.process.send_signal(signal.SIGHUP)
    wait_for(lambda: sum("READY" in each for each in manager.heard()) == 2, "ready again")
    (reload,) = [each for each in manager.heard() if "RELOADING" in each]
    assert reload["RELOADING"] == "1"
    assert before <= int(reload["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    exporter.command.process.send_signal(signal.SIGSTOP)
    signs, silence = manager.signs(), time.monotonic() + 2
    wait_for(lambda: time.monotonic() >= silence, "three times systemd's patience")
    assert manager.signs() <= signs + 1
    exporter.command.process.send_signal(signal.SIGCONT)
    wait_for(lambda: manager.signs() >= signs + 3, "life again")
    assert exporter.command.end(signal.SIGTERM, seconds=10).status == 0
    assert "STOPPING" in manager.heard()[-1]


# What hangs


def test_polls_that_hang() -> None:
    """One poll that does not end is a hanging exporter only if no other ends either."""
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


def test_a_dead_schedule() -> None:
    """A tick that nobody works off is seen, though nothing is under way."""
    clock = Clock(0.0)
    idle = Scheduler((Ticker(3600),), clock)  # type: ignore[arg-type]
    idle.replace(idle.pollers)
    assert not idle.is_stalled()
    clock.now = 301.0
    assert idle.is_stalled()


def test_rare_polls_do_not_hang() -> None:
    """An hour between two polls is no standstill."""
    led = Led(3600.0)
    led.settle()
    led.clock.now = 3599.0
    assert not led.scheduler.is_stalled()
    led.scheduler.stop(1)


def test_a_web_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not run yet does not hang; one whose loop stands still does."""
    server = Server("127.0.0.1", 0)
    assert not server.hangs()
    monkeypatch.setattr(server_module, "HUNG_SECONDS", -1.0)
    server.stop()
    server.run(lambda *_: None)  # type: ignore[arg-type, return-value]
    assert server.hangs()


def made(hanging: Callable[[], bool]) -> service.Service:
    """Return a service that does not run, whose polls hang or not."""
    wishes = RunConfig((ChargerConfig(name="garage", host="127.0.0.1:1"),), 1.0)
    found = service.Service(wishes, lambda: wishes)
    found._schedule.is_stalled = hanging  # type: ignore[method-assign]
    return found


def test_what_hangs_shows_no_life(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signs of life end when a part hangs, which is logged, and go on when it does."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "60000")
    hanging = [False]
    asked = [0]

    def hangs() -> bool:
        asked[0] += 1
        return hanging[0]

    watched = made(hangs)
    assert watched.stalled_component() == ""
    threading.Thread(target=watched.watch, daemon=True).start()
    wait_for(lambda: manager.signs() >= 3, "three signs of life")
    hanging[0] = True
    assert watched.stalled_component() == "polls"
    seen = asked[0]
    wait_for(lambda: asked[0] >= seen + 2, "the watch to see it")
    signs, seen = manager.signs(), asked[0]
    wait_for(lambda: asked[0] >= seen + 5, "five more looks")
    assert manager.signs() == signs
    hanging[0] = False
    wait_for(lambda: manager.signs() >= signs + 3, "life again")
