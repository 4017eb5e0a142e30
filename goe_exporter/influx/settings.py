"""The section `influxdb` of the configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.channels.table import CHARGER
from goe_exporter.config import values
from goe_exporter.config.certificates import check_certificates
from goe_exporter.config.quoting import one_line, shown
from goe_exporter.config.strict_yaml import Strict, checks_files, usable
from goe_exporter.config.values import read_token
from goe_exporter.errors import ConfigError

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")

_OWN_TAGS = (CHARGER.device, CONTROLLER.device, "serial")


def _user(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of text")
    return text


def _tag_name(text: object) -> str:
    if not isinstance(text, str) or not text or text in _OWN_TAGS or text[0] == "_":
        others = f"{', '.join(_OWN_TAGS)} and _*"
        raise ValueError(f"must be a tag name other than {others}, not {shown(text)}")
    return text


def _influx_variables(environment: Mapping[str, str]) -> dict[str, object]:
    """Return the values of influxdb-client's variables, without tags, by key of the section.

    Raises `ValueError` for a variable that is not supported.
    """
    found: dict[str, object] = {}
    for name, key in _INFLUX_VARIABLES.items():
        if value := environment.get(f"INFLUXDB_V2_{name}"):
            found[key] = _INFLUX_VALUES.get(key, str)(value)
    refused = [name for name in _INFLUX_WITHOUT if environment.get(f"INFLUXDB_V2_{name}")]
    if refused or environment.get("INFLUXDB_V2_AUTH_BASIC", "").lower() in ("yes", "true"):
        name = refused[0] if refused else "AUTH_BASIC"
        raise ValueError(f"the variable INFLUXDB_V2_{name} is not supported; unset it")
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
_TRUTHS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}
_INFLUX_VALUES: Mapping[str, Callable[[str], object]] = {
    "timeout": lambda text: f"{text}ms",
    "verify_tls": lambda text: _TRUTHS.get(text.lower(), text),
}
"""How the variables are written where the file is different."""

_INFLUX_WITHOUT = ("CERT_FILE", "CERT_KEY_FILE", "CERT_KEY_PASSWORD")


class InfluxSettings(Strict):
    """The server and how to deliver to it; `timeout` is in seconds, `spool_limit` in bytes.

    `bucket` is the database for `api: v1`. influxdb-client's environment variables are the defaults
    of what the file leaves out, under the same rules.
    """

    url: Annotated[str, BeforeValidator(values.url)] = "http://localhost:8086"
    api: Literal["v2", "v1"] = "v2"
    org: str = ""
    bucket: str = Field(min_length=1)
    token_file: Annotated[str | None, usable(read_token)] = Field(default=None, repr=False)
    token_env: str | None = Field(default=None, repr=False)
    username: Annotated[str, AfterValidator(_user)] = ""
    password_file: Annotated[str | None, usable(read_token)] = Field(default=None, repr=False)
    spool: str = Field(default="/var/lib/goe-exporter/spool", min_length=1)
    spool_limit: Annotated[int, BeforeValidator(values.size)] = 512 * 1024 * 1024
    batch: int = Field(default=5000, ge=1, le=5000)
    timeout: Annotated[float, BeforeValidator(values.timeout_seconds)] = 10.0
    verify_tls: bool = True
    ca_file: Annotated[str | None, usable(check_certificates)] = None
    tags: dict[Annotated[str, BeforeValidator(_tag_name)], str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _environment(cls, given: object) -> object:
        """Add the values of variables for what the file leaves out."""
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
            # It may be the token itself, by mistake, which is not repeated.
            name = self.token_env if _VARIABLE.fullmatch(self.token_env) else "named there"
            raise ConfigError(f"token_env: the variable {name} is not set")
        variable = self.token_env or "INFLUXDB_V2_TOKEN"
        token = os.environ.get(variable, "")
        if token and not (token.isascii() and token.isprintable()):
            name = one_line(variable)
            raise ConfigError(f"the token in {name} must be one line of ASCII text")
        if self.username and not token:
            if not self.username.isascii() and self.api == "v2":
                raise ConfigError("username must be ASCII text")
            return ":".join(self.login())
        return token

    def login(self) -> tuple[str, str]:
        """Return user name and password, both empty if no user is given."""
        password = read_token(self.password_file) if self.password_file is not None else ""
        return self.username, password

    @model_validator(mode="after")
    def _usable(self, info: ValidationInfo) -> Self:
        """Reject a token that cannot be used."""
        if checks_files(info):
            try:
                self.token()
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return self
