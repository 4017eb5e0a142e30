"""The parts of influxdb-client that are not documented and that the v2 write API relies on.

The upper bound of influxdb-client in pyproject.toml is the last minor version for which these tests
passed. Run them, and all tests in this folder, before raising it.
"""

from __future__ import annotations

from typing import Any

import urllib3
from influxdb_client import InfluxDBClient, WriteService
from influxdb_client.version import VERSION


class Response:
    """The attributes of a response that the client may use."""

    __slots__ = ("data", "reason", "status")

    def __init__(self) -> None:
        self.status, self.reason, self.data = 204, "", b""


class Manager:
    """Keeps the request that the client makes."""

    def request(self, *arguments: object, **options: object) -> Response:
        self.arguments, self.options = arguments, options
        return Response()


def test_attribute() -> None:
    """A client sends with the `PoolManager` in `api_client.rest_client.pool_manager`."""
    client: Any = InfluxDBClient("http://127.0.0.1:1", "t").api_client
    assert isinstance(client.rest_client.pool_manager, urllib3.PoolManager)


def test_request() -> None:
    """It calls the manager's `request` once, and uses only three attributes of the response."""
    client: Any = InfluxDBClient("http://127.0.0.1:1/path", "secret").api_client
    manager = client.rest_client.pool_manager = Manager()
    WriteService(client).post_write(
        "an org",
        "a/bucket",
        b"compressed",
        precision="ms",
        content_type="text/plain; charset=utf-8",
        content_encoding="gzip",
    )
    assert manager.arguments == (
        "POST",
        "http://127.0.0.1:1/path/api/v2/write?org=an+org&bucket=a%2Fbucket&precision=ms",
    )
    assert manager.options["body"] == b"compressed"
    assert manager.options["headers"] == {
        "Accept": "application/json",
        "Authorization": "Token secret",
        "Content-Encoding": "gzip",
        "Content-Type": "text/plain",
        "User-Agent": f"influxdb-client-python/{VERSION}",
    }
