"""Options of several commands; each can also be set by an environment variable."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from goe_exporter.config import values
from goe_exporter.web import paths

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from goe_exporter.service.sharding import Shard

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
    """An option whose help shows `shown_default`, where the default is no value of the option.

    It can also be set by `former_variable`, which the help does not show. As in Prometheus'
    exporters, an option with one value must not be given twice: one value would be ignored.
    """

    def __init__(
        self,
        *arguments: Any,
        shown_default: str = "",
        former_variable: str = "",
        **attributes: Any,
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.shown_default = shown_default
        self.former_variable = former_variable

    @property
    def _has_one_value(self) -> bool:
        return not self.multiple and not self.is_flag

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let the parser collect all values of the option."""
        if self._has_one_value:
            parser.add_option(obj=self, opts=self.opts, dest=self.name, action="append")
        else:
            super().add_to_parser(parser, ctx)

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """Process the value, or fail if there are several."""
        if self._has_one_value and self.name in opts:
            *others, value = opts[self.name]
            if others and not ctx.resilient_parsing:
                raise click.UsageError(f"{self.opts[0]} must not be given more than once")
            opts = {**opts, self.name: value}
        return super().handle_parse_result(ctx, opts, args)

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return the value of the variable, else of the former one."""
        return super().resolve_envvar_value(ctx) or os.environ.get(self.former_variable) or None

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
        attributes |= {"shell_complete": _file, "callback": parsed(values.file_name)}
    long = next(name for name in names if name.startswith("--"))
    name = f"{command} {long.split('/')[0].lstrip('-')}".strip()
    variable = re.sub("[-. ]", "_", name).upper()
    attributes |= {"cls": _Option, "envvar": f"GOE_EXPORTER_{variable}", "show_envvar": True}
    return click.option(*names, **attributes)


def parsed(parser: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return a click callback that parses an option's value; `parser` raises `ValueError`.

    The value of a repeatable option is a tuple of texts.
    """

    def callback(
        _context: click.Context, parameter: click.Parameter, value: str | tuple[str, ...] | None
    ) -> Any:
        if value is None:
            return None
        try:
            return parser(value)
        except ValueError as error:
            raise click.UsageError(f"{parameter.opts[0]}: {error}") from None

    return callback


def config_file(purpose: str, *, required: bool = False) -> Callable[[Command], Command]:
    """Return the option for the configuration file, with its help."""
    return option(
        "--config.file", "config_file", metavar="FILE", required=required, help=purpose,
        former_variable="GOE_EXPORTER_CONFIG",
    )  # fmt: skip


def listen_addresses(
    purpose: str, default: str = "", *, command: str = ""
) -> Callable[[Command], Command]:
    """Return the option for the addresses of the web server: a tuple of (host, port)."""
    return option(
        "--web.listen-address", "listen", command=command, metavar="ADDR:PORT", multiple=True,
        default=[default] if default else [], shown_default=default or "no web server",
        callback=parsed(values.listen_addresses), help=f"{purpose}; repeatable.",
    )  # fmt: skip


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
telemetry_path = option(
    "--web.telemetry-path", "telemetry_path", metavar="PATH",
    callback=parsed(lambda text: paths.telemetry_path(values.path(text))),
    help="Path of the metrics.", shown_default=paths.METRICS,
)  # fmt: skip
external_url = option(
    "--web.external-url", "external_url", metavar="URL", callback=parsed(values.external_url),
    help="URL under which the exporter is reached, such as that of a reverse proxy.",
)  # fmt: skip
route_prefix = option(
    "--web.route-prefix", "route_prefix", metavar="PATH", callback=parsed(values.path_prefix),
    help="Prefix of all paths; / behind a proxy that removes the path of the external URL.",
    shown_default="path of --web.external-url",
)  # fmt: skip
frame_ancestors = option(
    "--web.frame-ancestors", "frame_ancestors", metavar="ORIGIN", multiple=True,
    default=("none",), show_default=True, callback=parsed(values.frame_ancestors),
    help="Origins of pages that may show this page in a frame, or self; repeatable.",
)  # fmt: skip


def _shard(text: object) -> Shard:
    # Imported here: of the commands that share these options, only two have this one.
    from goe_exporter.service import sharding  # noqa: PLC0415

    return sharding.shard(text)


shard = option(
    "--shard", metavar="NUMBER/COUNT", callback=parsed(_shard),
    help="Poll only the chargers of this process, NUMBER (from 0) of COUNT; auto/COUNT takes NUMBER"
    " from the end of the host name.",
)  # fmt: skip
log_format = option(
    "--log.format", "log_format", type=click.Choice(["logfmt", "json"]), default="logfmt",
    show_default=True, help="Format of log lines.",
)  # fmt: skip
log_level = option(
    "--log.level", "log_level", type=click.Choice(["debug", "info", "warn", "error"]),
    default="info", show_default=True, help="Minimum log level.",
)  # fmt: skip
hosts = click.argument("hosts", nargs=-1, metavar="[NAME=]HOST...", envvar="GOE_EXPORTER_HOSTS")
