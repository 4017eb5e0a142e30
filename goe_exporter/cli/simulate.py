"""`goe-exporter simulate`: run a simulated charger without the exporter."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click

from goe_exporter import simulator
from goe_exporter.cli.options import FiniteRange, option, parsed
from goe_exporter.config import values
from goe_exporter.errors import UsageError

CONTROLLER = "Controller"
"""The model that is no charger, but a go-e Controller in a house."""

METER_ADDRESS = "127.0.0.1:8081"


@click.command("simulate")
@option("--api", command="simulate", type=click.Choice(["1", "2", "both"]), default="both",
        show_default=True, help="Enabled APIs.")  # fmt: skip
@option("--model", command="simulate", type=click.Choice(["V2", "V3", "V4", "PRO", CONTROLLER]),
        default="V4", show_default=True, help="Hardware model.")  # fmt: skip
@option("--firmware", command="simulate", metavar="VERSION",
        help="Firmware version.", shown_default="a typical one of the model")  # fmt: skip
@option("--speed", command="simulate", type=FiniteRange(0.01, 1000), default=1.0, show_default=True,
        help="Simulated seconds per second.")  # fmt: skip
@option("--listen", command="simulate", metavar="ADDR:PORT", multiple=True,
        default=["127.0.0.1:8080"], show_default=True, callback=parsed(values.listen_addresses),
        help="Address to listen on.")  # fmt: skip
@option("--fault", command="simulate", metavar="NAME[=EVERY]",
        help="Fault of every request, or of every EVERYth request; `list` lists all.")  # fmt: skip
@option("--no-story", command="simulate", is_flag=True,
        help="Plug in no car, so that the charger stays idle.")  # fmt: skip
@option("--house", command="simulate", type=click.Choice(list(simulator.WEATHERS)),
        help="Let the charger belong to a house with solar panels, in this weather.")  # fmt: skip
@option("--meter-listen", command="simulate", metavar="ADDR:PORT",
        shown_default=METER_ADDRESS, callback=parsed(values.listen_address),
        help="Address of the house's meter to listen on.")  # fmt: skip
@option("--meter-fault", command="simulate", type=click.Choice(list(simulator.METER_FAULTS)),
        help="Fault of the house's meter.")  # fmt: skip
def command(
    api: str, model: str, firmware: str | None, speed: float,
    listen: tuple[tuple[str, int], ...],
    fault: str | None, no_story: bool, house: str | None, meter_listen: tuple[str, int] | None,
    meter_fault: str | None,
) -> None:  # fmt: skip
    """Run a simulated charger, to test any client.

    The model Controller is a go-e Controller in a house, a sunny one by default.

    With --house a car is at home from 7 to 20 o'clock, and a meter measures the house. The meter
    answers as Prometheus (/api/v1/query), Shelly (/rpc/EM.GetStatus, /status), Fronius
    (/solar_api/v1/GetPowerFlowRealtimeData.fcgi), evcc (/api/state) and Home Assistant
    (/api/states/sensor.grid_power).
    """
    if fault == "list":
        for name, meaning in simulator.FAULTS.items():
            click.echo(f"{name:<14} {meaning}")
        return
    fault_name, every = _fault(fault)
    _check(
        api, model, no_story, house, {"--meter-listen": meter_listen, "--meter-fault": meter_fault}
    )
    if len(listen) != 1:
        raise UsageError("--listen: must be given once, as a charger has one address")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with simulator.Simulator(speed=speed) as network:
        box: simulator.Box | simulator.ControllerBox
        if model == CONTROLLER:
            measured = simulator.House(house or "sunny")
            controller = simulator.Controller(measured, firmware=firmware)
            with _listening("--listen", listen[0]) as (host, port):
                box = network.add_controller(controller, host=host, port=port)
        else:
            charger = simulator.Charger(model, firmware)
            home = None if house is None else simulator.House(house)
            story = None if no_story else home.live(charger) if home else simulator.story(charger)
            with _listening("--listen", listen[0]) as (host, port):
                box = own = network.add(charger, host, port, api=api, story=story)
            if home is not None:
                home.meter.fault = meter_fault
                where = meter_listen or values.listen_address(METER_ADDRESS)
                with _listening("--meter-listen", where) as (host, port):
                    meter = network.add_meter(home, own, host, port)
                click.echo(f"Simulated meter at http://{meter.address}/.")
        box.fault, box.fault_every = fault_name, every
        click.echo(f"Simulated {model} at http://{box.address}/. Press Ctrl-C to stop.")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


def _check(
    api: str, model: str, no_story: bool, house: str | None, of_meter: Mapping[str, object]
) -> None:
    """Raise `UsageError` for options that contradict each other; `of_meter` needs a house."""
    for name, given in of_meter.items():
        if given is not None and house is None:
            raise UsageError(f"{name}: needs --house, which has the meter")
    if house is not None and no_story:
        raise UsageError("--no-story: cannot be combined with --house, which plugs in a car")
    if model == CONTROLLER:
        if api == "1" or no_story or any(of_meter.values()):
            others = ", ".join(["--api 1", "--no-story", *of_meter])
            raise UsageError(f"--model: {CONTROLLER} cannot be combined with {others}")
    elif api == "2" and not simulator.MODELS[model].v2:
        raise UsageError(f"--api: must be 1 for {model}, which has no API v2")


@contextmanager
def _listening(option: str, address: tuple[str, int]) -> Iterator[tuple[str, int]]:
    """Give the address of an option to a block; name the option if it cannot be used."""
    host, port = address
    try:
        yield host or "0.0.0.0", port  # noqa: S104
    except OSError as error:
        raise values.not_listening(option, host, port, error) from error


def _fault(text: str | None) -> tuple[str | None, int]:
    """Return the name of a fault and the interval in requests, from `NAME[=EVERY]`."""
    if text is None:
        return None, 1
    name, _separator, every = text.partition("=")
    if name not in simulator.FAULTS:
        raise UsageError(f"--fault: must be one of {', '.join(simulator.FAULTS)}, not {name!r:.80}")
    if not (every or "1").isdecimal() or int(every or "1") < 1:
        raise UsageError(f"--fault: EVERY must be a whole number of 1 or more, not {every!r:.80}")
    return name, int(every or "1")
