"""The section `influxdb`, and the variables that replace what it leaves out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from goe_exporter.errors import ConfigError
from goe_exporter.influx.settings import InfluxSettings
from goe_exporter.service import config as service_config

URL_RULE = "must be a URL such as http://HOST:PORT or https://HOST"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("INFLUXDB_V2_"):
            monkeypatch.delenv(name)


def loaded(**section: object) -> InfluxSettings:
    """Return the section after loading."""
    found = service_config.parse({"influxdb": {"bucket": "goe", **section}}, "config.yaml").influxdb
    assert found is not None
    return found


def refusal(**section: object) -> str:
    """Return the error for a section."""
    with pytest.raises(ConfigError) as refused:
        loaded(**section)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_what_is_left_out() -> None:
    """Only the bucket is required."""
    found = loaded()
    assert (found.url, found.api, found.org, found.timeout) == (
        "http://localhost:8086", "v2", "", 10.0
    )  # fmt: skip
    assert (found.verify_tls, found.ca_file, found.tags, found.spool_limit) == (
        True, None, {}, 512 * 1024 * 1024
    )  # fmt: skip


def test_variables(monkeypatch: pytest.MonkeyPatch, certificates: Path) -> None:
    """influxdb-client's variables are used, its timeout in ms, its tags in lower case."""
    for name, value in {
        "URL": "https://influx.example:8086/behind/a/proxy/",
        "ORG": "home",
        "TIMEOUT": "2500",
        "VERIFY_SSL": "False",
        "SSL_CA_CERT": str(certificates),
        "TAG_SITE": "at home",
        "TAG_ROW": "2",
        "TOKEN": "abc",
        "PROFILERS": "query",
        "CONNECTION_POOL_MAXSIZE": "4",
        "AUTH_BASIC": "False",
    }.items():
        monkeypatch.setenv(f"INFLUXDB_V2_{name}", value)
    found = loaded(tags={"row": "3", "side": "left"})
    assert found.url == "https://influx.example:8086/behind/a/proxy"
    assert (found.org, found.timeout, found.verify_tls) == ("home", 2.5, False)
    assert found.ca_file == str(certificates)
    assert found.tags == {"site": "at home", "row": "3", "side": "left"}
    assert found.token() == "abc"


@pytest.mark.parametrize(
    ("text", "verifies"),
    [("true", True), ("1", True), ("YES", True), ("false", False), ("0", False)],
)
def test_truths_of_a_variable(monkeypatch: pytest.MonkeyPatch, text: str, verifies: bool) -> None:
    """A variable holds a truth as a text, unlike the file."""
    monkeypatch.setenv("INFLUXDB_V2_VERIFY_SSL", text)
    assert loaded().verify_tls is verifies


def test_file_before_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has precedence, and an overridden variable may be invalid."""
    monkeypatch.setenv("INFLUXDB_V2_URL", "nonsense")
    monkeypatch.setenv("INFLUXDB_V2_TIMEOUT", "soon")
    found = loaded(url="http://a:1", timeout="3s")
    assert (found.url, found.timeout) == ("http://a:1", 3.0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("URL", "foo", f"influxdb.url: {URL_RULE}, not 'foo'"),
        ("URL", "ftp://x", f"influxdb.url: {URL_RULE}, not 'ftp://x'"),
        ("URL", "http://x:99999", f"influxdb.url: {URL_RULE}, not 'http://x:99999'"),
        ("TIMEOUT", "0", "influxdb.timeout: must be 100ms to 10m, not '0ms'"),
        ("TIMEOUT", "soon",
         "influxdb.timeout: must be a duration such as 5s, 500ms or 1m30s, not 'soonms'"),
        ("VERIFY_SSL", "maybe", "influxdb.verify_tls: must be true or false, not 'maybe'"),
        ("TAG_SERIAL", "1",
         ("influxdb.tags.serial: must be a tag name other than charger, controller, serial and _*,"
         " not 'serial'")),
        ("TAG_CONTROLLER", "1",
         ("influxdb.tags.controller: must be a tag name other than charger, controller, serial"
         " and _*, not 'controller'")),
        ("CERT_FILE", "x.pem",
         "influxdb: the variable INFLUXDB_V2_CERT_FILE is not supported; unset it"),
        ("CERT_KEY_PASSWORD", "x",
         "influxdb: the variable INFLUXDB_V2_CERT_KEY_PASSWORD is not supported; unset it"),
        ("AUTH_BASIC", "true",
         "influxdb: the variable INFLUXDB_V2_AUTH_BASIC is not supported; unset it"),
    ],
)  # fmt: skip
def test_a_bad_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    """Variables must follow the rules of the file."""
    monkeypatch.setenv(f"INFLUXDB_V2_{name}", value)
    assert refusal() == f"config.yaml: {message}"


@pytest.mark.parametrize("given", ["file", "variable"])
def test_password_in_a_url(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """A password in the URL is refused without being shown."""
    url = "http://bob:verySecret@influx:8086"
    if given == "variable":
        monkeypatch.setenv("INFLUXDB_V2_URL", url)
    message = refusal(**({"url": url} if given == "file" else {}))
    assert message == (
        f"config.yaml: influxdb.url: {URL_RULE}; user and password have their own keys"
    )


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"timeout": "0s"}, "timeout: must be 100ms to 10m, not '0s'"),
        ({"timeout": "99ms"}, "timeout: must be 100ms to 10m, not '99ms'"),
        ({"timeout": "1h"}, "timeout: must be 100ms to 10m, not '1h'"),
        ({"spool": ""}, "spool: must be non-empty text, not ''"),
        ({"bucket": ""}, "bucket: must be non-empty text, not ''"),
        ({"tags": "x"}, "tags: must be a mapping such as {site: home}, not a single value"),
        ({"url": 7}, f"url: {URL_RULE}, not 7"),
        ({"spool_limit": "1000KiB"},
         "spool_limit: must be a size of 1MiB or more, such as 512MiB, not '1000KiB'"),
        ({"batch": 5001}, "batch: must be 5000 or less, not 5001"),
        ({"batch": True}, "batch: must be a whole number, not true"),
    ],
)  # fmt: skip
def test_a_bad_section(section: dict[str, object], message: str) -> None:
    """Each mistake is reported with its place and what is allowed."""
    assert refusal(**section) == f"config.yaml: influxdb.{message}"


@pytest.mark.parametrize("timeout", ["100ms", "10m"])
def test_timeout_at_its_ends(timeout: str) -> None:
    """A timeout is between a tenth of a second and ten minutes."""
    assert loaded(timeout=timeout).timeout in (0.1, 600.0)


@pytest.fixture
def certificates() -> Path:
    """Return a file with the system's certificates."""
    import certifi

    return Path(certifi.where())


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file or directory"), ("", "it holds no certificates"),
     ("nonsense", "it holds no certificates")],
    ids=["missing", "empty", "nonsense"],
)  # fmt: skip
def test_a_bad_ca_file(tmp_path: Path, content: str | None, reason: str) -> None:
    """Unusable certificates are found by `--config.check`."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    assert refusal(ca_file=str(path)) == (
        f"config.yaml: influxdb.ca_file: cannot use {path}: {reason}"
    )


def test_a_ca_file_that_is_a_fifo(tmp_path: Path) -> None:
    """It is refused at once; to open it would wait for a writer."""
    path = tmp_path / "ca.pem"
    os.mkfifo(path)
    assert refusal(ca_file=str(path)) == (
        f"config.yaml: influxdb.ca_file: cannot use {path}: not a regular file"
    )
