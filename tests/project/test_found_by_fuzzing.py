"""Bugs found by fuzzing, a test for each, which failed before the fix (`tests/fuzz/README.md`)."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Launch
from exporters import LISTEN, Exporter
from servers import PATIENCE_SECONDS
from speaker import Speaker

from goe_exporter.channels.snapshot import Answer
from goe_exporter.channels.table import CHANNELS
from goe_exporter.channels.writable import find, parse
from goe_exporter.charger.client import Client
from goe_exporter.charger.connection import connection
from goe_exporter.charger.write import write
from goe_exporter.config import strict_yaml, values
from goe_exporter.durable.clock import TrustedClock
from goe_exporter.errors import ConfigError, RefusedError, TransportError
from goe_exporter.http_server.web_config import WebConfig
from goe_exporter.influx import line_protocol
from goe_exporter.influx.dead_letters import DeadLetters, letters
from goe_exporter.influx.unstamped import UnstampedPoints
from goe_exporter.influx.write_api import result
from goe_exporter.polling.view import Poll
from goe_exporter.service import config as service_config
from goe_exporter.simulator import Charger, Simulator
from goe_exporter.spool import segments
from goe_exporter.spool.queue import Spool
from goe_exporter.transport.answer import HttpAnswer
from goe_exporter.transport.http import Transport

LIMIT = 1024 * 1024
NOW = 1_800_000_000.0
HUGE = 10**400


# transport, charger


def test_chunk_of_minus_one(speak: Callable[..., Speaker]) -> None:
    """The library would read such a chunk to the end of the connection."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"
    speaker = speak(head, endless=b"x" * 65_536)
    with pytest.raises(TransportError) as caught:
        Transport(speaker.address, deadline_seconds=60).get("/")
    assert caught.value.reason == "truncated"


def test_refusal_with_keys_that_cannot_be_printed() -> None:
    """A refusal is one line of text, whatever keys the response has."""

    class Answers:
        one_address = contextlib.nullcontext

        def get(self, _target: str, _until: float | None = None) -> HttpAnswer:
            return HttpAnswer(200, {}, b'{"\\n\\ud800\\u001b[31m":1,"fna":2}')

    client = Client("box", "2")
    client._transport = Answers()  # type: ignore[assignment]
    with pytest.raises(RefusedError) as caught:
        client.write(2, "amp", 16)
    assert str(caught.value) == "box refused amp=16: an object with ???[31m, fna"


# influx: write_api


@pytest.mark.parametrize("text", ["\x1d8 ", "8\x1c", "\x1f8"])
def test_retry_after_between_separators(text: str) -> None:
    """A character that `str.strip` treats as space, but `float` does not, is no error."""
    assert result(503, {"Retry-After": text}, "").retry_after_seconds == 8.0


