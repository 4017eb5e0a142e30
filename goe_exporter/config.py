"""The configuration file (YAML) and the texts that options share with it.

Strict: an unknown key, a doubled one or a value of the wrong kind is a `ConfigError` that names
the place (`chargers[0].api`) and what is allowed there.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from goe_exporter.errors import ConfigError

SHORTEST_INTERVAL_SECONDS = 1.0
LONGEST_INTERVAL_SECONDS = 86_400.0
LARGEST_PORT = 65_535
LONGEST_NAME = 500
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SIZE = re.compile(r"([0-9]{1,6})(KiB|MiB|GiB)")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_HOST = re.compile(
    r"(?:https?://)?(?:\[([0-9A-Fa-f:.]+)(?:%\w+)?\]|\w[\w-]*(?:\.[\w-]+)*\.?)(?::(\d+))?/?"
)
_LONGEST_SHOWN = 80


def seconds(text: object) -> float:
    """Return the seconds of a duration such as `5s`, `500ms`, `1.5m`; raises `ValueError`."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"a duration such as 5s, 500ms or 1m, not {_shown(text)}")
    return float(match[1]) * _SECONDS[match[2]]


def interval(text: object) -> float:
    """Return a refresh interval in seconds, 1 s at the least; raises `ValueError`."""
    value = seconds(text)
    if value < SHORTEST_INTERVAL_SECONDS:
        raise ValueError(f"1s or longer, not {_shown(text)}")
    if value > LONGEST_INTERVAL_SECONDS:
        raise ValueError(f"24h or shorter, not {_shown(text)}")
    return value


def host(text: object) -> str:
    """Return a host as the client takes it; raises `ValueError`."""
    match = _HOST.fullmatch(text) if isinstance(text, str) else None
    if match is None or not _is_ipv6(match[1]) or not 0 <= int(match[2] or 0) <= LARGEST_PORT:
        raise ValueError(f"a host or address, with a port if need be, not {_shown(text)}")
    return match[0].removesuffix("/")


def listen_address(text: object) -> tuple[str, int]:
    """Return (host, port) of `ADDR:PORT`, the host empty for all interfaces.

    Raises `ValueError`.
    """
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\s]*):([0-9]{1,5})", str(text))
    if match is None or int(match[2]) > LARGEST_PORT:
        raise ValueError(f"ADDR:PORT or :PORT, as in 127.0.0.1:10332, not {_shown(text)}")
    return match[1].strip("[]"), int(match[2])


def size(text: object) -> int:
    """Return the bytes of a size such as `512MiB`, 1 MiB at the least; raises `ValueError`."""
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match[1]) * _BYTES[match[2]] < _BYTES["MiB"]:
        raise ValueError(f"a size of 1MiB or more, as in 512MiB or 2GiB, not {_shown(text)}")
    return int(match[1]) * _BYTES[match[2]]


def _url(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text):
        raise ValueError(f"http://HOST:PORT or https://…, without a user, not {_shown(text)}")
    return text.rstrip("/")


def _tag_name(text: object) -> str:
    if not isinstance(text, str) or not text or text in ("charger", "serial") or text[0] == "_":
        raise ValueError(f"the name of a further tag, not {_shown(text)}")
    return text


def _timeout() -> float:
    milliseconds = os.environ.get("INFLUXDB_V2_TIMEOUT", "10000")
    return int(milliseconds) / 1000 if milliseconds.isdecimal() else 10.0


def _is_ipv6(text: str | None) -> bool:
    """Tell whether the address in brackets, if there is one, is an IPv6 address."""
    try:
        return text is None or bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


