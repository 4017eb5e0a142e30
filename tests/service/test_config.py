"""The configuration file as a whole: values, defaults, and the error for every bad file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_configs import BAD, errors_of
from hypothesis import given
from hypothesis import strategies as st

from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.charger.settings import ChargerConfig
from goe_exporter.errors import ConfigError
from goe_exporter.service import config
from goe_exporter.service.config import Config, check_names

GOOD = """
refresh_interval: 2.5s
environment_proxies: true
chargers:
  - {name: garage, host: 192.168.1.36}
  - name: "Büro, oben"
    host: https://218042.api.v3.go-e.io/
    api: 2
    refresh_interval: 1m
    token_file: TOKEN
  - &old {name: old, host: "[fe80::1]:8080", api: auto}
  - {<<: *old, name: older, api: "1"}
"""


FILE_RULE = "must be a regular file of at most 64 KiB"

Write = Callable[[bytes], Path]


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Return a function that writes a configuration file and returns its path."""
    path = tmp_path_factory.mktemp("config") / "config.yaml"

    def written(content: bytes) -> Path:
        path.write_bytes(content)
        return path

    return written


def test_a_goodwrite(write: Write, tmp_path: Path) -> None:
    """Every key is loaded in its type, durations in seconds; a missing key has its default."""
    token = tmp_path / "token"
    token.write_text(" abc.def-1 \n")
    loaded = config.load(str(write(GOOD.replace("TOKEN", str(token)).encode())))
    garage, office, old, older = loaded.chargers
    assert loaded.refresh_interval == 2.5
    assert loaded.environment_proxies is True
    assert garage == ChargerConfig(
        name="garage", host="192.168.1.36", api="auto", refresh_interval=None, token_file=None
    )
    assert garage.connection().url == "http://192.168.1.36"
    assert garage.connection().token is None
    assert (office.name, office.api, office.refresh_interval) == ("Büro, oben", "2", 60.0)
    assert office.connection().url == "https://218042.api.v3.go-e.io"
    assert office.connection().token == "abc.def-1"
    assert (old.host, old.api) == ("[fe80::1]:8080", "auto")
    assert (older.name, older.host, older.api) == ("older", "[fe80::1]:8080", "1")


def test_controllers(write: Write) -> None:
    """A Controller has the keys of a charger except `api`, and is asked by API v2."""
    text = b"controllers: [{name: house, host: b, serial: 654321, refresh_interval: 10s}]\n"
    (house,) = config.load(str(write(text))).controllers
    assert (house.name, house.host, house.serial) == ("house", "b", "654321")
    assert house.refresh_interval == 10.0
    assert house.connection().api == "2"
    assert house.connection().table is CONTROLLER


@pytest.mark.parametrize("text", [b"", b"# nothing\n", b"{}\n", b"chargers: []\n"])
def test_a_file_without_settings(write: Write, text: bytes) -> None:
    """A file without settings is valid: 5 s, no proxies, no chargers."""
    loaded = config.load(str(write(text)))
    assert (loaded.refresh_interval, loaded.environment_proxies, loaded.chargers) == (
        5.0,
        False,
        (),
    )


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_badwrite(path: Path) -> None:
    """Each bad file gives the errors in its first lines: the place, the rule and the value."""
    with pytest.raises(ConfigError) as refused:
        config.load(str(path))
    assert list(refused.value.lines) == errors_of(path)
    assert str(refused.value) == "; ".join(errors_of(path))
    assert refused.value.exit_status == 2


def test_names_of_cards(write: Write) -> None:
    """`cards` holds the names of RFID cards by number, quoted or not."""
    loaded = config.load(str(write('cards: {1: Anna, "10": "Büro, oben"}'.encode())))
    assert loaded.cards == {"1": "Anna", "10": "Büro, oben"}
    assert config.load(str(write(b""))).cards == {}


