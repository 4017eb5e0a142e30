"""`goe-exporter demo` and `simulate`: the simulated charger, with the exporter or alone."""

from __future__ import annotations

import signal
import sys
from typing import Any

import click

from goe_exporter.cli import options
from goe_exporter.cli.options import FiniteRange, by, option
from goe_exporter.errors import UsageError

DETAIL_SECONDS = 0.9
"""The demo lives through a minute in a second, so its charts keep every poll, for 12 minutes."""


@click.command()
@option(
    "--web.listen-address", "listen", of="demo", metavar="ADDR:PORT", default="127.0.0.1:10332",
    show_default=True, callback=by("listen_address"), help="A loopback address.",
)  # fmt: skip
@option("--speed", of="demo", type=FiniteRange(1, 1000), default=60, show_default=True,
         help="Simulated seconds in a second.")  # fmt: skip
@options.log_format
@options.log_level
def demo(listen: tuple[str, int], speed: float, log_format: Any, log_level: str) -> None:
    """Run it all on a simulated charger: a car plugs in, charges, fails, finishes, leaves."""
    from goe_exporter import logs, simulator
    from goe_exporter.config.values import ChargerConfig
    from goe_exporter.http_server.server import Server
    from goe_exporter.service import service
    from goe_exporter.web import history

    if not _on_loopback(listen[0]):
        raise UsageError("--web.listen-address: the demo listens on loopback only")
    logs.configure(log_format, log_level)
    server = Server(*listen)
    charger = simulator.Charger(model="V4", name="Demo charger", serial="123456")
    with simulator.Simulator(speed=speed) as chargers:
        box = chargers.add(charger, story=simulator.story(charger))
        click.echo(f"A simulated charger is at  http://{box.address}/api/status?filter=car,nrg")
        click.echo(f"Its page is at             {server.url}")
        click.echo(f"Its metrics are at         {server.url}metrics")
        click.echo("Ctrl-C ends it.")
        sys.stdout.flush()
        wishes = service.Wishes((ChargerConfig(name="demo", host=box.address),), 1.0)
        past = history.History(spacing_seconds=DETAIL_SECONDS)
        service.Service(wishes, lambda: wishes, server, past).run(reloads_at_hangup=False)


@click.command()
@option("--api", of="simulate", type=click.Choice(["1", "2", "both"]), default="both",
         show_default=True, help="APIs that are switched on.")  # fmt: skip
@option("--model", of="simulate", type=click.Choice(["V2", "V3", "V4", "PRO"]), default="V4",
         show_default=True, help="Hardware.")  # fmt: skip
@option("--firmware", of="simulate", help="Firmware version.  [default: one typical of the model]")
@option("--speed", of="simulate", type=FiniteRange(0.01, 1000), default=1.0, show_default=True,
         help="Simulated seconds in a second.")  # fmt: skip
@option("--listen", of="simulate", metavar="ADDR:PORT", default="127.0.0.1:8080", show_default=True,
         callback=by("listen_address"), help="Where the charger answers.")  # fmt: skip
@option("--fault", of="simulate", metavar="NAME[=EVERY]",
         help="Answer wrongly, always or every so many requests; `list` names all.")  # fmt: skip
@option("--no-story", of="simulate", is_flag=True, help="No car comes; the charger stays idle.")
def simulate(
    api: str, model: str, firmware: str | None, speed: float, listen: tuple[str, int],
    fault: str | None, no_story: bool,
) -> None:  # fmt: skip
    """Run only a simulated charger, to try the exporter or any other client on."""
    from goe_exporter import simulator
    from goe_exporter.config.values import not_listening

    if fault == "list":
        for name, meaning in simulator.FAULTS.items():
            click.echo(f"{name:<14} {meaning}")
        return
    fault_name, every = _fault(fault)
    if api == "2" and not simulator.MODELS[model].v2:
        raise UsageError(f"--api: hardware {model} has API 1 only")
    charger = simulator.Charger(model=model, firmware=firmware)
    story = None if no_story else simulator.story(charger)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with simulator.Simulator(speed=speed) as chargers:
        host, port = listen
        try:
            box = chargers.add(charger, host or "0.0.0.0", port, api=api, story=story)  # noqa: S104
        except OSError as error:
            raise not_listening("--listen", host, port, error) from error
        box.fault, box.fault_every = fault_name, every
        click.echo(f"A simulated {model} is at http://{box.address}/. Ctrl-C ends it.")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


def _on_loopback(host: str) -> bool:
    import ipaddress

    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _fault(text: str | None) -> tuple[str | None, int]:
    """Return the fault's name and how often it comes, from `NAME[=EVERY]`."""
    from goe_exporter.simulator import FAULTS

    if text is None:
        return None, 1
    name, _separator, every = text.partition("=")
    if name not in FAULTS:
        raise UsageError(f"--fault: one of {', '.join(FAULTS)}, not {name!r:.80}")
    if not (every or "1").isdecimal() or int(every or "1") < 1:
        raise UsageError(f"--fault: every so many requests, 1 or more, not {every!r:.80}")
    return name, int(every or "1")