def _shown(value: object) -> str:
    """Return a value as an error shows it, not too long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def _api(value: object) -> object:
    return str(value) if value in (1, 2) and not isinstance(value, bool) else value


def _charger_name(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_NAME or _torn(value):
        raise ValueError(f"a text of 1 to {LONGEST_NAME} characters, not {_shown(value)}")
    return value


def _torn(text: str) -> bool:
    """Tell whether a text holds half a surrogate pair, which no encoder takes."""
    return text.encode("utf-8", "replace").decode() != text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChargerConfig(_Strict):
    """One charger: what to call it, where it is, and how to ask it.

    `refresh_interval` is in seconds once loaded, None for the common one; `token_file` holds the
    bearer token of the vendor's cloud, `token` its content.
    """

    name: Annotated[str, BeforeValidator(_charger_name)]
    host: Annotated[str, BeforeValidator(host)]
    api: Annotated[Literal["auto", "1", "2"], BeforeValidator(_api)] = "auto"
    refresh_interval: Annotated[float, BeforeValidator(interval)] | None = None
    token_file: str | None = None

    @property
    def url(self) -> str:
        """Where the charger's API begins."""
        return self.host if "://" in self.host else f"http://{self.host}"

    def token(self) -> str | None:
        """Return the token in `token_file`; raises `ConfigError` if it cannot be read."""
        return None if self.token_file is None else read_token(self.token_file)


class InfluxSettings(_Strict):
    """Where points go and how (DESIGN §7); `timeout` is in seconds, `spool_limit` in bytes.

    `bucket` is the database for `api: v1`. influxdb-client's own environment variables
    (`INFLUXDB_V2_URL`, `_ORG`, `_TOKEN`, `_TIMEOUT`, `_VERIFY_SSL`, `_SSL_CA_CERT`) stand in for
    what the file leaves out.
    """

    url: Annotated[str, BeforeValidator(_url)] = Field(
        default_factory=lambda: os.environ.get("INFLUXDB_V2_URL", "http://localhost:8086")
    )
    api: Literal["v2", "v1"] = "v2"
    org: str = Field(default_factory=lambda: os.environ.get("INFLUXDB_V2_ORG", ""))
    bucket: str = Field(min_length=1)
    token_file: str | None = None
    token_env: str | None = None
    username: str = ""
    password_file: str | None = None
    spool: str = "/var/lib/goe-exporter/spool"
    spool_limit: Annotated[int, BeforeValidator(size)] = 512 * 1024 * 1024
    batch: int = Field(default=5000, ge=1, le=5000)
    timeout: Annotated[float, BeforeValidator(seconds)] = Field(default_factory=_timeout)
    verify_tls: bool = Field(
        default_factory=lambda: os.environ.get("INFLUXDB_V2_VERIFY_SSL", "true").lower() != "false"
    )
    ca_file: str | None = Field(
        default_factory=lambda: os.environ.get("INFLUXDB_V2_SSL_CA_CERT") or None
    )
    tags: dict[Annotated[str, BeforeValidator(_tag_name)], str] = Field(default_factory=dict)

    def token(self) -> str:
        """Return the token from the file, the named variable, or `INFLUXDB_V2_TOKEN`."""
        if self.token_file is not None:
            return read_token(self.token_file)
        if self.token_env is not None and not os.environ.get(self.token_env):
            raise ConfigError(f"influxdb.token_env: the variable {self.token_env} is not set")
        variable = self.token_env or "INFLUXDB_V2_TOKEN"
        token = os.environ.get(variable, "")
        if token and not (token.isascii() and token.isprintable()):
            raise ConfigError(f"the token in {variable} must be one line of ASCII text")
        if self.username and not token:
            return ":".join(self.login())
        return token

    def login(self) -> tuple[str, str]:
        """Return user name and password, both empty if no user is given."""
        password = read_token(self.password_file) if self.password_file is not None else ""
        return self.username, password


class Config(_Strict):
    """The whole configuration; `refresh_interval` is in seconds once loaded.

    `environment_proxies` lets `HTTP_PROXY` and the like count for requests to chargers.
    """

    refresh_interval: Annotated[float, BeforeValidator(interval)] = 5.0
    environment_proxies: bool = False
    chargers: tuple[ChargerConfig, ...] = Field(default=())
    influxdb: InfluxSettings | None = None


_SECTIONS: dict[str, type[_Strict]] = {"chargers": ChargerConfig, "influxdb": InfluxSettings}


