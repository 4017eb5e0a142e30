"""The command `goe-exporter`: runs a command, which it imports first, and sets the exit status."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

import click

from goe_exporter import __version__
from goe_exporter.cli.printable import printable
from goe_exporter.errors import GoeExporterError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "capture": "Write the complete status of a charger without private values.",
    "channels": "List the channels with their metrics, fields, units and writable values.",
    "demo": "Run the exporter on simulated chargers.",
    "discover": "Find chargers and Controllers in the local network.",
    "push": "Poll chargers and push their readings to InfluxDB.",
    "read": "Poll chargers once and print their readings.",
    "serve": "Poll chargers and serve their metrics.",
    "sessions": "List charging sessions, and report their cost.",
    "set": "Set a channel of a charger, and wait until the charger reports the value.",
    "simulate": "Run a simulated charger, to test any client.",
    "spool": "Inspect and deliver the points that wait on disk for InfluxDB.",
    "surplus": "Show what surplus charging would do, or give back the charger's settings.",
}
"""Each command's module in this package, and the first line of its help."""

FORMER_NAMES = {
    "config": "config.file",
    "log-format": "log.format",
    "log-level": "log.level",
    "warning": "warn",
}
"""Former names of options, and of the value of one, which are still accepted."""


def main() -> NoReturn:
    """Run the command line and exit: 0 success, 1 failure, 2 wrong usage, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if "_GOE_EXPORTER_COMPLETE" in os.environ:
        from goe_exporter.cli import completion  # noqa: PLC0415, only the shell needs it

        completion.register()
    sys.exit(_run())


class LazyGroup(click.Group):
    """A group that imports a command only to run it, so that start-up is fast.

    `summaries` maps the name of each command to the first line of its help. The command is the
    attribute `command` of the module of the same name.
    """

    def __init__(self, *args: object, summaries: Mapping[str, str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._summaries = summaries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the commands."""
        return sorted(self._summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command, None if there is no command of this name."""
        if cmd_name not in self._summaries:
            return None
        found: click.Command = importlib.import_module(f"goe_exporter.cli.{cmd_name}").command
        return found

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands, without importing them, and the options of the group."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415, only the shell needs it

        found = [
            CompletionItem(name, help=summary)
            for name, summary in sorted(self._summaries.items())
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(self._summaries.items()))


@click.group(
    cls=LazyGroup,
    summaries=COMMANDS,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "token_normalize_func": lambda name: FORMER_NAMES.get(name, name),
    },
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def command() -> None:
    """Export go-eCharger wallbox metrics to Prometheus and InfluxDB, and change settings."""


def _run() -> int:
    status = 0
    try:
        status = command.main(prog_name="goe-exporter", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        status = 2
    except click.ClickException as error:
        _report(error.format_message())
        status = error.exit_code
    except GoeExporterError as error:
        for line in error.lines:
            _report(line)
        status = error.exit_status
    except (click.Abort, KeyboardInterrupt):
        status = 130
    except BrokenPipeError:
        # The reader has closed the pipe; the interpreter must not flush into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        _report(f"{error.filename or 'the output'}: {error.strerror or error}")
        status = 1
    except Exception as error:
        if os.environ.get("GOE_EXPORTER_DEBUG"):
            raise
        _report(f"internal error, please report it: {type(error).__name__}: {error}")
        status = 1
    return status


def _report(message: str) -> None:
    from goe_exporter.logs import coloured  # noqa: PLC0415, only errors need it

    text = f"goe-exporter: {printable(' '.join(message.split()), max_length=1000)}"
    click.echo(click.style(text, fg="red") if coloured(sys.stderr) else text, err=True)