def test_unambiguous_values(write: Write) -> None:
    """Quoted and tagged values and plain spellings are accepted."""
    text = """
refresh_interval: "90s"
environment_proxies: True
chargers:
  - {name: "NO", host: 192.168.1.36, api: 2}
  - {name: 'y', host: 192.168.1.37}
  - {name: 10e3, host: 192.168.1.38}
influxdb:
  bucket: "007"
  batch: !!int 0100
  verify_tls: !!bool NO
  tags: {country: !!str NO, since: "2026-01-01"}
"""
    loaded = config.load(str(write(text.encode())))
    assert [charger.name for charger in loaded.chargers] == ["NO", "y", "10e3"]
    assert loaded.environment_proxies is True
    influxdb = loaded.influxdb
    assert influxdb is not None
    assert (influxdb.bucket, influxdb.batch, influxdb.verify_tls) == ("007", 64, False)
    assert influxdb.tags == {"country": "NO", "since": "2026-01-01"}


@pytest.mark.parametrize(
    "number",
    ["07" * 3000, "0b" + "1" * 9000, "0x" + "f" * 9000, "1_" * 3000 + "1", "1:" * 3000 + "1"],
    ids=["octal", "binary", "hexadecimal", "underscores", "sexagesimal"],
)
def test_an_ambiguous_number_of_thousands_of_digits(write: Write, number: str) -> None:
    """The error is one short line, however long the number is."""
    path = write(f"influxdb: {{bucket: goe, batch: {number}}}".encode())
    with pytest.raises(ConfigError) as refused:
        config.load(str(path))
    assert str(refused.value).startswith(
        f"{path}:1:32: influxdb.batch: must be a whole number, not '"
    )
    assert len(str(refused.value)) < len(str(path)) + 150


@pytest.mark.parametrize(
    "document",
    [
        {"chargers": [{"name": "x" * 10_000, "host": "192.168.1.36"}]},
        {"chargers": [{"name": "garage", "host": "/" * 10_000}]},
        {"chargers": [{"name": "garage", "host": "192.168.1.36", "api": "x" * 10_000}]},
        {"refresh_interval": "x" * 10_000},
        {"chargers": "x" * 10_000},
        {"x" * 10_000: 1},
    ],
    ids=["name", "host", "api", "interval", "chargers", "key"],
)
def test_a_value_of_ten_kilobytes(document: object) -> None:
    """An error is short, however long the value is."""
    with pytest.raises(ConfigError) as refused:
        config.parse(document, "config.yaml")
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("key", ["token_file", "password_file"])
def test_a_bad_secret_of_the_influxdb_section(key: str) -> None:
    """A secret must be in a small regular file."""
    section = {"bucket": "goe", "username": "bob", key: "/dev/zero"}
    with pytest.raises(ConfigError, match=FILE_RULE):
        config.parse({"influxdb": section}, "config.yaml")


def test_a_bad_secret_of_a_charger() -> None:
    """The error names the charger too."""
    chargers = [{"name": "a", "host": "b", "token_file": "/dev/zero"}]
    with pytest.raises(
        ConfigError, match=rf"^config.yaml: chargers\[0\].token_file: .*{FILE_RULE}"
    ):
        config.parse({"chargers": chargers}, "config.yaml")


def test_names_are_compared_across_file_and_arguments() -> None:
    """Two chargers with one name are rejected, also if one is from the command line."""
    twice = (ChargerConfig(name="a", host="b"), ChargerConfig(name="a", host="c"))
    with pytest.raises(ConfigError) as refused:
        check_names(twice, "chargers")
    assert str(refused.value) == "chargers: duplicate charger name 'a'"


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
    | st.sampled_from(["5s", "garage", "192.168.1.36", "auto", 1, 2])
)  # fmt: skip


KEYS = st.text() | st.sampled_from(
    ["chargers", "refresh_interval", "environment_proxies", "name", "host", "api", "token_file"]
)


DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)
)


@given(DOCUMENTS)
def test_any_document(document: object) -> None:
    """Any document is a configuration or a `ConfigError`."""
    with contextlib.suppress(ConfigError):
        assert isinstance(config.parse(document, "config.yaml"), Config)


@given(st.binary(max_size=60) | st.text(alphabet="[]{}:,&*!|>-'\"# \n\tax1~<=%@", max_size=40))
def test_any_file(write: Write, content: bytes | str) -> None:
    """Any bytes are a configuration or a `ConfigError`."""
    path = write(content if isinstance(content, bytes) else content.encode())
    with contextlib.suppress(ConfigError):
        assert isinstance(config.load(str(path)), Config)
