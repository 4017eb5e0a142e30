"""`goe-exporter surplus`: show what would be decided, or give back the charger's settings."""

from __future__ import annotations

import time
from pathlib import Path

import click

from goe_exporter.channels.model import option_name
from goe_exporter.charger.settings import ChargerConfig
from goe_exporter.cli import options, output, surplus_report
from goe_exporter.cli.options import option
from goe_exporter.cli.printable import printable
from goe_exporter.cli.read import INTERVAL_SECONDS, poll_all
from goe_exporter.cli.surplus_report import Found
from goe_exporter.control import lease_file
from goe_exporter.control import release as control_release
from goe_exporter.control.charger_view import NEEDED, NEEDED_TO_FOLLOW, feed_view, missing, view
from goe_exporter.control.lease_file import LeaseFile
from goe_exporter.durable.directory import InUseError
from goe_exporter.errors import GoeExporterError, UsageError
from goe_exporter.polling.poller import Poller
from goe_exporter.service import config
from goe_exporter.service.config import Config
from goe_exporter.surplus.config import SurplusConfig
from goe_exporter.surplus.decision import decide
from goe_exporter.surplus.feed import FeedRule
from goe_exporter.surplus.follow import FollowMemory, Number, follow
from goe_exporter.surplus.lease import Lease
from goe_exporter.surplus.limits import Limits
from goe_exporter.surplus.memory import Memory
from goe_exporter.surplus.meters import open_sources, read_all, sample
from goe_exporter.surplus.settings import Settings
from goe_exporter.surplus.situation import SINGLE, THREE, Situation


@click.command("surplus")
@options.config_file("Configuration file (YAML) with a surplus section.", required=True)
@option("--once", command="surplus", is_flag=True,
        help="Read the sources and the charger once, and show the decision.")  # fmt: skip
@option("--release", command="surplus", is_flag=True,
        help="Give back the settings that surplus charging changed.")  # fmt: skip
@option(
    "--format", "form", command="surplus", type=click.Choice(["text", "json"]), default="text",
    show_default=True, help="Output format.",
)  # fmt: skip
def command(config_file: str, once: bool, release: bool, form: str) -> None:
    """Show what surplus charging would do, or give back the charger's settings.

    With --once, shows what each source returns, the surplus, what would be written to the charger,
    and what is unsafe. Nothing is written to the charger.

    With --release, restores the current, the phase mode and the forced state as they were before
    surplus charging changed them, and ends a pause that a stopped exporter left behind. Stop the
    exporter first.
    """
    if once == release:
        raise UsageError("exactly one of --once and --release is required")
    if release and form == "json":
        raise UsageError("--format: must be text with --release, which has no JSON")
    loaded = config.load(config_file)
    section, charger = loaded.surplus, config.controlled(loaded.surplus, loaded.chargers)
    if section is None or charger is None:
        raise UsageError(f"{config_file} has no surplus section")
    if release and section.mode == "feed":
        raise UsageError("mode: feed changes no setting, so there is nothing to give back")
    if release:
        _release(loaded, section, charger)
        return
    found = _found(loaded, section, charger)
    if form == "json":
        output.print_json(surplus_report.as_json(found))
    else:
        click.echo(surplus_report.text(found))
    failed = [*found.failures, *([found.name] if found.error else [])]
    if failed:
        raise GoeExporterError(f"not usable: {', '.join(failed)}")


def _release(loaded: Config, section: SurplusConfig, charger: ChargerConfig) -> None:
    """Give back what is on loan, and show it."""
    client = charger.connection(loaded.environment_proxies).client()
    try:
        opened = LeaseFile(Path(section.state), charger.serial)
    except InUseError as error:
        raise UsageError(
            f"the surplus state {section.state} is in use by another process;"
            " stop the exporter first"
        ) from error
    name, given = printable(charger.name), 0
    try:
        for written in control_release.release(client, opened):
            value = written.write.describe(written.write.value)
            click.echo(f"{name}: {written.write.channel.option} is now {value}")
            given += 1
    except OSError as error:
        raise GoeExporterError(f"cannot save the state: {error.strerror}") from error
    finally:
        opened.close()
    if opened.damaged:
        raise GoeExporterError(
            f"the state was damaged, and is now {opened.damaged}: what the surplus has changed"
            " is unknown; check max-current, phases and force-state"
        )
    if not given:
        click.echo(f"{name}: nothing to give back")


def _found(loaded: Config, section: SurplusConfig, charger: ChargerConfig) -> Found:
    """Read the sources and the charger, and decide."""
    readings, failures = read_all(open_sources(section), time.monotonic())
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
        named = ", ".join(option_name(each) for each in lacking)
        why = "" if snapshot.api == 2 else "; mode: control requires API v2"
        return found._replace(error=f"the charger does not report {named}{why}")
    found = found._replace(snapshot=snapshot, view=view(snapshot))
    if failures:
        return found
    refresh_s = charger.refresh_interval or loaded.refresh_interval
    if section.mode == "follow":
        return _followed(found, refresh_s)
    if section.mode == "feed":
        return _fed(found, refresh_s)
    return _controlled(found, charger, section.settings(refresh_s))


def _followed(found: Found, refresh_s: float) -> Found:
    value, measured_at, _age_known = found.readings["available"]
    number, settings = Number(value, measured_at), found.section.follow_settings(refresh_s)
    _memory, decision = follow(settings, FollowMemory(), found.now, number, found.view)
    return found._replace(decision=decision)


def _fed(found: Found, refresh_s: float) -> Found:
    assert found.snapshot is not None
    rule = FeedRule(found.section.stale_after, refresh_s)
    rule.polled(feed_view(found.snapshot))
    rule.read(found.now, found.readings)
    return found._replace(decision=rule.decided(found.now))


def _controlled(found: Found, charger: ChargerConfig, settings: Settings) -> Found:
    lease, lease_error = _lease(Path(found.section.state), charger.serial, found.now)
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


def _lease(state: Path, serial: str, now: float) -> tuple[Lease, str]:
    """Return what a running exporter has saved, without a lock, and why it cannot be read."""
    path = lease_file.path(state, serial)
    try:
        return lease_file.read(path, now, time.time()), ""
    except FileNotFoundError:
        return Lease(), ""
    except OSError as error:
        return Lease(), f"{path}: {error.strerror}"
    except ValueError:
        return Lease(), f"{path} is damaged"
