"""Flags with the names of Prometheus' exporters, and the former names, which are still accepted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest
from commands import Goe

from goe_exporter.cli import main

FORMER = {
    "serve": ["--config", "--log-format", "--log-level"],
    "push": ["--config", "--log-format", "--log-level"],
    "demo": ["--log-format", "--log-level"],
    "read": ["--config"],
    "set": ["--config"],
}
"""The former names by command; each is the present one with a dash or without `.file`."""


def parameters(name: str, *arguments: str) -> dict[str, Any]:
    """Return the values that a command's parser finds in its arguments."""
    with main.command.make_context("goe-exporter", [name]) as group:
        found = main.command.get_command(group, name)
        assert found is not None
        with found.make_context(name, list(arguments), parent=group) as context:
            return context.params


@pytest.mark.parametrize(("name", "former"), [(key, one) for key in FORMER for one in FORMER[key]])
def test_a_former_name(goe: Goe, name: str, former: str) -> None:
    """The former name of an option means the same, and is not shown."""
    present = former.replace("--log-", "--log.").replace("--config", "--config.file")
    value = {"--log-format": "json", "--log-level": "debug"}.get(former, "/nonexistent")
    arguments = ["a", "max-current", "8"] if name == "set" else []
    if name == "push" and former != "--config":
        arguments = ["--config.file", "x"]
    for given in (present, former):
        for option in ([given, value], [f"{given}={value}"]):
            assert value in parameters(name, *arguments, *option).values(), option
    words = goe(name, "--help").out.split()
    assert present in words
    assert former not in words


@pytest.mark.parametrize("command", ["status", "drain", "dead"])
def test_the_former_name_of_the_spools_configuration(goe: Goe, command: str) -> None:
    """The commands below `spool` accept both names too."""
    for option in ("--config.file", "--config"):
        outcome = goe("spool", command, option, "/nonexistent")
        assert outcome.err == "goe-exporter: cannot read /nonexistent: No such file or directory\n"


@pytest.mark.parametrize(
    ("given", "level"),
    [
        ("debug", "debug"),
        ("info", "info"),
        ("warn", "warn"),
        ("error", "error"),
        ("warning", "warn"),
    ],
)
def test_levels(monkeypatch: pytest.MonkeyPatch, given: str, level: str) -> None:
    """The log levels are those of Prometheus; `warning` is the former name of `warn`."""
    assert parameters("serve", "a", "--log.level", given)["log_level"] == level
    monkeypatch.setenv("GOE_EXPORTER_LOG_LEVEL", given)
    assert parameters("serve", "a")["log_level"] == level