def load(path: str) -> Config:
    """Read a configuration file; raises `ConfigError` with the file, the place and the rule."""
    try:
        document = yaml.load(Path(path).read_text("utf-8"), Loader=_Loader)  # noqa: S506
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {_os_reason(error)}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        words = str(error.problem)
        if words.startswith("but "):
            words = f"{error.context}, {words}"
        raise ConfigError(f"{path}{place}: {words}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first_line = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{path}: no YAML: {first_line}") from error
    return parse({} if document is None else document, path)


def parse(document: object, source: str) -> Config:
    """Return the configuration of a parsed document; raises `ConfigError` naming `source`."""
    if not isinstance(document, dict):
        raise ConfigError(f"{source}: keys and values are wanted, not {document!r:.80}")
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_sentence(error)}") from None
    check_names(config.chargers, source)
    for charger in config.chargers:
        charger.token()
    if config.influxdb is not None:
        config.influxdb.token()
        config.influxdb.login()
    return config


def check_names(chargers: tuple[ChargerConfig, ...], source: str) -> None:
    """Raise `ConfigError` if two chargers have the same name."""
    seen: set[str] = set()
    for charger in chargers:
        if charger.name in seen:
            raise ConfigError(f"{source}: two chargers are named {charger.name!r}")
        seen.add(charger.name)


def charger_argument(text: str) -> ChargerConfig:
    """Return the charger of a command line's `[NAME=]HOST`; raises `ConfigError`."""
    name, separator, place = text.partition("=")
    if not separator:
        name, place = text, text
    try:
        return ChargerConfig(name=name, host=place)
    except ValidationError as error:
        raise ConfigError(f"charger {text!r:.80}: {_sentence(error)}") from None


def read_token(path: str) -> str:
    """Return the secret in a file; raises `ConfigError` if there is none to read."""
    try:
        token = Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the token file {path}: {_os_reason(error)}") from error
    if not token.isascii() or not token.isprintable() or not token:
        raise ConfigError(f"the token file {path} must hold one line of ASCII text")
    return token


def _os_reason(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return error.strerror or str(error)


def _sentence(error: ValidationError) -> str:
    """Return the first thing wrong, and how many more there are."""
    first, *more = error.errors(include_url=False)
    rest = f" (and {len(more)} more)" if more else ""
    return f"{_problem(first)}{rest}"


def _problem(detail: ErrorDetails) -> str:
    place = ""
    for step in detail["loc"]:
        name = step if isinstance(step, int) else str(step)[:_LONGEST_SHOWN]
        place += f"[{name}]" if isinstance(name, int) else f".{name}" if place else name
    kind = detail["type"]
    if kind in ("extra_forbidden", "invalid_key"):
        model = _SECTIONS.get(str(detail["loc"][0]), Config) if len(detail["loc"]) > 1 else Config
        return f"{place}: unknown key; allowed are {', '.join(model.model_fields)}"
    if kind == "missing":
        return f"{place} is missing"
    if kind == "value_error":
        return f"{place}: {detail['ctx']['error']}"
    if kind == "literal_error":
        rule = str(detail["ctx"]["expected"])
    else:
        rule = _RULES.get(kind, detail["msg"].lower())
    return f"{place}: {rule}, not {_shown(detail['input'])}"


_RULES = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "greater_than_equal": "1 to 5000",
    "less_than_equal": "1 to 5000",
    "string_type": "a text",
    "string_too_short": "a text that is not empty",
    "dict_type": "keys and values such as {site: home}",
    "model_type": "keys and values such as {name: garage, host: 192.168.1.36}",
    "tuple_type": "a list such as [{name: garage, host: 192.168.1.36}]",
}
"""Pydantic's kinds of mistakes in our words."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would keep the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _value in node.value:
            key = getattr(key_node, "value", None)
            if isinstance(key, str) and key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key!r} stands twice", problem_mark=key_node.start_mark
                )
            seen.add(str(key))
        return super().construct_mapping(node, deep)
