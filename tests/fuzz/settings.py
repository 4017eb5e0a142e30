"""Configuration files, and arguments of the command line."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import shutil
import ssl
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

import bcrypt
import click

from goe_exporter import logs
from goe_exporter.channels import writable
from goe_exporter.channels.model import Choices
from goe_exporter.channels.snapshot import Answer
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger import write
from goe_exporter.charger.connection import Connection, connection
from goe_exporter.charger.settings import ChargerConfig
from goe_exporter.cli import options
from goe_exporter.config import certificates, strict_yaml, yaml_file
from goe_exporter.config import values as grammar
from goe_exporter.errors import ConfigError, GoeExporterError, UsageError
from goe_exporter.http_server import auth
from goe_exporter.http_server.web_config import TlsServer, WebConfig
from goe_exporter.influx.settings import InfluxSettings
from goe_exporter.influx.write_api import Access, ServerV1
from goe_exporter.prometheus import negotiation
from goe_exporter.service import config as service_config
from goe_exporter.service.config import Config
from goe_exporter.surplus.config import GridConfig, SurplusConfig
from goe_exporter.surplus.json_source import JsonSource
from goe_exporter.surplus.prometheus_source import PrometheusSource
from goe_exporter.transport.http import Transport
from goe_exporter.web import locale
from tests.fuzz.source import Source

_ROOT = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
atexit.register(shutil.rmtree, _ROOT, ignore_errors=True)
_FILE = str(_ROOT / "file.yml")
SECRET = "Zo6Vt1Xq"
(_ROOT / "token").write_text(SECRET)


def _trust(cafile: str | None = None) -> None:
    """Replaces `create_default_context`, which reads all certificates of the system."""
    if cafile is not None:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile)


@contextlib.contextmanager
def _without_certificates() -> Iterator[None]:
    stand_in = types.SimpleNamespace(create_default_context=_trust, SSLError=ssl.SSLError)
    before, certificates.ssl = certificates.ssl, stand_in  # type: ignore[assignment, attr-defined]
    try:
        yield
    finally:
        certificates.ssl = before  # type: ignore[attr-defined]


def _says(error: ConfigError) -> None:
    """Assert that an error is a few printable lines without secrets."""
    assert 1 <= len(error.lines) <= 21, len(error.lines)
    for line in error.lines:
        assert line.isprintable(), line
        assert len(line) < 3000, len(line)
        assert SECRET not in line, line


def _write(data: bytes) -> None:
    Path(_FILE).write_bytes(data)


def config_file(data: bytes) -> None:
    """Any bytes are a configuration that can be used, or a `ConfigError` of one line."""
    _write(data)
    try:
        with _without_certificates():
            found = service_config.load(_FILE)
    except ConfigError as error:
        _says(error)
    else:
        _usable(found)


def web_config_file(data: bytes) -> None:
    """The same for TLS and passwords, whose secrets no error repeats."""
    _write(data)
    try:
        found = strict_yaml.validated(WebConfig, *yaml_file.read(_FILE))
        _usable_web(found)
    except ConfigError as error:
        _says(error)


_CHARGER_KEYS = ("name", "host", "api", "refresh_interval", "token_file", "x")
_TOP_KEYS = ("refresh_interval", "environment_proxies", "chargers", "influxdb", "surplus", "x")
_INFLUX_KEYS = (*InfluxSettings.model_fields, "x")
_SURPLUS_KEYS = (*SurplusConfig.model_fields, "x")
_SOURCE_KEYS = (*GridConfig.model_fields, "json", "first", "x")
_SOURCES: tuple[dict[str, object], ...] = (
    {"json": "http://box/status?a=b", "path": "a[0].b"},
    {"prometheus": "http://box:9090/x", "query": "a_watts"},
    {},
)
_VALUES = (
    *("garage", "192.168.1.36", "http://box:80", "5s", "1.5m", "auto", 1, 2, True, "v1", "v2"),
    *("http://localhost:8086", "512MiB", "10s", 5000, "/dev/null", str(_ROOT / "token"), "HOME"),
    *("[fe80::1%eth0]:80", "box.local.", "ü.example", "a" * 64, "x:65535", "http://[::1]:8086/x"),
    *("60s", "auto", "120Wh", "6A", "-1kW", "house", "export", "kW", 3, "a[0].b", "sum(a)"),
    *({"site": "home"}, {"": ""}, {"a": None}, [], {}, None),
)


def _value(source: Source) -> object:
    return source.pick(_VALUES) if source.below(2) else source.json(2)


def _section(source: Source, keys: tuple[str, ...]) -> object:
    if source.below(16) == 1:
        return source.json(2)
    return {source.pick(keys): _value(source) for _ in range(source.below(8))}


def config_values(data: bytes) -> None:
    """Any values in any place are a configuration or a `ConfigError`."""
    source = Source(data)
    document = _section(source, _TOP_KEYS)
    if isinstance(document, dict):
        chargers: list[object] = []
        for _ in range(source.below(3)):
            charger = _section(source, _CHARGER_KEYS)
            base = {"name": source.text(), "host": "box"} if source.below(2) else {}
            chargers.append({**base, **charger} if isinstance(charger, dict) else charger)
        document["chargers"] = chargers
        if source.below(2):
            influx = _section(source, _INFLUX_KEYS)
            base = {"bucket": "goe"} if source.below(4) else {}
            document["influxdb"] = {**base, **influx} if isinstance(influx, dict) else influx
        if source.below(2):
            document["surplus"] = _surplus(source)
    try:
        with _without_certificates():
            found = service_config.parse(document, "goe.yml")
    except ConfigError as error:
        _says(error)
    else:
        _usable(found)


def _surplus(source: Source) -> object:
    """Return a section `surplus`, of which much is valid."""
    section = _section(source, _SURPLUS_KEYS) if source.below(2) else {}
    if not isinstance(section, dict):
        return section
    mode = source.pick(("control", "follow", "feed"))
    names = ("available",) if mode == "follow" else ("grid", "battery", "pv")
    for name in names[: 1 + source.below(2 if mode == "control" else 3)]:
        part = _section(source, _SOURCE_KEYS) if source.below(2) else {}
        section[name] = {**source.pick(_SOURCES), **part} if isinstance(part, dict) else part
    if mode == "control":
        section["phases"] = source.pick(("auto", 1, 3))
    if mode != "feed":
        section["max_current"] = "16A"
    return {**section, "mode": mode, "charger": "garage"}


def _usable(found: Config) -> None:
    """Assert that an accepted configuration can be opened, so that checking it is useful."""
    for charger in found.chargers:
        _usable_host(charger)
        interval = charger.refresh_interval
        assert interval is None or 1 <= interval <= 86_400
    assert 1 <= found.refresh_interval <= 86_400
    settings = found.influxdb
    if settings is not None:
        access = Access(settings.timeout, verify_tls=False)
        server = ServerV1(settings.url, settings.bucket, *settings.login(), access)
        server._transport._prepare(server._target)
        os.fsencode(settings.spool)
        assert "\0" not in settings.spool
        settings.org.encode()
        settings.token().encode("latin-1")
        assert 1 <= settings.batch <= 5000
        assert 0.1 <= settings.timeout <= 600
        assert settings.spool_limit >= 1024 * 1024
    if found.surplus is not None:
        _usable_surplus(found.surplus)


def _usable_surplus(section: SurplusConfig) -> None:
    """Assert that the sources can be opened, and that the settings are within their limits."""
    for name, config in section.sources().items():
        config = config.model_copy(update={"ca_file": None, "verify_tls": False})  # noqa: PLW2901
        opened = (PrometheusSource if config.kind == "prometheus" else JsonSource)(name, config)
        opened._transport._prepare("/")
    assert (section.max_current is None) is (section.mode == "feed")
    assert 6 <= section.min_current <= (section.max_current or 32) <= 32
    if section.mode == "control":
        settings = section.settings(5.0)
        assert 6 <= settings.one_phase_max_a <= 32
        assert 20 <= settings.stale_after_s <= 180
    elif section.mode == "follow":
        assert section.follow_settings(5.0).unit in ("A", "W")


def _usable_host(charger: ChargerConfig | Connection) -> None:
    charger.name.encode()
    Transport(charger.host, deadline_seconds=1, verify_tls=False)._prepare("/status")


_HASH = f"$2y$10${'a' * 21}e{'a' * 31}"
_WEB_VALUES = (
    *("TLS12", "TLS13", "NoClientCert", "RequireAndVerifyClientCert", "VerifyClientCertIfGiven"),
    *("token", "missing.pem", _HASH, "TLS_AES_128_GCM_SHA256", ["TLS_AES_128_GCM_SHA256"]),
    *(["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"], {"me": _HASH}, "1m30s", "0"),
    *({"interval": "1s", "burst": 3}, {"headers": {"X-Frame-Options": "deny"}}, "5s", True, 3),
)


_SECRETS: dict[str, tuple[object, ...]] = {
    "tls_server_config": ({"key": SECRET, "x": 1}, {"key": [SECRET]}, SECRET, [SECRET]),
    "basic_auth_users": ({"me": SECRET}, {"me": [SECRET]}, [SECRET], SECRET, [{"me": SECRET}]),
}


def web_config_values(data: bytes) -> None:
    """Any values in any place of the web configuration are valid, or a `ConfigError`."""
    source = Source(data)
    tls = (*TlsServer.model_fields, "x")
    keys = (*WebConfig.model_fields, "x")
    document: dict[str, object] = {}
    for _ in range(source.below(4)):
        key = source.pick(keys)
        inner = tls if key == "tls_server_config" else ("interval", "burst", "headers", "http2")
        section: object = {
            source.pick(inner): source.pick(_WEB_VALUES) if source.below(2) else source.json(2)
            for _ in range(source.below(8))
        }
        if source.below(4) == 0:
            section = source.pick(_WEB_VALUES) if source.below(2) else source.json()
        if key == "tls_server_config" and isinstance(section, dict) and source.below(2):
            section = {"cert_file": "token", "key_file": "token"} | section
        if key in _SECRETS and source.below(4) == 0:
            section = source.pick(_SECRETS[key])
        document[key] = section
    try:
        _usable_web(strict_yaml.validated(WebConfig, document, "web.yml"))
    except ConfigError as error:
        _says(error)


def _usable_web(found: WebConfig) -> None:
    rate = found.rate_limit
    assert 0 <= rate.interval < math.inf
    for user, hashed in found.basic_auth_users.items():
        user.encode()
        bcrypt.checkpw(b"x", f"{hashed[:4]}04{hashed[6:]}".encode())
    for text in found.http_server_config.headers.by_name().values():
        text.encode("latin-1")
    if found.tls_server_config is not None:
        found.tls_server_config.allows({"subjectAltName": (("DNS", "a"), ("IP Address", "::1"))})
        found.tls_server_config.context(_FILE)


class _Shows:
    """Stands for a charger that reports anything."""

    cloud = False

    def __init__(self, api: int, shown: list[dict[str, object]]) -> None:
        self._api = api
        self._shown = shown
        self.sent: list[object] = []

    def status(self, _keys: object, **_options: int) -> Answer:
        return Answer(self._api, self._shown.pop(0) if len(self._shown) > 1 else self._shown[0])

    def write(self, _api: int, _key: str, value: object) -> None:
        self.sent.append(value)


_WRITABLE = tuple(channel for channel in CHANNELS if channel.write)


def values(data: bytes) -> None:
    """A value to write is rejected, or within its range; then it parses to itself."""
    source = Source(data)
    channel = source.pick(_WRITABLE)
    api = source.pick(tuple(channel.write))
    limit = source.json(1) if source.below(4) == 0 else None
    text = source.text() if source.below(4) == 0 else source.rest().decode("utf-8", "replace")
    try:
        write = writable.parse(channel, text).through(api, {"ama": limit})
    except UsageError as error:
        assert str(error).isprintable(), error
        return
    value = write.value
    if isinstance(write.allowed, Choices):
        assert value in write.allowed.values.values()
    elif value is None:
        assert write.allowed.off
    else:
        assert isinstance(value, int | float)
        assert write.allowed.low <= value <= write.allowed.high
        step = write.allowed.step
        assert abs(value / step - round(value / step)) < 1e-6
        assert writable.parse(channel, f"{value}").through(api).value == value


def writes(data: bytes) -> None:
    """A write succeeds or raises an error of the exporter, whatever the charger reports."""
    source = Source(data)
    channel = source.pick(_WRITABLE)
    keys = ("ama", "amp", "dwo", "frc", channel.key.split()[0], "psm")
    shown = [
        {source.pick(keys): source.json(1) for _ in range(source.below(4))}
        for _ in range(1 + source.below(3))
    ]
    client = _Shows(source.pick((1, 2)), shown)
    text = source.pick(("16", "6", "off", "on", "100", "0", "auto", "open")) if source.below(4) \
        else source.text()  # fmt: skip
    times = iter(range(100))
    try:
        change = writable.parse(channel, text, CHANNELS)
        written = write.write(
            client, change, clock=lambda: float(next(times)), sleep=lambda _seconds: None
        )
    except GoeExporterError as error:
        assert str(error).isprintable(), error
    else:
        assert client.sent == [written.write.value]


def _listens(text: str) -> None:
    host, port = grammar.listen_address(text)
    assert 0 <= port <= 65_535
    assert "\0" not in host
    host.encode("idna")


def _is_path(path: str) -> None:
    """Assert that a path is itself for every client and proxy, and for Starlette's routes."""
    assert path == urljoin("http://a/", path).removeprefix("http://a")
    assert quote(path) == path
    assert not path.endswith("/")