@pytest.mark.parametrize("zone", ["-0000", ""])
def test_date_without_a_zone(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A date without a time zone is in UTC, wherever the exporter runs."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        said = result(204, {"Date": f"Fri, 15 Jan 2027 08:00:00 {zone}".strip()}, "")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert said.server_time == NOW


# spool: segments, recovery, queue


def _sound(line: bytes) -> bytes:
    return segments.record(line)


def _drained(spool: Spool) -> list[bytes]:
    batch = spool.read(100)
    spool.commit(batch.end)
    return batch.lines


def test_sound_record_behind_a_torn_one_at_the_end(tmp_path: Path) -> None:
    """Two records lost their newlines, and one is damaged: the other is delivered."""
    (tmp_path / "000000000001.log").write_bytes(b"dead" + _sound(b"good")[:-1])
    spool = Spool(tmp_path, LIMIT)
    assert spool.append(b"next")
    assert _drained(spool) == [b"good", b"next"]
    assert spool.damaged == 1
    spool.close()


def test_zeros_as_text_are_no_record(tmp_path: Path) -> None:
    """Damage that ends with the checksum of nothing is not delivered as an empty line."""
    (tmp_path / "000000000001.log").write_bytes(b"damage 00000000 \n" + _sound(b"good"))
    spool = Spool(tmp_path, LIMIT)
    assert _drained(spool) == [b"good"]
    spool.close()


def test_inspection_sees_what_is_delivered(tmp_path: Path) -> None:
    """`spool status` and `spool dead` show the intact record after a damaged one too."""
    (tmp_path / "000000000001.log").write_bytes(b"damage" + _sound(b"good 1000"))
    assert list(segments.lines(tmp_path)) == [b"good 1000"]
    assert segments.survey(tmp_path).first == b"good 1000"


def test_segment_number_of_twelve_nines(tmp_path: Path) -> None:
    """Records written after it are in a file that is found again."""
    (tmp_path / "999999999999.log").write_bytes(_sound(b"old"))
    spool = Spool(tmp_path, LIMIT)
    assert spool.append(b"new")
    spool.close()
    again = Spool(tmp_path, LIMIT)
    assert _drained(again) == [b"old", b"new"]
    again.close()


def test_cursor_before_the_start(tmp_path: Path) -> None:
    """A cursor that no spool wrote, with a valid checksum, does not cost a segment."""
    (tmp_path / "000000000001.log").write_bytes(_sound(b"good"))
    (tmp_path / "cursor").write_bytes(_sound(b"1 -7"))
    spool = Spool(tmp_path, LIMIT)
    assert _drained(spool) == [b"good"]
    spool.close()


# influx: dead letters, line protocol


@pytest.mark.parametrize(
    "letter",
    [
        {"time": 1.0, "words": "w", "line": 5},
        {"time": 1.0, "words": None, "line": "p f=1 1000"},
        "[" * 100_000,
    ],
)
def test_letter_that_is_none(tmp_path: Path, letter: object) -> None:
    """It is neither shown nor requeued, and does not affect others."""
    good = {"time": 1.0, "words": "w", "line": "p f=1 1000"}
    stored = letter if isinstance(letter, str) else json.dumps(letter)
    texts = [stored.encode(), json.dumps(good).encode()]
    (tmp_path / "dead").mkdir()
    (tmp_path / "dead" / "000000000001.log").write_bytes(b"".join(map(_sound, texts)))
    assert [letter.line for letter in letters(tmp_path / "dead")] == ["p f=1 1000"]
    dead, queue = DeadLetters(tmp_path / "dead", LIMIT), Spool(tmp_path / "queue", LIMIT)
    assert dead.requeue(queue).put_back == 1
    assert _drained(queue) == [b"p f=1 1000"]
    dead.close()
    queue.close()


def test_letter_with_half_a_surrogate_pair(tmp_path: Path) -> None:
    """JSON can contain it, but no line can."""
    letter = b'{"time": 1.0, "words": "w", "line": "p f=\\"\\ud800\\" 1000"}'
    (tmp_path / "dead").mkdir()
    (tmp_path / "dead" / "000000000001.log").write_bytes(_sound(letter))
    dead, queue = DeadLetters(tmp_path / "dead", LIMIT), Spool(tmp_path / "queue", LIMIT)
    assert dead.requeue(queue).put_back == 1
    assert _drained(queue) == [b'p f="?" 1000']
    dead.close()
    queue.close()


@pytest.mark.parametrize("digits", [20, 400, 5000])
def test_timestamp_beyond_all_measure(digits: int) -> None:
    """A timestamp with too many digits is ignored and does not stop the delivery."""
    assert line_protocol.timestamp(b"p f=1 " + b"9" * digits) is None


def test_tags_that_differ_only_in_what_no_tag_holds() -> None:
    """A server rejects a line with a duplicate tag; the charger's own has precedence."""
    poll = Poll("garage", "1", NOW, None)
    point = line_protocol.point(poll, {"charger ": "x", "site": "a", "site\\": "b", "site\n": "c"})
    assert point == "goe_charger,charger=garage,serial=1,site=a up=false"


# influx: unstamped; durable: clock


def _keeper(file: Path) -> TrustedClock:
    return TrustedClock(file, "boot-2", lambda: NOW, lambda: 5000.0, lambda: True)


@pytest.mark.parametrize(
    "record",
    [
        b"short",
        b"boot-1 x 1.0 1.0 p f=1",
        b"\xff 1.0 1799999999.0 nan p f=1",
        b"boot-2 nan 1.0 1.0 p f=1",
        b"boot-2 -1e300 1.0 1.0 p f=1",
        b"boot-1 1.0 inf 1.0 p f=1",
    ],
)
def test_held_record_without_a_time(tmp_path: Path, record: bytes) -> None:
    """It is set aside with a reason, and those after it are stamped."""
    keeper = _keeper(tmp_path / "clock")
    held = UnstampedPoints(tmp_path / "held", LIMIT, keeper, 0.0)
    held.spool.extend([record, b"boot-2 4000.0 1.0 1.0 p f=2"])
    found, end = held.stamped(keeper.now())
    assert found.lines == [b"p f=2 1799999000000"]
    assert len(found.untimed) == 1
    held.done(end)
    assert held.spool.pending == 0
    held.spool.close()


@pytest.mark.parametrize(
    "text",
    ["-inf 0 boot-2", "1e300 0 boot-1", "9e9 0 boot-1", "1799999000 -1e300 boot-1", "0 inf x"],
)
def test_clock_file_that_no_exporter_wrote(tmp_path: Path, text: str) -> None:
    """An impossible time is ignored; it would leave every later point without a time."""
    (tmp_path / "clock").write_text(text)
    assert _keeper(tmp_path / "clock").last_trusted in (0.0, NOW)


# config, http_server


def _load(tmp_path: Path, text: str) -> str:
    """Return the error of a configuration."""
    path = tmp_path / "goe.yml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        service_config.load(str(path))
    assert str(caught.value).isprintable()
    return str(caught.value).removeprefix(f"{path}")


def test_aliases_of_aliases(tmp_path: Path) -> None:
    """A list that aliases expand to a billion entries is rejected at once."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    text = "\n".join(levels) + "\nrefresh_interval: *a9\n"
    assert _load(tmp_path, text).startswith(":1:1: a0: unknown key")
    assert _load(tmp_path, "x: 1\n? *a\n: 1\n").startswith(":")


def test_aliases_as_a_key(tmp_path: Path) -> None:
    """As is such a list as a key."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert _load(tmp_path, "\n".join(levels) + "\n? *a9\n: 1\n").startswith(":")


@pytest.mark.parametrize("key", ["refresh_interval", "environment_proxies"])
def test_number_too_long_to_be_shown(tmp_path: Path, key: str) -> None:
    """Python does not print such a number, so the error does not either."""
    assert _load(tmp_path, f"{key}: !!int 0x{'f' * 5000}").endswith(
        ", not a number with thousands of digits"
    )


def test_key_that_would_break_the_line(tmp_path: Path) -> None:
    """The error shows an unknown key without control characters and line breaks."""
    assert _load(tmp_path, '"a\\n\\e[31m": 1').startswith(":1:1: a\\n\\x1b[31m: unknown key")


@pytest.mark.parametrize(
    "place",
    [
        "refresh_interval: 5s\nchargers: [{name: a, host: box, token_file: TEXT}]",
        "influxdb: {bucket: TEXT}",
        "influxdb: {bucket: b, org: TEXT}",
        "influxdb: {bucket: b, spool: TEXT}",
        "influxdb: {bucket: b, ca_file: TEXT}",
        "influxdb: {bucket: b, token_env: TEXT}",
        "influxdb: {bucket: b, username: TEXT}",
        "influxdb: {bucket: b, password_file: TEXT}",
        "influxdb: {bucket: b, tags: {TEXT: x}}",
    ],
)
@pytest.mark.parametrize(
    ("text", "rule"),
    [('"\\ud800"', "must be UTF-8 text"), ('"a\\0b"', "must be text without NUL")],
)
def test_text_that_cannot_be_passed_on(tmp_path: Path, place: str, text: str, rule: str) -> None:
    """Lone surrogates and NUL are rejected, since no file name or URL can hold them."""
    said = _load(tmp_path, place.replace("TEXT", text))
    (key,) = re.findall(r"(\w+): \{?TEXT", place)
    secret = key in ("token_file", "token_env", "password_file")
    assert re.search(rf"{key}(\.\S+)?: {rule}", said)
    assert (", not '" in said) is not secret


@pytest.mark.parametrize(
    "host",
    [
        "box:٣",
        "[fe80::1%ü]",
        "a" * 70,
        "ü" * 70,
        "x:" + "0" * 5000 + "1",
        "ü" * 30 + "。" + "ü" * 70,
    ],
)
def test_host_that_no_request_can_have(host: str) -> None:
    """It is rejected as an option, not at the first request."""
    with pytest.raises(
        ValueError, match=r"^must be a host name or address with an optional port[,;] "
    ):
        values.host(host)


def test_host_beyond_ascii() -> None:
    """A name in any script is encoded for DNS."""
    found = connection("büro=büro.example:8080")
    assert (found.name, found.host) == ("büro", "xn--bro-hoa.example:8080")
    assert connection("１.2.3.4").host == "1.2.3.4"


@pytest.mark.parametrize("url", ["http://a|b", "http://[::::]", "http://%zz", "http://" + "ü" * 70])
def test_url_that_no_request_can_have(url: str) -> None:
    """As is the URL of InfluxDB."""
    with pytest.raises(
        ConfigError,
        match=r"influxdb.url: must be a URL such as http://HOST:PORT or https://HOST[,;] ",
    ):
        service_config.parse({"influxdb": {"bucket": "b", "url": url}}, "goe.yml")


@pytest.mark.parametrize("text", ["a\0:1", f"{'a' * 70}:1", f"{'ü' * 70}:1", "a|b:1"])
def test_listen_address_that_no_socket_can_have(text: str) -> None:
    """As is an address to listen on."""
    with pytest.raises(
        ValueError, match=r"^must be ADDR:PORT or :PORT, such as 127.0.0.1:10332, not "
    ):
        values.listen_address(text)


@pytest.mark.parametrize("suite", [["x"], {"a": 1}])
def test_cipher_suite_that_is_no_text(suite: object) -> None:
    """A value of another type is rejected."""
    section = {"cert_file": "a", "key_file": "a", "cipher_suites": [suite]}
    with pytest.raises(ConfigError, match=r"cipher_suites\[0\]: must be one of TLS_"):
        strict_yaml.validated(WebConfig, {"tls_server_config": section}, "web.yml")


def test_endless_rate_interval() -> None:
    """A duration beyond any clock would reject all requests forever."""
    with pytest.raises(ConfigError, match="a duration such as"):
        strict_yaml.validated(WebConfig, {"rate_limit": {"interval": "9" * 400 + "s"}}, "web.yml")


def test_secret_in_place_of_its_section() -> None:
    """The error never shows a value in place of a section with secrets."""
    with pytest.raises(ConfigError) as caught:
        strict_yaml.validated(WebConfig, {"tls_server_config": "-----PRIVATE"}, "web.yml")
    assert "PRIVATE" not in str(caught.value)


def test_hash_that_bcrypt_cannot_check() -> None:
    """It looks valid, but every request with a password would fail."""
    users = {"basic_auth_users": {"me": "$2y$10$" + "a" * 53}}
    with pytest.raises(ConfigError, match=r"basic_auth_users\.me: must be a bcrypt hash"):
        strict_yaml.validated(WebConfig, users, "web.yml")


# charger: write


class _Shows:
    cloud = False

    def __init__(self, shown: dict[str, object]) -> None:
        self._shown = shown

    def status(self, _keys: object, **_options: int) -> Answer:
        return Answer(2, self._shown)

    def write(self, _api: int, _key: str, _value: object) -> None: ...


@pytest.mark.parametrize("shown", [{"ama": HUGE, "amp": 6}, {"ama": 32, "amp": HUGE}])
def test_number_too_long_for_a_float(shown: dict[str, object]) -> None:
    """A charger that reports such a number has not applied the write."""
    ticks = iter(range(100))
    with pytest.raises(RefusedError, match="max-current did not change"):
        write(
            _Shows(shown),
            parse(find(CHANNELS, "max-current"), "16"),
            clock=lambda: float(next(ticks)),
            sleep=lambda _seconds: None,
        )


# http_server


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_body_that_is_no_chunk(launch: Launch, simulator: Simulator, method: str) -> None:
    """The connection is closed and nothing is logged, since anybody could fill the disk."""
    box = simulator.add(Charger("V4"))
    site = Exporter(launch("serve", f"a={box.address}", *LISTEN))
    head = f"{method} /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    for body in (b"3\r\nabc\x16\n", b"3\r\na\0\0\0\0\0bc\r\n", b"x\r\n"):
        for _ in range(5):
            with socket.create_connection(
                ("127.0.0.1", site.port), timeout=PATIENCE_SECONDS
            ) as connection:
                connection.sendall(head + body)
                while connection.recv(65_536):
                    pass
    outcome = site.command.end(signal.SIGTERM)
    assert outcome.status == 0
    assert "Traceback" not in outcome.err
    assert "Exception" not in outcome.err
