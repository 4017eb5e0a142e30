"""The compose files: valid, complete, pinned, on loopback and unprivileged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose import BASE, FILES, INFLUX, LOGIN, PORTS, ROOT, Document, load, mounts

from goe_exporter import __version__

STACKS = {"alone": (BASE,), "influx": (BASE, INFLUX), "login": (BASE, LOGIN), "all": FILES}
EVERYTHING = load(*FILES)
SERVICES = sorted(EVERYTHING["services"])
BUILT_IN = {"-- Grafana --", "-- Mixed --", "__expr__", "grafana", "${datasource}"}
"""Data sources that every Grafana has, and the variable of the dashboards."""


@pytest.fixture(params=STACKS)
def stack(request: pytest.FixtureRequest) -> Document:
    """Return each combination of compose files in turn."""
    return load(*STACKS[request.param])


@pytest.mark.system
def test_the_files_follow_the_compose_specification() -> None:
    """The published schema of the Compose specification accepts every file."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, *FILES], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_service_has_its_port_here() -> None:
    """The tests know every service and its port, which is published."""
    assert set(SERVICES) == set(PORTS)
    for name in set(SERVICES) - {"charger"}:
        (port,) = EVERYTHING["services"][name]["ports"]
        assert port.rpartition(":")[2] == str(PORTS[name])


def test_what_is_mounted_exists(stack: Document) -> None:
    """Every mount is a file or directory of the repository, or a declared volume."""
    for service in stack["services"].values():
        for source in mounts(service).values():
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
            else:
                assert source in stack["volumes"]


def test_nothing_of_the_repository_is_writable() -> None:
    """Mounts from the repository are read-only."""
    for service in EVERYTHING["services"].values():
        for mount in service.get("volumes", []):
            assert mount.endswith(":ro") == mount.startswith("./"), mount


def test_volumes_are_all_used() -> None:
    """Every declared volume and secret is used."""
    services = EVERYTHING["services"].values()
    used = {source for service in services for source in mounts(service).values()}
    assert set(EVERYTHING["volumes"]) <= used
    assert set(EVERYTHING["secrets"]) == {
        name for service in services for name in service.get("secrets", [])
    }


@pytest.mark.parametrize("service", SERVICES)
def test_images_are_pinned(service: str) -> None:
    """An image has a full version; the exporter's is that of the package."""
    name, _colon, tag = EVERYTHING["services"][service]["image"].partition(":")
    assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag)
    assert name != "goe-exporter" or tag == __version__


@pytest.mark.parametrize(
    ("service", "oldest"),
    [
        ("prometheus", (3, 13, 5)),
        ("alertmanager", (0, 35, 0)),
        ("influxdb", (2, 9, 1)),
        ("grafana", (13, 2, 3)),
    ],
)
def test_images_are_current(service: str, oldest: tuple[int, int, int]) -> None:
    """No image is older than the newest patched release of November 2026."""
    _name, _colon, tag = EVERYTHING["services"][service]["image"].partition(":")
    assert tuple(map(int, tag.removeprefix("v").split("."))) >= oldest