_ARGUMENTS: tuple[Callable[[str], object], ...] = (
    lambda text: _usable_host(connection(text)),
    lambda text: _within(grammar.interval(text), 1, 86_400),
    lambda text: _within(grammar.timeout_seconds(text), 0.1, 600),
    lambda text: _within(grammar.size(text), 1024 * 1024, 2**50),
    _listens,
    grammar.host,
    lambda text: _is_path(grammar.path(text)),
    lambda text: _is_path(f"{grammar.path_prefix(text)}/x"),
    lambda text: _is_path(f"{urlsplit(grammar.external_url(text)).path}/x"),
    lambda text: writable.find(CHANNELS, text),
    lambda text: _within(options.FiniteRange(1, 1000).convert(text, None, None), 1, 1000),
)


def _within(number: float, low: float, high: float) -> None:
    assert low <= number <= high


def arguments(data: bytes) -> None:
    """An argument is rejected with a line that names it, or can be used."""
    source = Source(data)
    works = source.pick(_ARGUMENTS)
    text = source.rest().decode("utf-8", source.pick(("surrogateescape", "replace")))
    try:
        works(text)
    except click.UsageError:
        assert works is _ARGUMENTS[-1]
    except UsageError as error:
        assert str(error).isprintable(), error
    except ValueError as error:
        assert type(error) is ValueError, error
        assert "not " in str(error) or "no place" in str(error), error


_FORMATS = (logs._Formatter("logfmt"), logs._Formatter("json"))


def texts(data: bytes) -> None:
    """A log line is one line of ASCII, whatever it contains; any header can be parsed."""
    source = Source(data)
    values = {"reason": source.text(), "words": source.json(2), "at": source.number()}
    event = logs.logging.LogRecord("n", 20, "p", 1, "poll failed", None, None)
    event.values = values
    for form in _FORMATS:
        line = form.format(event)
        assert line.isascii()
        assert line.isprintable()
    raw = source.rest()
    given = auth._login({"type": "http", "headers": [(b"authorization", b"Basic " + raw)]})
    assert given is None or all(isinstance(text.encode(), bytes) for text in given)
    header = raw.decode("latin-1")
    assert locale.preferred(header).tag[:2] in locale.LANGUAGES
    assert negotiation.negotiated(header)