def test_the_former_variable(goe: Goe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration file can be set by its variable, or by the former one."""
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("chargers: [{name: garage, host: 192.168.1.36}]\n")
    two.write_text("chargers: [{name: a, host: b}, {name: c, host: d}]\n")
    monkeypatch.setenv("GOE_EXPORTER_CONFIG", str(one))
    assert goe("serve", "--config.check").out == "the configuration is valid: 1 charger(s)\n"
    monkeypatch.setenv("GOE_EXPORTER_CONFIG_FILE", str(two))
    assert goe("serve", "--config.check").out == "the configuration is valid: 2 charger(s)\n"
    monkeypatch.delenv("GOE_EXPORTER_CONFIG")
    assert goe("serve", "--config.check").out == "the configuration is valid: 2 charger(s)\n"
    for name in ("serve", "read", "push"):
        assert "GOE_EXPORTER_CONFIG_FILE" in goe(name, "--help").out
        assert not re.search(r"GOE_EXPORTER_CONFIG\b(?!_)", goe(name, "--help").out)


def test_an_option_that_a_command_does_not_have(goe: Goe) -> None:
    """A former name is no option of a command without the present one."""
    outcome = goe("capture", "a", "--log-level", "info")
    assert (outcome.status, outcome.out) == (2, "")
    assert "No such option" in outcome.err


PATH_RULE = "must be a path such as /goe/metrics, of letters, digits, -, ., _ and ~, not"
RESERVED = (
    "must not be or begin with /-, /api, /assets, /charger, /probe, /sd, /sessions, which are"
    " reserved, not"
)
URL_RULE = "must be a URL such as https://example.org/goe"
NOT_ALLOWED = "user, password and query are not allowed"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--web.telemetry-path", "metrics", f"{PATH_RULE} 'metrics'"),
        ("--web.telemetry-path", "/", f"{PATH_RULE} '/'"),
        ("--web.telemetry-path", "/metrics/", f"{PATH_RULE} '/metrics/'"),
        ("--web.telemetry-path", "/a//b", f"{PATH_RULE} '/a//b'"),
        ("--web.telemetry-path", "/a/../b", f"{PATH_RULE} '/a/../b'"),
        ("--web.telemetry-path", "/{name}", f"{PATH_RULE} '/{{name}}'"),
        ("--web.telemetry-path", "/a?b", f"{PATH_RULE} '/a?b'"),
        ("--web.telemetry-path", "/ä", f"{PATH_RULE} '/ä'"),
        ("--web.telemetry-path", "/api", f"{RESERVED} '/api'"),
        ("--web.telemetry-path", "/api/v1/chargers", f"{RESERVED} '/api/v1/chargers'"),
        ("--web.telemetry-path", "/assets/metrics", f"{RESERVED} '/assets/metrics'"),
        ("--web.telemetry-path", "/charger/garage", f"{RESERVED} '/charger/garage'"),
        ("--web.telemetry-path", "/probe", f"{RESERVED} '/probe'"),
        ("--web.telemetry-path", "/sd/metrics", f"{RESERVED} '/sd/metrics'"),
        ("--web.telemetry-path", "/sessions", f"{RESERVED} '/sessions'"),
        ("--web.telemetry-path", "/-/healthy", f"{RESERVED} '/-/healthy'"),
        ("--web.external-url", "/goe", f"{URL_RULE}, not '/goe'"),
        ("--web.external-url", "https://", f"{URL_RULE}, not 'https://'"),
        ("--web.external-url", "https://x/goe?a=b", f"{URL_RULE}; {NOT_ALLOWED}"),
        ("--web.external-url", "https://me:secret@x/", f"{URL_RULE}; {NOT_ALLOWED}"),
        ("--web.external-url", "https://x/%20", f"{PATH_RULE} '/%20'"),
        ("--web.external-url", "https://x/a//b", f"{PATH_RULE} '/a//b'"),
        ("--web.route-prefix", "goe", f"{PATH_RULE} 'goe'"),
        ("--web.route-prefix", "/goe//", f"{PATH_RULE} '/goe/'"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "push"])
def test_a_bad_path(goe: Goe, command: str, option: str, value: str, message: str) -> None:
    """A path or URL that cannot work is rejected with what is allowed."""
    outcome = goe(command, "a", "--config.file", "/nonexistent", option, value)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == f"goe-exporter: {option}: {message}\n"


def test_every_option_is_a_flag_of_prometheus(goe: Goe) -> None:
    """`serve` has the flags that Prometheus' exporters have in common."""
    words = goe("serve", "--help").out.split()
    for flag in (
        *("--config.file", "--config.check", "--log.level", "--log.format"),
        *("--web.listen-address", "--web.telemetry-path", "--web.config.file"),
        *("--web.external-url", "--web.route-prefix"),
    ):
        assert flag in words, flag
    assert click.unstyle(goe("serve", "--help").out).count("[debug|info|warn|error]") == 1


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("--config.file", ["--config.file", "one.yaml", "--config.file", "two.yaml"]),
        ("--config.file", ["--config", "one.yaml", "--config.file=two.yaml"]),
        ("--web.external-url", ["--web.external-url=http://a/", "--web.external-url", "http://b"]),
        ("--log.level", ["--log.level", "debug", "--log-level", "warning"]),
        ("--refresh-interval", ["--refresh-interval", "5s", "--refresh-interval", "5s"]),
    ],
)
def test_an_option_with_one_value_is_given_once(goe: Goe, name: str, options: list[str]) -> None:
    """A second value is rejected, also under a former name: one of the two would be ignored."""
    outcome = goe("serve", "--config.check", "a=192.168.1.36", *options)
    assert outcome.err == f"goe-exporter: {name} must not be given more than once\n"
    assert outcome.status == 2


@pytest.mark.parametrize("option", ["--config.file", "--web.config.file", "--token-file"])
def test_an_empty_file_name(goe: Goe, option: str) -> None:
    """The name of a file is not empty, as that of an unset shell variable: it would be ignored."""
    outcome = goe("serve", "--config.check", "a=192.168.1.36", f"{option}=")
    assert outcome.err == f"goe-exporter: {option}: must be the name of a file, not ''\n"
    assert outcome.status == 2


@pytest.mark.parametrize("options", [["--api", "2"], ["--token-file", "/nonexistent"]])
def test_options_of_hosts_without_a_host(goe: Goe, tmp_path: Path, options: list[str]) -> None:
    """An option that is for the HOST arguments alone is not ignored without such an argument."""
    path = tmp_path / "goe.yaml"
    path.write_text("chargers: [{name: a, host: b}]\n")
    outcome = goe("serve", "--config.check", "--config.file", str(path), *options)
    assert outcome.err == (
        "goe-exporter: --api and --token-file are for [NAME=]HOST arguments;"
        " the configuration has its own keys\n"
    )
    assert outcome.status == 2
