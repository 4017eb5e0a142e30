"""The configuration file (YAML) and the texts that options share with it.

Strict: an unknown key, a doubled one or a value of the wrong kind is a `ConfigError` that names
the place (`chargers[0].api`) and what is allowed there.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from goe_exporter.config import strict_yaml
from goe_exporter.config.strict_yaml import Strict, one_line, shown
from goe_exporter.errors import ConfigError, UsageError

SHORTEST_INTERVAL_SECONDS = 1.0
LONGEST_INTERVAL_SECONDS = 86_400.0
LARGEST_PORT = 65_535
LONGEST_NAME = 500
SHORTEST_TIMEOUT_SECONDS = 0.1
LONGEST_TIMEOUT_SECONDS = 600.0
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SIZE = re.compile(r"([0-9]{1,6})(KiB|MiB|GiB)")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SERVER = re.compile(
    r"https?://(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+))(?::([0-9]{1,5}))?(?:/[^\s?#@]*)?"
)
_LOGIN = re.compile(r"(?:\w+://)?[^:/]*:(?![/0-9]|$)[^:]*$")
"""`USER:PASSWORD` where a host and its port should stand."""

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_HOST = re.compile(
    r"(?:https?://)?(?:\[([0-9A-Fa-f:.]+)(?:%[A-Za-z0-9_]+)?\]|(\w[\w-]*(?:\.[\w-]+)*\.?))"
    r"(?::([0-9]{1,5}))?/?"
)


def seconds(text: object) -> float:
    """Return the seconds of a duration such as `5s`, `500ms`, `1.5m`; raises `ValueError`."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"a duration such as 5s, 500ms or 1m, not {shown(text)}")
    return float(match[1]) * _SECONDS[match[2]]


def interval(text: object) -> float:
    """Return a refresh interval in seconds, 1 s at the least; raises `ValueError`."""
    value = seconds(text)
    if value < SHORTEST_INTERVAL_SECONDS:
        raise ValueError(f"1s or longer, not {shown(text)}")
    if value > LONGEST_INTERVAL_SECONDS:
        raise ValueError(f"24h or shorter, not {shown(text)}")
    return value


def host(text: object) -> str:
    """Return a host as the client takes it; raises `ValueError`."""
    rule = "a host or address, with a port if need be"
    match = _HOST.fullmatch(text) if isinstance(text, str) else None
    if match is None or not _is_ipv6(match[1]) or int(match[3] or 0) > LARGEST_PORT:
        if isinstance(text, str) and holds_a_secret(text):
            raise ValueError(f"{rule}; a password or token has no place in it")
        raise ValueError(f"{rule}, not {shown(text)}")
    return _in_ascii(match[0], match[2], rule).removesuffix("/")


def _in_ascii(text: str, name: str | None, rule: str) -> str:
    """Return a URL or host with the `name` in it as the network knows it; raises `ValueError`."""
    if name is None:
        return text
    try:
        return text.replace(name, name.encode("idna").decode(), 1)
    except UnicodeError:
        raise ValueError(f"{rule}, not {shown(text)}") from None


def holds_a_secret(text: str) -> bool:
    """Tell whether a URL has a part that may be a password or a token, and is not to be shown."""
    return any(char in text for char in "@?#%") or _LOGIN.match(text) is not None


def listen_address(text: object) -> tuple[str, int]:
    """Return (host, port) of `ADDR:PORT`, the host empty for all interfaces.

    Raises `ValueError`.
    """
    rule = "ADDR:PORT or :PORT, as in 127.0.0.1:10332"
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]*):([0-9]{1,5})", str(text))
    if match is None or int(match[2]) > LARGEST_PORT:
        raise ValueError(f"{rule}, not {shown(text)}")
    return _in_ascii(match[1], match[1], rule).strip("[]"), int(match[2])


def not_listening(option: str, host: str, port: int, error: OSError) -> UsageError:
    """Return what an option's address that cannot be listened on means to its user."""
    # `socket.create_server` turns a `gaierror` into an OSError, but keeps its negative number.
    number = error.errno or 0
    reason = os.strerror(number) if number > 0 else "the name cannot be resolved"
    return UsageError(f"{option}: cannot listen on {host}:{port}: {reason}")


def size(text: object) -> int:
    """Return the bytes of a size such as `512MiB`, 1 MiB at the least; raises `ValueError`."""
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match[1]) * _BYTES[match[2]] < _BYTES["MiB"]:
        raise ValueError(f"a size of 1MiB or more, as in 512MiB or 2GiB, not {shown(text)}")
    return int(match[1]) * _BYTES[match[2]]


