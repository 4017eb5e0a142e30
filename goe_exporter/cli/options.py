"""Options of several commands; each can also be set by an environment variable."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from goe_exporter.config import values

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Command = Callable[..., Any]


class FiniteRange(click.FloatRange):
    """A finite number in a range; click's own range accepts NaN."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or fail with the name of the option."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


class _Option(click.Option):
    """An option whose help shows `shown_default`, where the default is no value of the option."""

    def __init__(self, *arguments: Any, shown_default: str = "", **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.shown_default = shown_default

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Return what the help shows after the text."""
        extra = super().get_help_extra(ctx)
        if self.shown_default:
            extra["default"] = self.shown_default
        return extra


def _file(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell complete the path of a file."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415, only the shell needs it

    return [CompletionItem(incomplete, type="file")]


def option(*names: str, command: str = "", **attributes: Any) -> Callable[[Command], Command]:
    """Return a click option that can also be set by the variable `GOE_EXPORTER_` and its name.

    `command` is a part of that name if other commands have an option of the same name.
    `shown_default` describes a default that is no value of the option.
    """
    if attributes.get("metavar") == "FILE":
        attributes["shell_complete"] = _file
    long = next(name for name in names if name.startswith("--"))
    name = f"{command} {long.split('/')[0].lstrip('-')}".strip()
    variable = re.sub("[-. ]", "_", name).upper()
    attributes |= {"cls": _Option, "envvar": f"GOE_EXPORTER_{variable}", "show_envvar": True}
    return click.option(*names, **attributes)


def parsed(parser: Callable[[object], Any]) -> Callable[..., Any]:
    """Return a click callback that parses an option's value; `parser` raises `ValueError`."""

    def callback(_context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        try:
            return parser(value)
        except ValueError as error:
            raise click.UsageError(f"{parameter.opts[0]}: {error}") from None

    return callback


api = option(
    "--api", type=click.Choice(["auto", "1", "2"]), default="auto", show_default=True,
    help="API version to use; auto detects it.",
)  # fmt: skip
token_file = option(
    "--token-file", metavar="FILE", help="File with the bearer token for the vendor's cloud."
)
refresh_interval = option(
    "--refresh-interval", metavar="DURATION", callback=parsed(values.interval),
    help="Interval between polls of a charger.", shown_default="5s",
)  # fmt: skip
web_config = option(
    "--web.config.file", "web_config", metavar="FILE",
    help="TLS and authentication, in the format of the Prometheus exporter toolkit.",
)  # fmt: skip
open_health = option(
    "--web.open-health",
    "open_health",
    is_flag=True,
    help="Serve the health endpoints without authentication.",
)
log_format = option(
    "--log-format", type=click.Choice(["logfmt", "json"]), default="logfmt", show_default=True,
    help="Format of log lines.",
)  # fmt: skip
log_level = option(
    "--log-level", type=click.Choice(["debug", "info", "warning"]), default="info",
    show_default=True, help="Minimum log level.",
)  # fmt: skip
hosts = click.argument("hosts", nargs=-1, metavar="[NAME=]HOST...", envvar="GOE_EXPORTER_HOSTS")
