"""The private parts of uvicorn and asyncio that the web server relies on.

The upper bound of uvicorn in pyproject.toml is the last minor version for which these tests
passed. Run them, and all tests in this folder, before raising it.
"""

from __future__ import annotations

import asyncio
import re
import tomllib
from asyncio.sslproto import SSLProtocol, _SSLProtocolTransport  # type: ignore[attr-defined]
from functools import reduce
from typing import Any

import pytest
import uvicorn
from paths import ROOT
from uvicorn.protocols.http.h11_impl import H11Protocol

from goe_exporter.http_server.connection import _unsent_bytes

OWNERS = {"Server": uvicorn.Server, "H11Protocol": H11Protocol, "SSLProtocol": SSLProtocol}

CALLS = [
    ("Server.serve", "capture_signals", "_Uvicorn overrides it: signals belong to the service"),
    ("Server._serve", "startup", "_Uvicorn overrides it: it has its own accept loop"),
    ("Server._serve", "lifespan", "Protocol takes the application's state from it"),
    ("Server.main_loop", "on_tick", "_Uvicorn overrides it: it refreshes the web configuration"),
    ("Server._serve", "shutdown", "_Uvicorn overrides it: requests are aborted without a log"),
    ("H11Protocol.connection_made", "connections", "_Uvicorn counts connections"),
    ("H11Protocol.connection_lost", "connections", "_Uvicorn counts connections"),
    (
        "H11Protocol.connection_lost",
        "disconnected",
        "an aborted request is cancelled without a log",
    ),
    ("H11Protocol.data_received", "handle_events", "Protocol checks for a new request after it"),
    ("H11Protocol.handle_events", "cycle", "Protocol recognizes a new request by it"),
    ("H11Protocol.handle_events", "send_400_response", "Protocol overrides it"),
    ("H11Protocol.handle_events", "on_response_complete", "Protocol overrides it"),
    ("H11Protocol.on_response_complete", "handle_events", "it starts pipelined requests"),
    ("SSLProtocol.__init__", "max_size", "Server.run reduces the buffer of a TLS connection"),
]
"""A function, a name that it must use, and why the web server needs this."""

ATTRIBUTES = {
    "Server": ["config", "server_state", "started", "should_exit"],
    "H11Protocol": ["conn", "connections", "cycle", "loop", "shutdown", "transport"],
}
"""Attributes of instances that `server` and `connection` use."""


def uses(function: str, name: str) -> bool:
    """Return whether a function exists and its code uses a name."""
    owner, *path = function.split(".")
    found = reduce(lambda where, part: getattr(where, part, None), path, OWNERS[owner])
    return name in getattr(getattr(found, "__code__", None), "co_names", ())


@pytest.mark.parametrize(("function", "name", "why"), CALLS)
def test_calls(function: str, name: str, why: str) -> None:
    """The libraries use the parts that the web server overrides or sets."""
    known = f"{function} of uvicorn {uvicorn.__version__} or this Python"
    assert uses(function, name), f"{known} does not use {name}: {why}"


def test_the_check_can_fail() -> None:
    """A missing function or name is found."""
    assert not uses("Server.main_loop", "no_such_name")
    assert not uses("Server.no_such_function", "on_tick")


@pytest.mark.parametrize("owner", ATTRIBUTES)
def test_attributes(owner: str) -> None:
    """Instances have the attributes that the web server uses, and take the same arguments."""
    config = uvicorn.Config(lambda: None, http="h11", lifespan="off", ws="none", log_config=None)
    config.load()
    server, loop = uvicorn.Server(config), asyncio.new_event_loop()
    try:
        state = config.lifespan_class(config).state
        protocol = H11Protocol(config, server.server_state, state, loop)
    finally:
        loop.close()
    instance = {"Server": server, "H11Protocol": protocol}[owner]
    missing = [name for name in ATTRIBUTES[owner] if not hasattr(instance, name)]
    assert missing == [], f"{owner} of uvicorn {uvicorn.__version__} has no {missing}"
    assert protocol.connections is server.server_state.connections


def test_the_response_tells_when_it_is_complete() -> None:
    """`cycle.response_complete` is False until the response has been sent."""
    cycle = H11Protocol.handle_events.__globals__["RequestResponseCycle"]
    assert "response_complete" in cycle.__init__.__code__.co_names


def test_uvicorn_is_bounded() -> None:
    """pyproject.toml excludes the next minor version of uvicorn, which is not tested."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (bound,) = (text for text in dependencies if text.startswith("uvicorn"))
    match = re.fullmatch(r"uvicorn>=0\.30\.0,<0\.(\d+)", bound)
    assert match is not None
    assert int(uvicorn.__version__.split(".")[1]) < int(match[1])


def test_a_tls_connection_that_was_closed_twice() -> None:
    """Asyncio loses track of it, and its unsent bytes count as none."""
    lost: Any = _SSLProtocolTransport.__new__(_SSLProtocolTransport)
    lost._ssl_protocol, lost._closed = None, True
    with pytest.raises(AttributeError):
        lost.get_write_buffer_size()
    assert _unsent_bytes(lost) == 0
