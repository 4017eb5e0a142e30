"""No secret is shown: every command with recognisable secrets, and all of its output searched.

The secrets are the exporter's (tokens, passwords, hashes, a key) and those in a charger's status.
Chargers and server are real ones on loopback that echo what they received in every possible way.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import bcrypt
import pytest
import yaml
from commands import Command, Goe, Launch
from fake_influx import FakeInflux, Fakes, Received, Reply
from paths import ROOT
from servers import PATIENCE_SECONDS, push_config, running, self_signed, wait_for

CLOUD = "Tq7cloudTokenOfOurs/29-x"
INFLUX = "Wz4influxTokenOfOurs_88=="
WEB = "Hm2webPasswordOfOurs"
GUESS = "Jk9somebodysGuessOfIt"
PROXY = "Pv6proxyPasswordOfOurs"

PRIVATE = {
    "wss": "Ax1nameOfTheWifi",
    "wke": "Bx2keyOfTheWifi",
    "wak": "Cx3keyOfTheHotspot",
    "wifis": [{"ssid": "Dx4nameOfAWifi", "key": "Ex5keyOfAWifi"}],
    "scan": [{"ssid": "Fx6nameOfTheNeighbours", "bssid": "Gx7address"}],
    "cak": "Hx8keyOfTheCloud",
    "mcu": "mqtts://goe:Ix9passwordOfTheBroker@broker",
    "dll": "https://data.example/export?e=Jy1tokenOfTheData",
    "ocppak": "Ky2keyOfTheBackend",
    "rca": "Ly3cardOfAda",
    "rcr": "My4cardOfGrace",
    "cards": [{"name": "Ada", "energy": 1000, "cardId": "Ny5cardOfAda"}],
}
"""Private keys of a status, on v1 and v2 (docs/protocol.md §3.13)."""

TEXTS = re.findall(r"[A-Z][xy]\d\w+", json.dumps(PRIVATE))
LOGIN = base64.b64encode(f"goe:{INFLUX}".encode()).decode()
GUESSED = base64.b64encode(f"alice:{GUESS}".encode()).decode()
OURS = [CLOUD, INFLUX, WEB, GUESS, PROXY, LOGIN, GUESSED]

SHOWN = set("fna sse typ fwv oem var cards c0n rna".split())
"""Keys whose texts are readings, which are meant to be shown."""


def status(fixture: str) -> dict[str, object]:
    """Return a status of a charger with its private keys."""
    file = ROOT / "tests" / "fixtures" / f"{fixture}.json"
    found: dict[str, object] = json.loads(file.read_text()) | PRIVATE
    return found


V2, V1 = status("v2_v3_charging_three_phases"), status("v1_v2hardware_charging")


def secret_everywhere(request: Received) -> Reply:
    """Respond with a private text as the value of every key that is not a text."""
    wrong = {key: TEXTS[0] if key not in SHOWN else value for key, value in V2.items()}
    return good(request)._replace(body=json.dumps(wrong).encode())


def good(request: Received) -> Reply:
    """Respond with a status."""
    return Reply(200, json.dumps(V1 if request.path == "/status" else V2).encode())


def says(status_code: int, text: str) -> Callable[[Received], Reply]:
    """Return a rule for a text, in which {} stands for the request's `Authorization`."""

    def rule(request: Received) -> Reply:
        given = request.headers.get("authorization", "")
        return Reply(status_code, text.replace("{}", given).encode())

    return rule


WHOLE = json.dumps(V2)
ECHOES = {
    "sentence": says(401, "Unauthorized: {}"),
    "late": says(500, " " * 170 + "no {}"),
    "word": says(200, "{}"),
    "forbidden": says(403, "{}"),
    "outdated": says(404, "Data is outdated for {}"),
    "json": says(500, '{"amp": "{}", "message": "{}", "wke": "Bx2keyOfTheWifi"}'),
    "long": says(500, f'{{"amp": "{"x" * 175}{{}}"}}'),
    "broken": says(200, WHOLE[:-1] + ",}"),
    "broken_500": says(500, WHOLE[:-1] + ",}"),
    "status_500": says(500, WHOLE),
    "list": says(200, f"[{WHOLE}]"),
    "html": says(502, f"<html>{WHOLE} {{}}</html>"),
    "private": says(200, f"{TEXTS[1]}\n{TEXTS[2]}"),
    "wrong": secret_everywhere,
}
"""Responses of a charger, the cloud or a proxy that contain a secret."""


