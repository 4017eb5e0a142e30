"""Exhausted resources: file descriptors, and a name server that does not answer.

A full disk has its test in `test_push`.
"""

from __future__ import annotations

import contextlib
import http.client
import resource
import signal
from pathlib import Path

import pytest
from commands import Launch
from exporters import LISTEN, Exporter, charging
from fake_influx import FakeInflux
from name_server import NameServer
from servers import push_config, wait_for

from goe_exporter.simulator import Simulator


def descriptors(process: int) -> int:
    """Return the number of open files and sockets of a process."""
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def test_as_many_descriptors_as_allowed(launch: Launch, simulator: Simulator) -> None:
    """The soft limit, usually 1024, is raised to the hard limit."""
    box = simulator.add(charging("V4"))
    exporter = Exporter(
        launch("serve", box.address, *LISTEN, within=("prlimit", "--nofile=256:1500"))
    )
    soft = resource.prlimit(exporter.command.process.pid, resource.RLIMIT_NOFILE)[0]
    assert soft == 1500
    assert exporter.command.end(signal.SIGTERM).status == 0


def test_out_of_descriptors(launch: Launch, simulator: Simulator, tmp_path: Path) -> None:
    """Polls and deliveries fail with a log event, no point is lost or repeated, and all recover."""
    box = simulator.add(charging("V4"), api="2")
    with FakeInflux() as influx:
        config = push_config(tmp_path, influx.url, {"garage": box.address})
        exporter = Exporter(launch("serve", "--config", str(config), *LISTEN))
        exporter.wait('goe_up{charger="garage"}', 1)
        wait_for(lambda: len(influx.taken) >= 2, "points")
        process = exporter.command.process.pid
        before = resource.prlimit(process, resource.RLIMIT_NOFILE)
        kept = http.client.HTTPConnection("127.0.0.1", int(exporter.url.split(":")[2][:-1]))
        with contextlib.closing(kept):
            kept.request("GET", "/-/healthy")
            assert kept.getresponse().read() == b"healthy\n"
            resource.prlimit(process, resource.RLIMIT_NOFILE, (3, before[1]))
            exporter.command.line("poll failed.*reason=unreachable.*Too many open files")
            exporter.command.line("delivery failed.*Too many open files")
            kept.request("GET", "/metrics")
            text = kept.getresponse().read().decode()
        assert 'goe_up{charger="garage"} 0.0' in text
        assert 'goe_poll_failures_total{charger="garage",reason="unreachable"} 0.0' not in text
        resource.prlimit(process, resource.RLIMIT_NOFILE, before)
        exporter.wait('goe_up{charger="garage"}', 1)
        exporter.wait("goe_influx_spooled_points", 0)
        assert exporter.value("goe_exporter_defects_total") == 0
        most = descriptors(process)
        assert exporter.command.end(signal.SIGTERM).status == 0
        polls = sum(b"up=" in line for line in influx.taken)
        assert polls == len(influx.taken) == len(set(influx.taken))
    assert most < 40
    text = "".join(exporter.command.err)
    assert "Traceback" not in text
    assert text.count("poll failed") == text.count("delivery failed") == 1
    assert text.count("poll succeeded again") == text.count("delivery recovered") == 1


@pytest.mark.parametrize("manner", ["silent", "broken"])
def test_name_server_dies(
    launch: Launch, simulator: Simulator, tmp_path: Path, manner: str
) -> None:
    """A charger with a name fails with its reason, others go on, and no point is lost."""
    named, plain = simulator.add(charging("V4"), api="2"), simulator.add(charging("V4"), api="2")
    port = named.address.rpartition(":")[2]
    with NameServer(tmp_path) as names, FakeInflux() as influx:
        chargers = {"named": f"charger.test:{port}", "plain": plain.address}
        server = f"http://influx.test:{influx.server_address[1]}"
        config = push_config(tmp_path, server, chargers)
        running = launch("serve", "--config", str(config), *LISTEN, within=names.within)
        exporter = Exporter(running)
        exporter.wait('goe_up{charger="named"}', 1)
        wait_for(lambda: len(influx.taken) >= 4, "points")
        setattr(names, manner, True)
        exporter.wait('goe_up{charger="named"}', 0)
        running.line("poll failed.*charger=named reason=dns.*cannot be resolved")
        running.line("delivery failed.*reason=dns")
        polls = plain.requests
        wait_for(lambda: plain.requests >= polls + 5, "polls of the other")
        found = exporter.samples()
        assert found['goe_poll_failures_total{charger="named",reason="dns"}'] >= 1
        assert found['goe_up{charger="plain"}'] == 1
        assert found['goe_poll_failures_total{charger="plain",reason="dns"}'] == 0
        setattr(names, manner, False)
        exporter.wait('goe_up{charger="named"}', 1)
        wait_for(lambda: exporter.delivery()["failing"] == "", "the end of the failure")
        exporter.wait("goe_influx_spooled_points", 0)
        assert plain.max_concurrent == named.max_concurrent == 1
        setattr(names, manner, True)
        exporter.wait('goe_up{charger="named"}', 0)
        assert running.end(signal.SIGTERM).status == 0
        assert len(influx.taken) == len(set(influx.taken))
        assert sum(b"charger=plain," in line for line in influx.taken) >= polls + 5
    assert "Traceback" not in "".join(running.err)
