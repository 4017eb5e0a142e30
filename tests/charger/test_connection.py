"""`[NAME=]HOST` on the command line: the charger's name and host."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goe_exporter.charger.connection import connection
from goe_exporter.charger.settings import ChargerConfig
from goe_exporter.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "name", "host"),
    [
        ("192.168.1.36", "192.168.1.36", "192.168.1.36"),
        ("garage=192.168.1.36", "garage", "192.168.1.36"),
        ("my garage=charger.local:8080", "my garage", "charger.local:8080"),
        ("cloud=https://218042.api.v3.go-e.io/", "cloud", "https://218042.api.v3.go-e.io"),
    ],
)
def test_charger_argument(text: str, name: str, host: str) -> None:
    """Without a name the host is the name."""
    charger = connection(text)
    assert (charger.name, charger.host, charger.api) == (name, host, "auto")


def test_a_long_name() -> None:
    """A name may have up to 500 characters, of any kind."""
    name = "ä<'\"&\n" * 84
    assert ChargerConfig(name=name[:500], host="a").name == name[:500]
    with pytest.raises(ConfigError, match="must be 1 to 500 characters, not"):
        connection(f"{'x' * 501}=a")


HOST_RULE = "must be a host name or address with an optional port"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("=a", "charger '=a': name: must be 1 to 500 characters, not ''"),
        ("a=", f"charger 'a=': host: {HOST_RULE}, not ''"),
        ("a=b=c", f"charger 'a=b=c': host: {HOST_RULE}, not 'b=c'"),
        ("a=b/c", f"charger 'a=b/c': host: {HOST_RULE}, not 'b/c'"),
        ("", "charger '': name: must be 1 to 500 characters, not ''"),
    ],
)
def test_a_bad_charger_argument(text: str, message: str) -> None:
    """The error shows the argument and what is wrong with it."""
    with pytest.raises(ConfigError) as refused:
        connection(text)
    assert str(refused.value) == message


@given(st.text())
def test_any_text(text: str) -> None:
    """Any text is a connection or a `ConfigError`."""
    with contextlib.suppress(ConfigError):
        connection(text)