@pytest.mark.parametrize("service", SERVICES)
def test_services_are_unprivileged(service: str) -> None:
    """A service writes only to volumes and /tmp, has no capability, and gains none."""
    definition = EVERYTHING["services"][service]
    assert definition["read_only"] is True
    assert definition["cap_drop"] == ["ALL"]
    assert definition["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & set(definition)


@pytest.mark.parametrize("service", SERVICES)
def test_services_look_after_themselves(service: str) -> None:
    """A service has a health check, restarts, and its logs are limited."""
    definition = EVERYTHING["services"][service]
    assert definition["healthcheck"]["test"][0] == "CMD"
    assert definition["restart"] == "unless-stopped"
    assert set(definition["logging"]["options"]) == {"max-size", "max-file"}


@pytest.mark.parametrize("service", sorted(set(SERVICES) - {"charger"}))
def test_ports_are_on_loopback_unless_asked(service: str) -> None:
    """A port is published on loopback unless a variable opens it."""
    port = PORTS[service]
    (published,) = EVERYTHING["services"][service]["ports"]
    assert published == f"127.0.0.1:{port}:{port}"
    opened = load(*FILES, **{f"{service.upper()}_LISTEN": "0.0.0.0:80"})
    assert opened["services"][service]["ports"] == [f"0.0.0.0:80:{port}"]


def test_the_simulated_charger_is_the_demos() -> None:
    """Only the profile `demo` starts the simulated charger, which is polled by default."""
    assert {
        name: service["profiles"]
        for name, service in EVERYTHING["services"].items()
        if "profiles" in service
    } == {"charger": ["demo"]}
    environment = EVERYTHING["services"]["exporter"]["environment"]
    assert environment["GOE_EXPORTER_HOSTS"] == "demo=charger:8080"
    mine = load(BASE, GOE_EXPORTER_HOSTS="garage=192.168.1.36")
    hosts = mine["services"]["exporter"]["environment"]["GOE_EXPORTER_HOSTS"]
    assert hosts == "garage=192.168.1.36"


def test_services_wait_for_what_has_a_health() -> None:
    """A service waits only for existing services, until they are healthy."""
    for files in STACKS.values():
        services = load(*files)["services"]
        for service in services.values():
            for name, wish in service.get("depends_on", {}).items():
                assert name in services
                assert wish == {"condition": "service_healthy"}


@pytest.mark.system
def test_secrets_come_from_files_that_git_ignores() -> None:
    """No compose file contains a secret, and git ignores the files with secrets."""
    environments = [each.get("environment", {}) for each in EVERYTHING["services"].values()]
    secret = {
        key: value
        for environment in environments
        for key, value in environment.items()
        if re.search("PASSWORD|TOKEN|SECRET", key)
    }
    assert len(secret) == 3
    for key, value in secret.items():
        assert key.endswith("_FILE")
        assert value.removeprefix("/run/secrets/") in EVERYTHING["secrets"]
    told = (ROOT / "deploy/secrets/README.md").read_text()
    alertmanager = (ROOT / "deploy/alertmanager/alertmanager.yml").read_text()
    names = {Path(each["file"]).name for each in EVERYTHING["secrets"].values()}
    names |= {f"alertmanager/{name}" for name in re.findall("/run/secrets/([a-z_]+)", alertmanager)}
    assert len(names) == 5
    git = ("git", "-c", "safe.directory=*")  # in CI the checkout may be another user's
    for name in names:
        assert f"`{name}`" in told
        ignored = [*git, "check-ignore", "--quiet", f"deploy/secrets/{name}"]
        assert subprocess.run(ignored, cwd=ROOT, check=False).returncode == 0, name


def test_the_example_names_every_variable() -> None:
    """`.env.example` lists exactly the variables of the compose files, with their defaults."""
    example = (ROOT / ".env.example").read_text()
    named = dict(re.findall(r"(?m)^(?:# )?([A-Z_]+)=(.*)$", example))
    files = "".join((ROOT / name).read_text() for name in FILES)
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", files))
    assert set(named) == {*defaults, "COMPOSE_FILE"}
    assert set(named.pop("COMPOSE_FILE").split(":")) == set(FILES)
    chargers = "GOE_EXPORTER_HOSTS"
    assert {**named, chargers: ""} == {**defaults, chargers: ""}


def provisioned(stack: Document, kind: str) -> list[Document]:
    """Return Grafana's provisioning files of a kind, as they are mounted."""
    found = []
    for target, source in mounts(stack["services"]["grafana"]).items():
        if target.startswith(f"/etc/grafana/provisioning/{kind}"):
            here = ROOT / source
            files = sorted(here.glob("*.yaml")) if here.is_dir() else [here]
            found += [yaml.safe_load(file.read_text()) for file in files]
    assert found
    return found


def dashboards(stack: Document) -> dict[str, Document]:
    """Return the dashboards that Grafana provisions: path in the container → dashboard."""
    folders = mounts(stack["services"]["grafana"])
    found = {}
    for file in provisioned(stack, "dashboards"):
        for provider in file["providers"]:
            target = provider["options"]["path"]
            for path in sorted((ROOT / folders[target]).glob("*.json")):
                found[f"{target}/{path.name}"] = json.loads(path.read_text())
    return found


def sources(stack: Document) -> dict[str, Document]:
    """Return the provisioned data sources by their uid."""
    listed = [each for file in provisioned(stack, "datasources") for each in file["datasources"]]
    assert len({each["name"] for each in listed}) == len(listed)
    return {each["uid"]: each for each in listed}


def used_uids(node: Any) -> Iterator[str]:
    """Yield the uid of every data source that a dashboard or an alert refers to."""
    if isinstance(node, dict):
        if isinstance(source := node.get("datasource"), dict) and "uid" in source:
            yield source["uid"]
        if isinstance(uid := node.get("datasourceUid"), str):
            yield uid
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from used_uids(each)


def test_grafana_has_the_data_sources_and_dashboards(stack: Document) -> None:
    """The uids are those that links, alerts and bookmarks use."""
    with_influx = "influxdb" in stack["services"]
    uids = {"goe-prometheus", "goe-alertmanager"} | ({"goe-influxdb"} if with_influx else set())
    assert set(sources(stack)) == uids
    boards = {"goe-charger", "goe-energy", "goe-fleet", "goe-exporter"}
    boards |= {"goe-influx-charger", "goe-influx-energy"} if with_influx else set()
    found = dashboards(stack).values()
    assert {each["uid"] for each in found} == boards
    assert len({each["title"] for each in found}) == len(boards)


def test_data_sources_are_services_of_the_stack(stack: Document) -> None:
    """Every data source is a service of the stack, and one is the default."""
    found = sources(stack)
    for source in found.values():
        name, _colon, port = source["url"].removeprefix("http://").partition(":")
        assert name in stack["services"]
        assert port == str(PORTS[name])
    assert [uid for uid, source in found.items() if source.get("isDefault")] == ["goe-prometheus"]
    assert found["goe-prometheus"]["jsonData"]["alertmanagerUid"] in found


def test_whatever_is_used_is_provisioned(stack: Document) -> None:
    """Dashboards and Grafana alerts use only data sources of the stack."""
    files: list[Document] = list(dashboards(stack).values())
    if "influxdb" in stack["services"]:
        alerts = provisioned(stack, "alerting")
        assert set(used_uids(alerts)) - BUILT_IN == {"goe-influxdb"}
        files += alerts
    assert set(used_uids(files)) - BUILT_IN <= set(sources(stack))


def test_the_home_dashboard_is_the_charger(stack: Document) -> None:
    """Grafana's home dashboard is a provisioned one."""
    environment = stack["services"]["grafana"]["environment"]
    home = environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert dashboards(stack)[home]["uid"] == "goe-charger"


def test_grafana_loads_no_plugins() -> None:
    """Grafana does not install plugins, which would fail offline and read-only."""
    environment = EVERYTHING["services"]["grafana"]["environment"]
    assert environment["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"


@pytest.mark.parametrize("files", STACKS.values(), ids=STACKS)
def test_grafana_lets_nobody_change_it_without_a_password(files: tuple[str, ...]) -> None:
    """Without the login overlay there is no account, with it there is no anonymous access."""
    environment = load(*files)["services"]["grafana"]["environment"]
    login = LOGIN in files
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == ("false" if login else "true")
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    no_account = environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert no_account != login
    assert ("GF_SECURITY_ADMIN_PASSWORD__FILE" in environment) == login
