"""The section `surplus` of the configuration."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from goe_exporter.config import values
from goe_exporter.config.certificates import check_certificates
from goe_exporter.config.quoting import shown
from goe_exporter.config.strict_yaml import Strict, usable
from goe_exporter.config.values import read_token
from goe_exporter.surplus import quantities
from goe_exporter.surplus.follow import FollowSettings
from goe_exporter.surplus.settings import HIGHEST_A, LOWEST_A, STALE_AFTER_S, Settings

MAX_QUERY_CHARACTERS = 2000
MAX_PATH_CHARACTERS = 200

_MATCHERS = r"""\{(?:[^{}"'`]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)*\}"""
_SELECTOR = re.compile(rf"\s*(?:[a-zA-Z_:][a-zA-Z0-9_:]*\s*(?:{_MATCHERS})?|{_MATCHERS})\s*")
_PATH = re.compile(r"(?:[^.\[\]]+|\[[0-9]{1,4}\])(?:\.[^.\[\]]+|\[[0-9]{1,4}\])*")

_KEYS = {
    "prometheus": ("query", ("path", "time_path")),
    "json": ("path", ("query", "time_query")),
}
"""Kind of a source → the key that it requires, and those of the other kind."""


def is_plain_selector(query: str) -> bool:
    """Return whether a query is a name with matchers: Prometheus knows the time of its value."""
    return _SELECTOR.fullmatch(query) is not None


def _query(text: str) -> str:
    if not text.strip() or len(text) > MAX_QUERY_CHARACTERS:
        raise ValueError(
            f"must be a query of 1 to {MAX_QUERY_CHARACTERS} characters, not {shown(text)}"
        )
    return text.strip()


def _path(text: str) -> str:
    if len(text) > MAX_PATH_CHARACTERS or not _PATH.fullmatch(text):
        raise ValueError(
            "must be names and indices such as Body.Data.Site.P_Grid or emeters[0].power, not"
            f" {shown(text)}"
        )
    return text


Query = Annotated[str, AfterValidator(_query)] | None
Path = Annotated[str, AfterValidator(_path)] | None


class SourceConfig(Strict):
    """Where a number is read: a query of Prometheus, or a path in a JSON document.

    `unit` is the number's. The value of a plain selector has an age; any other query requires
    `time_query`, which returns the Unix time of the value. Without a `time_path` the age of a
    number in JSON is unknown.
    """

    prometheus: Annotated[str, BeforeValidator(values.url)] | None = None
    query: Query = None
    time_query: Query = None
    json_url: Annotated[str, BeforeValidator(values.request_url)] | None = Field(
        default=None, alias="json"
    )
    path: Path = None
    time_path: Path = None
    unit: Literal["W", "kW", "A"] = "W"
    token_file: Annotated[str | None, usable(read_token)] = Field(default=None, repr=False)
    username: str = ""
    password_file: Annotated[str | None, usable(read_token)] = Field(default=None, repr=False)
    verify_tls: bool = True
    ca_file: Annotated[str | None, usable(check_certificates)] = None

    @property
    def kind(self) -> str:
        """The kind of the source: `prometheus` or `json`."""
        return "json" if self.prometheus is None else "prometheus"

    @property
    def base_unit(self) -> str:
        """The unit of readings: `W` or `A`."""
        return self.unit.removeprefix("k")

    @property
    def inverted(self) -> bool:
        """Whether the number is positive where a reading is negative."""
        return False

    @property
    def may_have_age(self) -> bool:
        """Whether the age of the number is known if the source works."""
        return self.prometheus is not None or self.time_path is not None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Reject a source that lacks what its kind requires, or has keys of the other kind."""
        if (self.prometheus is None) == (self.json_url is None):
            raise ValueError(f"must have prometheus or json{', not both' * bool(self.prometheus)}")
        required, others = _KEYS[self.kind]
        if given := [each for each in others if getattr(self, each) is not None]:
            raise ValueError(f"{given[0]} is not allowed with {self.kind}")
        if getattr(self, required) is None:
            raise ValueError(f"{self.kind} requires {required}")
        if self.query and self.time_query is None and not is_plain_selector(self.query):
            raise ValueError(
                "an expression requires time_query, the time of its oldest value, such as"
                " min(timestamp(NAME))"
            )
        if bool(self.username) != (self.password_file is not None):
            raise ValueError("username and password_file require each other")
        if self.username and self.token_file is not None:
            raise ValueError("must have token_file or username, not both")
        return self


class GridConfig(SourceConfig):
    """The power at the connection to the grid.

    `includes_charger` is whether the meter sees the charger.
    """

    unit: Literal["W", "kW"] = "W"
    positive: Literal["import", "export"] = "import"
    includes_charger: bool = True

    @property
    def inverted(self) -> bool:
        """Whether the number is positive while power is exported."""
        return self.positive == "export"


class BatteryConfig(SourceConfig):
    """The power of the house battery, and whether it or the car is charged first."""

    unit: Literal["W", "kW"] = "W"
    positive: Literal["discharge", "charge"] = "discharge"
    first: Literal["house", "car"] = "house"

    @property
    def inverted(self) -> bool:
        """Whether the number is positive while the battery is charged."""
        return self.positive == "charge"


class PvConfig(SourceConfig):
    """The power that the solar panels produce."""

    unit: Literal["W", "kW"] = "W"


class AvailableConfig(SourceConfig):
    """The number that mode `follow` follows: a power or a current."""


_MODES: dict[str, tuple[str, ...]] = {
    "available": ("follow",),
    "pv": ("feed",),
    **dict.fromkeys(("grid", "battery"), ("control", "feed")),
    **dict.fromkeys(("max_current", "min_current", "state"), ("control", "follow")),
    **dict.fromkeys(("phases", "one_phase_max", "car_phases", "reserve"), ("control",)),
    **dict.fromkeys(("start_after", "pause_budget", "min_pause"), ("control",)),
}
"""The modes that a key belongs to; the others belong to all."""

_REQUIRED = ("available", "grid", "max_current", "phases")
_OF_CONTROL = {"first", "includes_charger"}
"""Keys of sources that only mode `control` uses."""


class SurplusConfig(Strict):
    """The charger that uses the surplus, how it does, and the sources of the numbers.

    Mode `control` decides on `grid` and `battery`, with the settings of `surplus.settings`; mode
    `follow` sets the current to `available`; mode `feed` passes `grid`, `battery` and `pv` on.
    `state` is the directory of the lease.
    """

    mode: Literal["control", "follow", "feed"]
    charger: str
    max_current: Annotated[int, BeforeValidator(quantities.current)] | None = Field(
        default=None, validate_default=True
    )
    min_current: Annotated[int, BeforeValidator(quantities.current)] = LOWEST_A
    grid: GridConfig | None = Field(default=None, validate_default=True)
    battery: BatteryConfig | None = None
    pv: PvConfig | None = None
    available: AvailableConfig | None = Field(default=None, validate_default=True)
    phases: Annotated[int | None, BeforeValidator(quantities.phases)] = Field(
        default=None, validate_default=True
    )
    one_phase_max: Annotated[int, BeforeValidator(quantities.current)] = 16
    car_phases: Annotated[int | None, BeforeValidator(quantities.car_phases)] = None
    reserve: Annotated[float, BeforeValidator(quantities.reserve)] = 0.0
    start_after: Annotated[float, BeforeValidator(quantities.start_after)] = 60.0
    pause_budget: Annotated[float, BeforeValidator(quantities.budget)] = 120.0
    min_pause: Annotated[float, BeforeValidator(quantities.min_pause)] = 180.0
    stale_after: Annotated[float, BeforeValidator(quantities.stale_after)] = STALE_AFTER_S
    state: str = Field(default="/var/lib/goe-exporter/surplus", min_length=1)

    @field_validator(*_MODES, mode="before")
    @classmethod
    def _in_mode(cls, value: object, info: ValidationInfo) -> object:
        """Reject a key that the mode does not use, and require one that it does."""
        name, mode = info.field_name or "", info.data.get("mode")
        modes = _MODES[name]
        if value is not None and mode not in (None, *modes):
            raise ValueError(f"allowed only with mode: {' or '.join(modes)}")
        if value is None and mode in modes and name in _REQUIRED:
            raise ValueError(f"required with mode: {mode}")
        return value

    @field_validator("grid", "battery")
    @classmethod
    def _in_source(cls, value: SourceConfig | None, info: ValidationInfo) -> SourceConfig | None:
        """Reject a key of a source that the mode does not use."""
        given = set() if value is None else value.model_fields_set & _OF_CONTROL
        if given and info.data.get("mode") == "feed":
            raise ValueError(f"{min(given)} is allowed only with mode: control")
        return value

    @field_validator("min_current", "one_phase_max")
    @classmethod
    def _ordered(cls, value: int, info: ValidationInfo) -> int:
        """Reject limits between which there is no current."""
        low = info.data.get("min_current", LOWEST_A)
        high = info.data.get("max_current") or HIGHEST_A
        if info.field_name == "min_current" and value > high:
            raise ValueError(f"must not be above max_current, {high}A, but is {value}A")
        if info.field_name == "one_phase_max" and value < low:
            raise ValueError(f"must not be below min_current, {low}A, but is {value}A")
        return value

    def sources(self) -> dict[str, SourceConfig]:
        """Return where numbers are read: `grid`, perhaps `battery` and `pv`, or `available`."""
        named: dict[str, SourceConfig | None] = {"grid": self.grid, "battery": self.battery}
        named |= {"pv": self.pv, "available": self.available}
        return {name: each for name, each in named.items() if each is not None}

    def settings(self, refresh_s: float) -> Settings:
        """Return the settings of mode `control` for a charger polled at this interval (s)."""
        assert self.grid is not None
        assert self.max_current is not None
        return Settings(
            max_current_a=self.max_current,
            phases=self.phases,
            min_current_a=self.min_current,
            one_phase_max_a=self.one_phase_max,
            car_phases=self.car_phases,
            start_after_s=self.start_after,
            pause_budget_wh=self.pause_budget,
            min_pause_s=self.min_pause,
            reserve_w=self.reserve,
            stale_after_s=self.stale_after,
            battery=self.battery.first if self.battery is not None else None,
            includes_charger=self.grid.includes_charger,
            refresh_s=refresh_s,
        )

    def follow_settings(self, refresh_s: float) -> FollowSettings:
        """Return the settings of mode `follow` for a charger polled at this interval (s)."""
        assert self.available is not None
        assert self.max_current is not None
        return FollowSettings(
            max_current_a=self.max_current,
            unit=self.available.base_unit,
            min_current_a=self.min_current,
            stale_after_s=self.stale_after,
            refresh_s=refresh_s,
        )