def nothing_in(texts: Iterable[str], secrets: Iterable[str] = (*OURS, *TEXTS)) -> None:
    """Fail if a text has a secret or its first half, plain or encoded for a URL or in base64."""
    for text in texts:
        for secret in secrets:
            half = secret[: max(len(secret) // 2, 7)]
            coded = base64.b64encode(secret.encode()).decode()[:12]
            for form in (half, quote(half, safe=""), coded):
                at = text.find(form)
                assert at < 0, (secret, text[max(at - 200, 0) : at + 200])


@pytest.fixture
def token(tmp_path: Path) -> str:
    """Return the path of a file with the cloud's token."""
    path = tmp_path / "cloud"
    path.write_text(f"{CLOUD}\n")
    return str(path)


def by_turns(*rules: Callable[[Received], Reply]) -> Callable[[Received], Reply]:
    """Return a rule that responds by each rule in turn."""
    turns = itertools.cycle(rules)

    def rule(request: Received) -> Reply:
        return next(turns)(request)

    return rule


# read and set


@pytest.mark.parametrize("output", ["table", "json", "prometheus", "influx"])
@pytest.mark.parametrize("api", ["1", "auto"])
def test_read(
    goe: Goe, fakes: Fakes, monkeypatch: pytest.MonkeyPatch, token: str, output: str, api: str
) -> None:
    """Neither a status nor a failure shows private text, in any format, also when debugging."""
    monkeypatch.setenv("GOE_EXPORTER_DEBUG", "1")
    for name, rule in {"good": good, **ECHOES}.items():
        charger = fakes(rule)
        outcome = goe(
            *("read", charger.host, "--token-file", token, "--format", output, "--api", api)
        )
        assert outcome.status == (0 if name in ("good", "wrong") else 1), (name, outcome)
        assert charger.received[0].headers["authorization"] == f"Bearer {CLOUD}"
        nothing_in(outcome[1:])


@pytest.mark.parametrize("name", ["good", *ECHOES])
def test_capture(goe: Goe, fakes: Fakes, token: str, name: str) -> None:
    """A capture is meant to be published: it shows no name either."""
    charger = fakes({"good": good, **ECHOES}[name])
    outcome = goe("capture", charger.host, "--token-file", token)
    assert outcome.status == (0 if name in ("good", "wrong") else 1), outcome
    shown = {**V1, **V2} if name in ("good", "wrong") else {}
    names = [str(shown[key]) for key in ("fna", "sse", "rna", "rnm") if shown.get(key)]
    nothing_in(outcome[1:], [*OURS, *TEXTS, *names])


@pytest.mark.parametrize("name", [name for name in ECHOES if name != "wrong"])
def test_set(goe: Goe, fakes: Fakes, token: str, name: str) -> None:
    """A refusal has the charger's message, without a secret in it, whole or cut."""

    def rule(request: Received) -> Reply:
        return ECHOES[name](request) if request.path == "/api/set" else good(request)

    charger = fakes(rule)
    outcome = goe("set", charger.host, "max-current", "10", "--token-file", token)
    assert outcome.status == 1
    assert any(request.path == "/api/set" for request in charger.received)
    nothing_in(outcome[1:])


def test_dry_run(goe: Goe, token: str) -> None:
    """The printed request has no token, which is in a header."""
    outcome = goe("set", "charger", "max-current", "10", "--token-file", token, "--dry-run")
    assert outcome.status == 0
    assert "/api/set?amp=10" in outcome.out
    nothing_in(outcome[1:])


# serve and push


class Set(NamedTuple):
    """A configuration with every possible secret, and its servers."""

    config: Path
    web: Path
    chargers: list[FakeInflux]
    influx: FakeInflux


CURSED = "cursed"


def echoing() -> Callable[[Received], Reply]:
    """Return a rule: errors that repeat the login, then a server that rejects one charger."""
    first = iter([says(401, "who is {}?"), says(503, '{"error": "{}"}')])

    def rule(request: Received) -> Reply:
        refusal = next(first, None) if request.body else None
        if refusal is not None:
            return refusal(request)
        if f"charger={CURSED}".encode() in request.body:
            return says(400, '{"message": "bad line from {}"}')(request)
        return Reply()

    return rule


@pytest.fixture
def everything(tmp_path: Path, fakes: Fakes, token: str) -> Callable[[str], Set]:
    """Return a function that writes the configuration, for InfluxDB's API "v1" or "v2"."""

    def write(api: str) -> Set:
        chargers = [fakes(by_turns(good, rule)) for rule in ECHOES.values()]
        names = [*list(ECHOES)[:-1], CURSED]
        influx = fakes(echoing())
        secret = tmp_path / "influx"
        secret.write_text(INFLUX)
        login = {"token_file": str(secret)}
        if api == "v1":
            login = {"username": "goe", "password_file": str(secret)}
        hosts = {name: charger.host for name, charger in zip(names, chargers, strict=True)}
        config = push_config(tmp_path, influx.url, hosts, api=api, **login)
        document = yaml.safe_load(config.read_text())
        for charger in document["chargers"]:
            charger["token_file"] = token
        config.write_text(yaml.safe_dump(document))
        self_signed(tmp_path)
        hashed = bcrypt.hashpw(WEB.encode(), bcrypt.gensalt(4)).decode()
        web = tmp_path / "web.yaml"
        web.write_text(
            f"tls_server_config: {{cert_file: both.pem, key_file: both.pem}}\n"
            f"basic_auth_users: {{alice: {hashed}}}\n"
        )
        return Set(config, web, chargers, influx)

    return write


def key_and_hash(found: Set) -> list[str]:
    """Return the secrets of the web configuration: the key's lines, and the hash."""
    key = re.findall(r"(?m)^[\w+/=]{40,}$", (found.web.parent / "key.pem").read_text())
    (hashed,) = re.findall(r"\$2b\$04\$(\S{53})", found.web.read_text())
    assert key
    return [*key, hashed]


def wait_for_all(found: Set) -> None:
    """Wait until every charger gave both responses twice, and the server rejected a line."""

    def done() -> bool:
        lines = b"".join(found.influx.taken)
        return bool(lines) and all(len(each.received) >= 4 for each in found.chargers)

    wait_for(done, "all answers")
    for each in found.chargers:
        assert each.received[0].headers["authorization"] == f"Bearer {CLOUD}"
    login = {f"Token {INFLUX}", f"Basic {LOGIN}"}
    assert found.influx.received[0].headers["authorization"] in login


def pages(command: Command) -> Iterator[str]:
    """Yield all responses of the web server, to its user and to a client that guesses."""
    base = command.line(r"url\W+(https://\S+?/)(?=\"|\s)")[1]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for password in (WEB, GUESS, ""):
        login = base64.b64encode(f"alice:{password}".encode()).decode()
        for path in (
            *("", "metrics", "api/v1/chargers", "api/v1/influx", "-/ready", "-/healthy"),
            *("charger/good", "charger/cursed", "api/v1/chargers/cursed", "api/v1/openapi.json"),
            f"charger/{GUESS}",
        ):
            headers = {"Authorization": f"Basic {login}"} if password else {}
            request = urllib.request.Request(base + path, headers=headers)
            try:
                answer = urllib.request.urlopen(request, timeout=PATIENCE_SECONDS, context=context)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                assert (answer.status == 200) <= (password == WEB)
                # The page of an unknown path may repeat the path.
                yield answer.read().decode().replace(GUESS, "") + str(answer.headers)


@pytest.mark.parametrize("log_format", ["logfmt", "json"])
@pytest.mark.parametrize("api", ["v1", "v2"])
def test_serve(
    launch: Launch, goe: Goe, everything: Callable[[str], Set], log_format: str, api: str
) -> None:
    """No log at level debug, metric, page or file of the spool shows a secret."""
    found = everything(api)
    secrets = [*OURS, *TEXTS, *key_and_hash(found)]
    options = ("--log-level", "debug", "--log-format", log_format)
    listen = ("--web.listen-address", "127.0.0.1:0", "--web.config.file", str(found.web))
    command = launch("serve", "--config", str(found.config), *listen, *options)
    wait_for_all(found)
    parked = found.config.parent / "spool" / "parked"
    wait_for(
        lambda: any(b"[secret]" in each.read_bytes() for each in parked.glob("*.log")), "words"
    )
    said = list(pages(command))
    assert any("goe_up{" in text for text in said)
    found.web.write_text(f"basic_auth_users: [alice:{WEB}]\n")
    command.line("web configuration reload failed")
    document = found.config.read_text()
    found.config.write_text(f"influxdb: [{{token: {INFLUX}}}]\n")
    command.process.send_signal(signal.SIGHUP)
    command.line("configuration reload failed")
    found.config.write_text(document)
    said.append(Path(f"/proc/{command.process.pid}/cmdline").read_text())
    limits = Path(f"/proc/{command.process.pid}/limits").read_text()
    assert re.search("Max core file size +0 +0 ", limits)
    outcome = command.end(signal.SIGTERM)
    assert outcome.status == 0, outcome
    for action in ("status", "dead", "drain"):
        said += goe("spool", action, "--config", str(found.config))[1:]
    files = [path for path in (found.config.parent / "spool").rglob("*") if path.is_file()]
    assert len(files) >= 3
    said += [path.read_text("utf-8", "replace") for path in files]
    assert "poll failed" in outcome.err
    assert "value could not be decoded" in outcome.err
    nothing_in([*said, outcome.out, outcome.err], secrets)


def test_push(launch: Launch, everything: Callable[[str], Set]) -> None:
    """The same for the agent alone."""
    found = everything("v2")
    command = launch("push", "--config", str(found.config), "--log-level", "debug")
    wait_for_all(found)
    outcome = command.end(signal.SIGTERM)
    assert outcome.status == 0, outcome
    nothing_in(outcome[1:])


def test_config_check(goe: Goe, everything: Callable[[str], Set]) -> None:
    """A valid configuration is reported as valid, and nothing else is printed."""
    found = everything("v2")
    options = ("--config", str(found.config), "--web.config.file", str(found.web))
    outcome = goe("serve", "--config.check", *options)
    assert outcome == (0, f"the configuration is valid: {len(found.chargers)} charger(s)\n", "")


Proxied = Callable[[str], Command]


@pytest.fixture
def proxied(launch: Launch, tmp_path: Path, fakes: Fakes) -> Proxied:
    """Return a function that starts `serve` with a proxy in its environment."""

    def start(url: str) -> Command:
        place = fakes(says(407, "{}")).host
        url = url.replace("PLACE", place).replace("LOGIN", f"goe:{PROXY}")
        variables = {"http_proxy": url, "HTTP_PROXY": url, "no_proxy": "", "NO_PROXY": ""}
        config = tmp_path / "config.yaml"
        config.write_text(
            "environment_proxies: true\nchargers: [{name: garage, host: charger.example}]\n"
        )
        listen = ("--web.listen-address", "127.0.0.1:0", "--log-level", "debug")
        return launch("serve", "--config", str(config), *listen, **variables)

    return start


@pytest.mark.parametrize("url", ["http://LOGIN@PLACE", "http://LOGIN@127.0.0.1:1", "LOGIN@PLACE"])
def test_proxy(proxied: Proxied, url: str) -> None:
    """The password of a proxy in the environment is in no log and no metric."""
    command = proxied(url)
    command.line("poll failed")
    with urllib.request.urlopen(
        command.line(r"url=(\S+)")[1] + "metrics", timeout=PATIENCE_SECONDS
    ) as answer:
        metrics = answer.read().decode()
    nothing_in([metrics, *command.end(signal.SIGTERM)[1:]])


@pytest.mark.parametrize(
    "url",
    [
        *("socks5://LOGIN@PLACE", "ftp://LOGIN@PLACE", "http://LOGIN@[PLACE", "http://LOGIN@"),
        *("http://LOGIN", "http://LOGIN/@PLACE", f"http://goe@127.0.0.1:{PROXY}", "://LOGIN@PLACE"),
    ],
)
def test_a_useless_proxy(proxied: Proxied, url: str) -> None:
    """An invalid proxy is rejected at the start, and not shown."""
    outcome = proxied(url).end()
    assert outcome.status == 2
    assert "the proxy in the environment must be http://HOST:PORT or https://" in outcome.err
    nothing_in(outcome[1:])


# Wrong configurations

SECRET = INFLUX
INFLUXDB = "influxdb:\n  url: http://server:8086\n  bucket: goe\n"
MISTAKES = [
    *(SECRET, f"- {SECRET}", f"token: {SECRET}\nchargers: [", f"a: \x01{SECRET}"),
    *(f"chargers: {SECRET}", f"chargers: [{SECRET}]", f"chargers: {{token: {SECRET}}}"),
    *(f"influxdb: {SECRET}", f"influxdb: [{SECRET}]", f"influxdb: [{{token: {SECRET}}}]"),
    *(f"{INFLUXDB}  token: {SECRET}\n", f"{INFLUXDB}  password: {SECRET}\n"),
    *(f"{INFLUXDB}  {key}: {SECRET}\n" for key in ("token_file", "password_file", "token_env")),
    *(f"{INFLUXDB}  {key}: [{SECRET}]\n" for key in ("token_file", "username", "url", "tags")),
    *(f"{INFLUXDB}  {key}: {{a: {SECRET}}}\n" for key in ("token_file", "timeout", "batch")),
    f"{INFLUXDB}  tags: {SECRET}\n",
    f"{INFLUXDB}  token_file: {SECRET * 20}\n",
    f'{INFLUXDB}  token_file: "{SECRET}\\0"\n',
    f'{INFLUXDB}  username: "a\\nb"\n  password_file: SECRET_FILE\n',
    f"{INFLUXDB}  username: ü\n  password_file: SECRET_FILE\n",
    *(
        INFLUXDB.replace("http://server:8086", f'"{url}"')
        for url in (
            *(f"http://goe:{SECRET}@server", f"http://goe:{SECRET}", f"goe:{SECRET}@server"),
            *(f"http://server/?token={SECRET}", f"http://server/#{SECRET}", f"server:{SECRET}"),
            f"http://goe:{SECRET}%40server:80",
        )
    ),
    *(
        f'chargers: [{{name: a, host: "{host}"}}]'
        for host in (
            *(f"goe:{SECRET}@box", f"http://goe:{SECRET}@box", f"goe:{SECRET}", f"box#{SECRET}"),
            f"api.go-e.co/api_status?token={SECRET}",
        )
    ),
    f"chargers: [{{name: a, host: {{token: {SECRET}}}}}]",
    f"chargers: [{{name: {{token: {SECRET}}}, host: a}}]",
    f"chargers: [{{name: a, host: b, token: {SECRET}}}]",
    f"chargers: [{{name: a, hsot: '{SECRET}', token_file: [{SECRET}], api: 3}}]\ncards: {SECRET}",
    f"{INFLUXDB}  tokn: {SECRET}\n  password: {SECRET}\n  token_file: {{a: {SECRET}}}\n",
    f"chargers: [{{name: a, host: b, token_file: {SECRET}}}]",
    f"chargers: [{{name: a, host: b, token_file: [{SECRET}]}}]",
    f"environment_proxies: http://goe:{SECRET}@proxy",
    f"refresh_interval: [{SECRET}]",
    *(
        f"{INFLUXDB}  token: {text}\n"
        for text in (
            *(f"*{SECRET}", f"!{SECRET}", f"!{SECRET}!a b", f"!<{SECRET}", f"!<{SECRET}> a"),
            *(f"!!int {SECRET}", f"!!float {SECRET}", f"!!bool {SECRET}", f"!!timestamp {SECRET}"),
            *(f"!!binary {SECRET}", f"!!map {SECRET}", f"!!omap [{SECRET}]", f"!!pairs {SECRET}"),
            *(f"@{SECRET}", f"`{SECRET}", f"%{SECRET}", f'"{SECRET}', f"'{SECRET}", f"|{SECRET}"),
            *(f'"\\q{SECRET}"', f"{SECRET}: a", f"&{SECRET} a\n  b: &{SECRET} c", f"a\n {SECRET}"),
        )
    ),
]


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_the_configuration(
    goe: Goe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    """Wherever a secret is put by mistake, no line of the error repeats it."""
    monkeypatch.setenv("GOE_EXPORTER_DEBUG", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text(SECRET)
    config = tmp_path / "config.yaml"
    config.write_text(text.replace("SECRET_FILE", str(tmp_path / "secret")))
    outcome = goe("serve", "garage=charger", "--config", str(config), "--config.check")
    assert (outcome.status, outcome.out) == (2, ""), outcome
    for line in outcome.err.splitlines():
        assert line.startswith(f"goe-exporter: {config}:")
    nothing_in([outcome.err])


WEB_MISTAKES = [
    *(SECRET, f"[{SECRET}]", f"basic_auth_users: {SECRET}", f"basic_auth_users: alice:{SECRET}"),
    *(f"basic_auth_users:\n  alice:{SECRET}", f"basic_auth_users: {{alice: {SECRET}}}"),
    *(f"tls_server_config: {SECRET}", f"tls_server_config: [{SECRET}]"),
    f"tls_server_config: {{cert_file: web.yaml, key: {SECRET}}}",
    f"tls_server_config: {{cert_file: web.yaml, key: [{SECRET}]}}",
    f"tls_server_config: {{cert_file: web.yaml, key_file: [{SECRET}]}}",
    f"tls_server_config: {{cert_file: web.yaml, key_file: '-----BEGIN PRIVATE KEY----- {SECRET}'}}",
    f"tls_server_config: {{cert_file: web.yaml, password: {SECRET}}}",
    f"http_server_config: {{headers: {{Authorization: {SECRET}}}}}",
    f"http_server_config: {{headers: [{SECRET}]}}",
    f"rate_limit: {SECRET}",
]


@pytest.mark.parametrize("text", WEB_MISTAKES)
def test_a_mistake_in_the_web_configuration(goe: Goe, tmp_path: Path, text: str) -> None:
    """The same for the file with hashes and the key."""
    web = tmp_path / "web.yaml"
    web.write_text(text)
    outcome = goe("serve", "garage=charger", "--web.config.file", str(web), "--config.check")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith(f"goe-exporter: {web}:")
    nothing_in([outcome.err])


@pytest.mark.parametrize(
    "arguments",
    [
        ("read", f"goe:{SECRET}@charger"),
        ("read", f"garage=http://goe:{SECRET}@charger"),
        ("read", f"charger/api_status?token={SECRET}"),
        ("read", "charger", "--token-file", SECRET),
        ("set", "charger", "max-current", "10", "--token-file", SECRET),
        ("serve", "--config.check", f"garage=goe:{SECRET}@charger"),
    ],
)
def test_a_mistake_in_the_arguments(goe: Goe, arguments: tuple[str, ...]) -> None:
    """A secret in the wrong argument is rejected without being repeated."""
    outcome = goe(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert len(outcome.err.splitlines()) == 1
    nothing_in([outcome.err])


# Crashes

BROKEN = """
import goe_exporter.channels.decode, goe_exporter.influx.line_protocol, sys

def broken(*arguments, **options):
    raise ZeroDivisionError("a defect")

goe_exporter.{place} = broken
from goe_exporter.cli.main import main
main()
"""
"""The command line with a bug in the code for a status, a poll or a response."""


def crashing(place: str, *arguments: str) -> list[str]:
    """Return the command line of a command with a bug at a place."""
    return [sys.executable, "-c", BROKEN.format(place=place), *arguments]


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_crash(fakes: Fakes, token: str, debug: str) -> None:
    """The report of an internal error, and its traceback for debugging, contain no values."""
    command = crashing(
        "channels.decode.Decoder.decode", "read", fakes(good).host, "--token-file", token
    )
    environment = os.environ | {"GOE_EXPORTER_DEBUG": debug}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert ("Traceback" in done.stderr) == bool(debug)
    assert "ZeroDivisionError: a defect" in done.stderr
    nothing_in([done.stderr])


@pytest.mark.parametrize("place", ["channels.decode.Decoder.decode", "influx.line_protocol.point"])
def test_a_defect_while_serving(
    everything: Callable[[str], Set], tmp_path: Path, place: str
) -> None:
    """The traceback in the log contains none either."""
    options = ("--log-level", "debug", "--web.listen-address", "127.0.0.1:0")
    log = tmp_path / "log"
    config = str(everything("v2").config)
    with running(crashing(place, "serve", "--config", config, *options), log):
        wait_for(lambda: "traceback=" in log.read_text(), "the defect")
    assert 'event="poll aborted by an internal error"' in log.read_text()
    nothing_in([log.read_text()])
