"""`goe-exporter simulate`: run a simulated charger without the exporter."""

from __future__ import annotations

import signal
import sys

import click

from goe_exporter import simulator
from goe_exporter.cli.options import FiniteRange, option, parsed
from goe_exporter.config import values
from goe_exporter.errors import UsageError


@click.command("simulate")
@option("--api", command="simulate", type=click.Choice(["1", "2", "both"]), default="both",
        show_default=True, help="Enabled APIs.")  # fmt: skip
@option("--model", command="simulate", type=click.Choice(["V2", "V3", "V4", "PRO"]), default="V4",
        show_default=True, help="Hardware model.")  # fmt: skip
@option("--firmware", command="simulate", metavar="VERSION",
        help="Firmware version.", shown_default="a typical one of the model")  # fmt: skip
@option("--speed", command="simulate", type=FiniteRange(0.01, 1000), default=1.0, show_default=True,
        help="Simulated seconds per second.")  # fmt: skip
@option("--listen", command="simulate", metavar="ADDR:PORT", multiple=True,
        default=["127.0.0.1:8080"], show_default=True, callback=parsed(values.listen_address),
        help="Address to listen on.")  # fmt: skip
@option("--fault", command="simulate", metavar="NAME[=EVERY]",
        help="Fault of every request, or of every EVERYth request; `list` lists all.")  # fmt: skip
@option("--no-story", command="simulate", is_flag=True,
        help="Plug in no car, so that the charger stays idle.")  # fmt: skip
def command(
    api: str, model: str, firmware: str | None, speed: float,
    listen: tuple[tuple[str, int], ...],
    fault: str | None, no_story: bool,
) -> None:  # fmt: skip
    """Run a simulated charger, to test any client."""
    if fault == "list":
        for name, meaning in simulator.FAULTS.items():
            click.echo(f"{name:<14} {meaning}")
        return
    fault_name, every = _fault(fault)
    if api == "2" and not simulator.MODELS[model].v2:
        raise UsageError(f"--api: must be 1 for {model}, which has no API v2")
    if len(listen) != 1:
        raise UsageError("--listen: must be given once, as a charger has one address")
    charger = simulator.Charger(model=model, firmware=firmware)
    story = None if no_story else simulator.story(charger)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with simulator.Simulator(speed=speed) as chargers:
        [(host, port)] = listen
        try:
            box = chargers.add(charger, host or "0.0.0.0", port, api=api, story=story)  # noqa: S104
        except OSError as error:
            raise values.not_listening("--listen", host, port, error) from error
        box.fault, box.fault_every = fault_name, every
        click.echo(f"Simulated {model} at http://{box.address}/. Press Ctrl-C to stop.")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


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
