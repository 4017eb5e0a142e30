"""The exporter without what only Linux has; `tests/tools/macos` removes it from the processes."""

from __future__ import annotations

import functools
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Launch
from exporters import LISTEN, Exporter, charging
from fake_influx import Fakes, Reply
from paths import ROOT
from servers import push_config, wait_for

from goe_exporter.simulator import Simulator

MACOS = str(ROOT / "tests" / "tools" / "macos")
WAITING = "goe_influx_spooled_points"
WRITTEN = 'goe_influx_points_total{result="written"}'

LINUX_ONLY = """
import ctypes, errno, os, resource, time
from goe_exporter.durable import clock
from goe_exporter.service import service
assert not hasattr(time, "CLOCK_BOOTTIME") and not hasattr(os, "fdatasync")
assert not hasattr(errno, "EUCLEAN") and not hasattr(ctypes.CDLL(None), "adjtimex")
for call in (os.listdir, os.readlink, open):
    try:
        call("/proc/self")
    except FileNotFoundError:
        continue
    raise AssertionError(call)
assert clock.uptime() > 0 and not clock.synchronised()
assert len(clock.boot()) == 36 and clock.boot() != clock.boot()
resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.RLIM_INFINITY))
service.set_limits()
assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
"""


@pytest.fixture
def start(launch: Launch) -> Launch:
    """Return `launch` for processes without what only Linux has."""
    return functools.partial(launch, PYTHONPATH=MACOS)


def ended(command: str, status: int, err: str) -> None:
    """Assert that a command succeeded without a traceback."""
    assert (status, "Traceback" in err) == (0, False), f"{command}: {err}"


def test_what_only_linux_has() -> None:
    """The clock and the limit of open files work without it, and it is really missing here."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{LINUX_ONLY}"
    environment = {"PYTHONPATH": MACOS, "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_serve(start: Launch, simulator: Simulator) -> None:
    """`serve` polls, serves metrics and the page, reloads and stops."""
    box = simulator.add(charging())
    exporter = Exporter(start("serve", *LISTEN, f"garage={box.address}"))
    exporter.wait('goe_up{charger="garage"}', 1)
    for path in ("", "charger/garage", "api/v1/chargers", "-/healthy"):
        assert exporter.answer(path)[0] == 200, path
    exporter.command.process.send_signal(signal.SIGHUP)
    exporter.command.line("configuration reload")
    outcome = exporter.command.end(signal.SIGTERM)
    ended("serve", outcome.status, outcome.err)


def test_push(start: Launch, fakes: Fakes, simulator: Simulator, tmp_path: Path) -> None:
    """Points wait in a spool on disk until the server accepts them, also over a restart."""
    box = simulator.add(charging())
    status = [503]
    server = fakes(lambda _received: Reply(status[0]))
    config = push_config(tmp_path, server.url, {"garage": box.address})
    arguments = ("serve", "--config", str(config), *LISTEN)
    exporter = Exporter(start(*arguments))
    wait_for(lambda: exporter.count(WAITING) >= 2, "points on disk")
    outcome = exporter.command.end(signal.SIGTERM)
    ended("serve", outcome.status, outcome.err)
    status[0] = 204
    again = Exporter(start(*arguments))
    wait_for(lambda: again.count(WRITTEN) > 2, "points")
    outcome = again.command.end(signal.SIGTERM)
    ended("serve", outcome.status, outcome.err)


def test_a_moved_spool(start: Launch, fakes: Fakes, simulator: Simulator, tmp_path: Path) -> None:
    """Points of a spool that is moved away wait in memory and are delivered."""
    box = simulator.add(charging())
    status = [503]
    server = fakes(lambda _received: Reply(status[0]))
    config = push_config(tmp_path, server.url, {"garage": box.address})
    exporter = Exporter(start("serve", "--config", str(config), *LISTEN))
    wait_for(lambda: exporter.count(WAITING) >= 2, "points on disk")
    (tmp_path / "spool").rename(tmp_path / "elsewhere")
    exporter.command.line("event=.*spool")
    status[0] = 204
    wait_for(lambda: exporter.count(WRITTEN) > 2, "delivery")
    outcome = exporter.command.end(signal.SIGTERM)
    ended("serve", outcome.status, outcome.err)


def test_read_and_set(start: Launch, simulator: Simulator) -> None:
    """`set` changes a charger, and `read` shows it."""
    box = simulator.add(charging())
    for arguments, shown in (
        (("set", box.address, "max-current", "10"), "10 A"),
        (("read", box.address), "max-current  +10 "),
    ):
        outcome = start(*arguments).end()
        ended(arguments[0], outcome.status, outcome.err)
        assert re.search(shown, outcome.out), outcome.out


def test_demo(start: Launch) -> None:
    """`demo` runs simulated chargers and serves them."""
    exporter = Exporter(start("demo", *LISTEN))
    exporter.wait('goe_up{charger="demo"}', 1)
    outcome = exporter.command.end(signal.SIGINT)
    ended("demo", outcome.status, outcome.err)
