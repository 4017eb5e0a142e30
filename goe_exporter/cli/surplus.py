"""`goe-exporter surplus`: show once what would be decided, or give the charger back."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from goe_exporter.charger.settings import ChargerConfig
from goe_exporter.cli import options, output, surplus_report
from goe_exporter.cli.options import option
from goe_exporter.cli.printable import printable
from goe_exporter.cli.read import INTERVAL_SECONDS, poll_all
from goe_exporter.cli.surplus_report import Found
from goe_exporter.control import release as control_release
from goe_exporter.control.charger_view import NEEDED, NEEDED_TO_FOLLOW, missing, view
from goe_exporter.control.lease_file import LeaseFile
from goe_exporter.durable.directory import InUseError
from goe_exporter.errors import GoeExporterError, UsageError
from goe_exporter.polling.poller import Poller
from goe_exporter.service import config
from goe_exporter.service.config import Config
from goe_exporter.surplus.config import SurplusConfig
from goe_exporter.surplus.decision import decide
from goe_exporter.surplus.follow import FollowMemory, Number, follow
from goe_exporter.surplus.http_source import DEADLINE_SECONDS
from goe_exporter.surplus.lease import Lease
from goe_exporter.surplus.limits import Limits
from goe_exporter.surplus.memory import Memory
from goe_exporter.surplus.meters import open_sources, sample
from goe_exporter.surplus.settings import Settings
from goe_exporter.surplus.situation import SINGLE, THREE, Situation
from goe_exporter.surplus.source import Reading, SourceError


@click.command("surplus")
@options.config_file("Configuration file (YAML) with a surplus section.", required=True)
@option("--once", command="surplus", is_flag=True,
        help="Read the sources and the charger once.")  # fmt: skip
@option("--release", command="surplus", is_flag=True,
        help="Give back what the surplus changed on the charger.")  # fmt: skip
@option(
    "--format", "form", command="surplus", type=click.Choice(["text", "json"]), default="text",
    show_default=True, help="Output format.",
)  # fmt: skip
def command(config_file: str, once: bool, release: bool, form: str) -> None:
    """Show once what the surplus would decide, or give the charger back.

    With --once, shows what each source returns, the surplus, what would be written to the charger,
    and what is unsafe. Nothing is written to the charger.

    With --release, restores the current, the phase mode and the forced state that were found on the
    charger, also a pause that a stopped exporter has left. Stop the exporter first.
    """
    if once == release:
        raise UsageError("exactly one of --once and --release is required")
    if release and form == "json":
        raise UsageError("--format: must be text with --release, which has no JSON")
    loaded = config.load(config_file)
    if loaded.surplus is None:
        raise UsageError(f"{config_file} has no surplus section")
    if release:
        _release(loaded, loaded.surplus)
        return
    found = _found(loaded, loaded.surplus)
    if form == "json":
        output.print_json(surplus_report.as_json(found))
    else:
        click.echo(surplus_report.text(found))
    failed = [*found.failures, *([found.name] if found.error else [])]
    if failed:
        raise GoeExporterError(f"not usable: {', '.join(failed)}")


def _release(loaded: Config, section: SurplusConfig) -> None:
    """Give back what is on loan, and show it."""
    charger = next(each for each in loaded.chargers if each.name == section.charger)
    client = charger.connection(loaded.environment_proxies).client()
    try:
        lease_file = LeaseFile(Path(section.state), charger.serial)
    except InUseError as error:
        raise UsageError(
            f"the surplus state {section.state} is in use by another process;"
            " stop the exporter first"
        ) from error
    name, given = printable(charger.name), 0
    try:
        for written in control_release.release(client, lease_file):
            value = written.write.describe(written.write.value)
            click.echo(f"{name}: {written.write.channel.option} is now {value}")
            given += 1
    except OSError as error:
        raise GoeExporterError(f"cannot save the state: {error.strerror}") from error
    finally:
        lease_file.close()
    if lease_file.damaged:
        raise GoeExporterError(
            f"the state was damaged, and is now {lease_file.damaged}: what the surplus has changed"
            " is unknown; check max-current, phases and force-state"
        )
    if not given:
        click.echo(f"{name}: the surplus has changed nothing that is left to give back")


def _found(loaded: Config, section: SurplusConfig) -> Found:
    """Read the sources and the charger, and decide."""
    charger = next(each for each in loaded.chargers if each.name == section.charger)
    until = time.monotonic() + DEADLINE_SECONDS
    readings: dict[str, Reading] = {}
    failures: dict[str, SourceError] = {}
    for name, source in open_sources(section).items():
        try:
            readings[name] = source.read(until)
        except SourceError as error:
            failures[name] = error
    # The charger is polled last: what is decided with an old poll is "unreachable".
    place = charger.connection(loaded.environment_proxies)
    poller = Poller(place.name, place.host, place.client(), INTERVAL_SECONDS)
    failure = poll_all(poller)
    now, snapshot = time.monotonic(), poller.view().snapshot
    found = Found(section, charger.name, charger.host, now, readings, failures)
    if failure is not None or snapshot is None:
        return found._replace(error=str(failure))
    needed = NEEDED if section.mode == "control" else NEEDED_TO_FOLLOW
    if lacking := missing(snapshot, needed):
        named = ", ".join(each.replace("_", "-") for each in lacking)
        why = "" if snapshot.api == 2 else "; mode: control requires API v2"
        return found._replace(error=f"the charger does not report {named}{why}")
    found = found._replace(snapshot=snapshot, view=view(snapshot))
    if failures:
        return found
    refresh_s = charger.refresh_interval or loaded.refresh_interval
    if section.mode == "follow":
        return _followed(found, refresh_s)
    return _controlled(found, charger, section.settings(refresh_s))


def _followed(found: Found, refresh_s: float) -> Found:
    value, measured_at, _age_known = found.readings["available"]
    number, settings = Number(value, measured_at), found.section.follow_settings(refresh_s)
    _memory, decision = follow(settings, FollowMemory(), found.now, number, found.view)
    return found._replace(decision=decision)


def _controlled(found: Found, charger: ChargerConfig, settings: Settings) -> Found:
    lease, lease_error = _lease(Path(found.section.state) / f"{charger.serial}.json", found.now)
    situation = Situation(found.now, sample(found.readings), found.view)
    memory, decision = decide(settings, Memory(lease), situation)
    found = found._replace(decision=decision, lease_error=lease_error)
    latest = memory.supply.latest
    if latest is None or found.view is None:
        return found
    limits = Limits(settings, memory, found.view)
    modes = (THREE, SINGLE) if limits.can_switch else (limits.lowest_mode,)
    enough = [mode for mode in modes if latest.surplus_w >= limits.minimum_w(mode)]
    offer = None
    if enough:
        volts = limits.used(enough[0]) * limits.volts
        offer = enough[0], limits.clamped(latest.surplus_w / volts, enough[0])
    minimum_w = limits.minimum_w(modes[-1])
    return found._replace(surplus_w=latest.surplus_w, offer=offer, minimum_w=minimum_w)


def _lease(path: Path, now: float) -> tuple[Lease, str]:
    """Return what a running exporter has saved, without a lock, and why it cannot be read."""
    try:
        return Lease.loaded(json.loads(path.read_bytes()), now, time.time()), ""
    except FileNotFoundError:
        return Lease(), ""
    except OSError as error:
        return Lease(), f"{path}: {error.strerror}"
    except (ValueError, RecursionError):
        return Lease(), f"{path} is damaged"