def _url(text: object) -> str:
    rule = "http://HOST:PORT or https://…"
    match = _SERVER.fullmatch(text) if isinstance(text, str) else None
    if match is None or not _is_ipv6(match[1]) or int(match[3] or 0) > LARGEST_PORT:
        if isinstance(text, str) and holds_a_secret(text):
            raise ValueError(f"{rule}; a user and a password are given apart from it")
        raise ValueError(f"{rule}, not {shown(text)}")
    return _in_ascii(match[0], match[2], rule).rstrip("/")


def timeout_seconds(text: object) -> float:
    """Return a time limit in seconds, 100 ms at the least; raises `ValueError`."""
    value = seconds(text)
    if not SHORTEST_TIMEOUT_SECONDS <= value <= LONGEST_TIMEOUT_SECONDS:
        raise ValueError(f"100ms to 10m, not {shown(text)}")
    return value


def _user(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a name of one line")
    return text


def _tag_name(text: object) -> str:
    if not isinstance(text, str) or not text or text in ("charger", "serial") or text[0] == "_":
        raise ValueError(f"the name of a further tag, not {shown(text)}")
    return text


def _influx_variables(environment: Mapping[str, str]) -> dict[str, object]:
    """Return what influxdb-client's variables say, tags apart, as the section `influxdb` would.

    Raises `ValueError` for one whose meaning would be lost here.
    """
    found: dict[str, object] = {}
    for name, key in _INFLUX_VARIABLES.items():
        if value := environment.get(f"INFLUXDB_V2_{name}"):
            found[key] = f"{value}ms" if key == "timeout" else value
    refused = [name for name in _INFLUX_WITHOUT if environment.get(f"INFLUXDB_V2_{name}")]
    if refused or environment.get("INFLUXDB_V2_AUTH_BASIC", "").lower() in ("yes", "true"):
        name = refused[0] if refused else "AUTH_BASIC"
        raise ValueError(f"the variable INFLUXDB_V2_{name} has no meaning here; unset it")
    return found


def _influx_tags(environment: Mapping[str, str]) -> dict[str, object]:
    prefix = "INFLUXDB_V2_TAG_"
    return {
        name.removeprefix(prefix).lower(): value
        for name, value in environment.items()
        if name.startswith(prefix)
    }


_INFLUX_VARIABLES = {
    "URL": "url",
    "ORG": "org",
    "TIMEOUT": "timeout",
    "VERIFY_SSL": "verify_tls",
    "SSL_CA_CERT": "ca_file",
}
_INFLUX_WITHOUT = ("CERT_FILE", "CERT_KEY_FILE", "CERT_KEY_PASSWORD")


def _is_ipv6(text: str | None) -> bool:
    """Tell whether the address in brackets, if there is one, is an IPv6 address."""
    try:
        return text is None or bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


def _api(value: object) -> object:
    return str(value) if value in (1, 2) and not isinstance(value, bool) else value


def _charger_name(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_NAME:
        raise ValueError(f"a text of 1 to {LONGEST_NAME} characters, not {shown(value)}")
    if value in (".", ".."):
        raise ValueError(
            f"a name other than '.' and '..', which no URL can hold, not {shown(value)}"
        )
    return value


class ChargerConfig(Strict):
    """One charger: what to call it, where it is, and how to ask it.

    `refresh_interval` is in seconds once loaded, None for the common one; `token_file` holds the
    bearer token of the vendor's cloud, `token` its content.
    """

    name: Annotated[str, BeforeValidator(_charger_name)]
    host: Annotated[str, BeforeValidator(host)]
    api: Annotated[Literal["auto", "1", "2"], BeforeValidator(_api)] = "auto"
    refresh_interval: Annotated[float, BeforeValidator(interval)] | None = None
    token_file: str | None = Field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Where the charger's API begins."""
        return self.host if "://" in self.host else f"http://{self.host}"

    def token(self) -> str | None:
        """Return the token in `token_file`; raises `ConfigError` if it cannot be read."""
        return None if self.token_file is None else read_token(self.token_file)


class InfluxSettings(Strict):
    """Where points go and how (DESIGN §7); `timeout` is in seconds, `spool_limit` in bytes.

    `bucket` is the database for `api: v1`. influxdb-client's own environment variables stand in
    for what the file leaves out, and are held to the same rules.
    """

    url: Annotated[str, BeforeValidator(_url)] = "http://localhost:8086"
    api: Literal["v2", "v1"] = "v2"
    org: str = ""
    bucket: str = Field(min_length=1)
    token_file: str | None = Field(default=None, repr=False)
    token_env: str | None = Field(default=None, repr=False)
    username: Annotated[str, AfterValidator(_user)] = ""
    password_file: str | None = Field(default=None, repr=False)
    spool: str = Field(default="/var/lib/goe-exporter/spool", min_length=1)
    spool_limit: Annotated[int, BeforeValidator(size)] = 512 * 1024 * 1024
    batch: int = Field(default=5000, ge=1, le=5000)
    timeout: Annotated[float, BeforeValidator(timeout_seconds)] = 10.0
    verify_tls: bool = True
    ca_file: str | None = None
    tags: dict[Annotated[str, BeforeValidator(_tag_name)], str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _environment(cls, given: object) -> object:
        """Add what the variables say and the file does not."""
        if not isinstance(given, dict):
            return given
        found = _influx_variables(os.environ) | given
        tags = given.get("tags", {})
        return (
            found | {"tags": _influx_tags(os.environ) | tags} if isinstance(tags, dict) else found
        )

    def token(self) -> str:
        """Return the token from the file, the named variable, or `INFLUXDB_V2_TOKEN`."""
        if self.token_file is not None:
            return read_token(self.token_file)
        if self.token_env is not None and not os.environ.get(self.token_env):
            # Whoever takes it for the place of the token itself is not quoted.
            name = self.token_env if _VARIABLE.fullmatch(self.token_env) else "named there"
            raise ConfigError(f"influxdb.token_env: the variable {name} is not set")
        variable = self.token_env or "INFLUXDB_V2_TOKEN"
        token = os.environ.get(variable, "")
        if token and not (token.isascii() and token.isprintable()):
            name = one_line(variable)
            raise ConfigError(f"the token in {name} must be one line of ASCII text")
        if self.username and not token:
            if not self.username.isascii() and self.api == "v2":
                raise ConfigError("influxdb.username: ASCII text, or it fits into no header")
            return ":".join(self.login())
        return token

    def login(self) -> tuple[str, str]:
        """Return user name and password, both empty if no user is given."""
        password = read_token(self.password_file) if self.password_file is not None else ""
        return self.username, password


class Config(Strict):
    """The whole configuration; `refresh_interval` is in seconds once loaded.

    `environment_proxies` lets `HTTP_PROXY` and the like count for requests to chargers.
    """

    refresh_interval: Annotated[float, BeforeValidator(interval)] = 5.0
    environment_proxies: bool = False
    chargers: tuple[ChargerConfig, ...] = Field(default=())
    influxdb: InfluxSettings | None = None


def load(path: str) -> Config:
    """Read a configuration file; raises `ConfigError` with the file, the place and the rule."""
    return parse(strict_yaml.document(path), path)


def parse(document: object, source: str) -> Config:
    """Return the configuration of a parsed document; raises `ConfigError` naming `source`."""
    config = strict_yaml.validated(Config, document, source)
    check_names(config.chargers, source)
    for index, charger in enumerate(config.chargers):
        try:
            charger.token()
        except ConfigError as error:
            raise ConfigError(f"{source}: chargers[{index}].token_file: {error}") from error
    if config.influxdb is not None:
        config.influxdb.token()
        config.influxdb.login()
        _check_certificates(config.influxdb.ca_file, source)
    return config


def _check_certificates(ca_file: str | None, source: str) -> None:
    try:
        ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        reason = "no certificates in it" if isinstance(error, ssl.SSLError) else error.strerror
        file = one_line(str(ca_file))
        raise ConfigError(f"{source}: influxdb.ca_file: cannot use {file}: {reason}") from error


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
    if not separator or "?" in name:  # a URL whose query may hold a token
        name, place = text, text
    try:
        return ChargerConfig(name=name, host=place)
    except ValidationError as error:
        named = "" if holds_a_secret(text) else f" {text!r:.80}"
        raise ConfigError(f"charger{named}: {strict_yaml.sentence(ChargerConfig, error)}") from None


def read_token(path: str) -> str:
    """Return the secret in a file; raises `ConfigError` if there is none to read."""
    try:
        token = Path(path).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        # A name that leads nowhere may be the secret itself, put where its file belongs.
        known = Path(path).is_absolute() or os.path.lexists(path)
        named = f"the token file {one_line(path)}" if known else "the token file that is named"
        raise ConfigError(f"cannot read {named}: {strict_yaml.os_reason(error)}") from error
    if not token.isascii() or not token.isprintable() or not token:
        raise ConfigError(f"the token file {one_line(path)} must hold one line of ASCII text")
    return token
