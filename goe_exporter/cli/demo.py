"""`goe-exporter demo`: run the exporter on simulated chargers."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from goe_exporter import logs, simulator
from goe_exporter.charger.settings import ChargerConfig, ControllerConfig
from goe_exporter.cli import demo_sessions, options
from goe_exporter.cli.options import FiniteRange, option
from goe_exporter.errors import UsageError
from goe_exporter.http_server.server import Server
from goe_exporter.service.config import RunConfig
from goe_exporter.service.service import Service, set_limits
from goe_exporter.sessions.settings import SessionSettings
from goe_exporter.web.history import SPACING_SECONDS, History

POLLS_PER_SECOND = 100
"""More chargers are polled less often, because the demo also does the work of the chargers."""

MAX_SIMULATED_SECONDS = 10_000
"""Simulated seconds per second of all chargers together, which take most of a core."""

START_S = 10 * 3600
"""Time of the day at which the house begins (s): the car is there, and the sun shines."""

FILES_PER_CHARGER, OTHER_FILES = 3, 100
"""Open files: each charger listens, and a connection to it has two ends."""


@click.command("demo")
@options.listen_addresses("Loopback address to listen on", "127.0.0.1:10332", command="demo")
@option("--chargers", "number", command="demo", metavar="NUMBER", type=click.IntRange(1, 1000),
        default=3, show_default=True, help="Number of simulated chargers.")  # fmt: skip
@option("--speed", command="demo", type=FiniteRange(1, 1000), default=5, show_default=True,
        help="Simulated seconds per second.")  # fmt: skip
@option("--house", command="demo", type=click.Choice(["sunny", "scattered", "broken"]),
        help="Let the first charger belong to a house with solar panels.")  # fmt: skip
@options.frame_ancestors
@options.log_format
@options.log_level
def command(
    listen: tuple[tuple[str, int], ...],
    number: int,
    speed: float,
    house: str | None,
    frame_ancestors: tuple[str, ...],
    log_format: Any,
    log_level: str,
) -> None:
    """Run the exporter on simulated chargers.

    At first, one of the three charges, one is full and one has an error; then cars come and go. At
    the default speed, the charts show a simulated hour after 12 minutes. The first three chargers
    have charging sessions since the month before this one. With --house a car is at the first
    charger from 7 to 20 o'clock, beginning at 10; a meter and a go-e Controller measure the house.
    """
    if not all(_on_loopback(host) for host, _port in listen):
        raise UsageError("--web.listen-address: must be a loopback address")
    if number * speed > MAX_SIMULATED_SECONDS:
        most = MAX_SIMULATED_SECONDS / number
        raise UsageError(f"--speed: must be at most {most:g} for {number} chargers, not {speed:g}")
    set_limits()
    _check_files(number)
    logs.configure(log_format, log_level)
    server = Server(listen)
    url = server.urls[0]
    with simulator.Simulator(speed=speed) as network, contextlib.ExitStack() as opened:
        home = simulator.House(house, start_s=START_S) if house else None
        chargers, boxes = _added(network, number, home)
        sessions = _sessions(opened, boxes)
        config = RunConfig(
            chargers,
            max(1.0, number / POLLS_PER_SECOND),
            cards=demo_sessions.CARDS,
            sessions=sessions,
        )
        first = boxes[chargers[0].name]
        which = f" (the first of {number})" if number > 1 else ""
        click.echo(f"Simulated charger:  http://{first.address}/api/status?filter=car,nrg{which}")
        if home:
            meter = network.add_meter(home, first)
            click.echo(f"Simulated meter:    http://{meter.address}/rpc/EM.GetStatus?id=0")
            box = network.add_controller(simulator.Controller(home), first)
            click.echo(f"Simulated house:    http://{box.address}/api/status?filter=ccn,ccp")
            config = config._replace(
                controllers=(ControllerConfig(name="demo-house", host=box.address),)
            )
        click.echo(f"Page:               {url}")
        if sessions is not None:
            click.echo(f"Charging sessions:  {url}sessions")
        click.echo(f"Metrics:            {url}metrics")
        click.echo("Press Ctrl-C to stop.")
        sys.stdout.flush()
        # Every poll has a row, so that the charts show fast motion in detail.
        history = History(spacing_seconds=min(0.9 * config.interval_seconds, SPACING_SECONDS))
        service = Service(config, lambda: config, server, history, frame_ancestors=frame_ancestors)
        service.run(reload_on_sighup=False)


def _added(
    network: simulator.Simulator, number: int, home: simulator.House | None
) -> tuple[tuple[ChargerConfig, ...], dict[str, simulator.Box]]:
    """Add chargers to the network, the first at `home`.

    Returns how the exporter reaches them, and the boxes by name.
    """
    added, boxes = [], {}
    for place, member in enumerate(simulator.fleet(number), 1):
        story = home.live(member.charger) if home and place == 1 else member.story
        box = network.add(member.charger, story=story)
        box.fault = member.fault
        name = f"demo-{place}" if place > 1 else "demo"
        added.append(ChargerConfig(name=name, host=box.address))
        boxes[name] = box
    return tuple(added), boxes


def _sessions(
    opened: contextlib.ExitStack, boxes: Mapping[str, simulator.Box]
) -> SessionSettings | None:
    """Write a store with sessions of the first chargers; None if there is no place for it."""
    try:
        folder = opened.enter_context(
            tempfile.TemporaryDirectory(prefix="goe-exporter-", ignore_cleanup_errors=True)
        )
    except OSError:
        return None
    chosen = demo_sessions.settings(Path(folder))
    recorded = dict(itertools.islice(boxes.items(), len(demo_sessions.HABITS)))
    for box in recorded.values():
        box.catch_up()  # now its story has begun
    chargers = {name: box.charger for name, box in recorded.items()}
    demo_sessions.write(chosen, chargers, time.time())
    return chosen


def _check_files(number: int) -> None:
    """Raise `UsageError` if the process may not open enough files for so many chargers."""
    allowed, _maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = (allowed - OTHER_FILES) // FILES_PER_CHARGER
    if allowed != resource.RLIM_INFINITY and number > most:
        rule = f"must be at most {most} with a limit of {allowed} open files"
        raise UsageError(f"--chargers: {rule}, not {number}")


def _on_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
