"""The image, the systemd unit and the Kubernetes manifests: valid, and without privileges."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml
from commands import Goe
from compose import BASE, FILES, PORTS, ROOT, load
from servers import binary

from goe_exporter import __version__
from goe_exporter.cli import serve

UNIT = ROOT / "deploy/systemd/goe-exporter.service"
ENVIRONMENT = ROOT / "deploy/systemd/goe-exporter.env"
MANIFESTS = ROOT / "deploy/kubernetes"

EXPOSURE = 1.1
"""What `systemd-analyze security` may find at most: 0 is shut off, 10 is unprotected."""

LEFT_OPEN = {
    "PrivateNetwork=",  # it polls chargers and is scraped,
    "IPAddressDeny=",  # wherever they are,
    "RestrictAddressFamilies=~AF_(INET|INET6)",
    "RestrictAddressFamilies=~AF_UNIX",  # after asking name services
    "ProcSubset=",  # /proc/uptime and the boot's id stamp points measured with a wrong clock
    "DeviceAllow=",  # the clock's device, to be read, comes with ProtectClock=
    "RootDirectory=/RootImage=",  # ProtectSystem= instead
}
"""What the unit does not shut, and why."""

OPERATOR_LABELS = (
    *("namespace", "service", "endpoint", "job", "instance"),
    *("pod", "container", "node"),
)
"""Labels that the Prometheus operator gives to a target; the last three change with the pod."""

VARIABLES = {
    parameter.envvar: " ".join(parameter.default) if parameter.multiple else parameter.default
    for parameter in serve.command.params
    if isinstance(parameter, click.Option)
} | {"GOE_EXPORTER_HOSTS": None}
"""Variable → default of the options of `serve`, and the variable of its arguments."""


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions in order, each with its arguments on one line."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text())
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split()[0], line.partition(" ")[2]) for line in lines if line]


def last(instruction: str) -> str:
    """Return the arguments of the last instruction of a kind, which applies to the image."""
    return [arguments for name, arguments in instructions() if name == instruction][-1]


def manifests() -> dict[str, dict[str, Any]]:
    """Return the Kubernetes objects by kind."""
    kustomization = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())
    files = [MANIFESTS / name for name in kustomization["resources"]]
    documents = [kustomization, *(yaml.safe_load(file.read_text()) for file in files)]
    return {document["kind"]: document for document in documents}


def pod() -> dict[str, Any]:
    """Return the pod template of the Deployment."""
    spec: dict[str, Any] = manifests()["Deployment"]["spec"]["template"]["spec"]
    return spec


def test_image_is_the_official_one_with_the_package() -> None:
    """The base is pinned; the source is mounted, so that no layer keeps it; pip is removed."""
    kinds = [name for name, _arguments in instructions()]
    assert kinds.count("FROM") == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm", last("FROM"))
    assert {"ADD", "COPY", "SHELL", "VOLUME"} & set(kinds) == set()
    assert last("RUN").startswith("--mount=type=bind,target=/source python -m pip install ")
    assert "python -m pip uninstall" in last("RUN")


def test_image_needs_no_shell() -> None:
    """Commands and health checks are lists, which no shell reads."""
    for instruction in ("ENTRYPOINT", "CMD"):
        assert isinstance(json.loads(last(instruction)), list)
    healthcheck = last("HEALTHCHECK").partition("CMD")[2]
    assert json.loads(healthcheck)[0] == "python"
    for name in FILES:
        for service in load(name)["services"].values():
            assert service.get("healthcheck", {}).get("test", ["CMD"])[0] == "CMD"


@pytest.mark.slow
@pytest.mark.system
def test_image_works(tmp_path: Path) -> None:
    """The image is built and runs as in compose: `deploy/try_image.py` says what is tried."""
    mount = [binary("unshare"), "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        assert os.environ.get("CI") != "true", "needs root, and the right to mount"
        pytest.skip("deploy/try_image.py needs root, and the right to mount")
    if sys.base_prefix == "/usr":
        pytest.skip("deploy/try_image.py: Debian's own Python cannot be moved to /usr/local")
    for name in ("mmdebstrap", "buildah", "runc", "openssl"):
        binary(name)
    command = [sys.executable, str(ROOT / "deploy" / "try_image.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"(?m)^ *[\d.]+ s  (.*?)(?::.*|[\d. s]+ after SIGTERM)?$", done.stdout) == [
        "base image made with python{}.{}".format(*sys.version_info),
        "image built",
        "healthy",
        "serves the readings of a simulated charger",
        "unprivileged and read-only, without pip",
        "stopped",
        "serves TLS with a certificate from files",
        "serves TLS with a certificate from inline",
    ]


def test_image_runs_as_a_numeric_user() -> None:
    """The image's user is a number, so that Kubernetes can verify that it is not root."""
    user = last("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    security = pod()["securityContext"]
    assert f"{security['runAsUser']}:{security['runAsGroup']}" == user
    assert "-o {} -g {}".format(*user.split(":")) in last("RUN")


def test_image_starts_the_server() -> None:
    """The image serves, stops on SIGTERM, and has the health check of compose."""
    assert json.loads(last("ENTRYPOINT")) == ["goe-exporter"]
    assert json.loads(last("CMD")) == ["serve"]
    assert last("STOPSIGNAL") == "SIGTERM"
    assert last("EXPOSE") == str(PORTS["exporter"])
    check = json.loads(last("HEALTHCHECK").partition("CMD")[2])
    assert ["CMD", *check] == load(BASE)["services"]["exporter"]["healthcheck"]["test"]


def test_dockerignore_lets_the_package_through() -> None:
    """`.dockerignore` lets exactly the files through that building the package reads."""
    ignore = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in ignore
    assert {line[1:] for line in ignore if line.startswith("!")} == {
        *("goe_exporter", "pyproject.toml", "LICENSE", "README.md", "share"),
    }


def test_variables_are_options_of_serve() -> None:
    """Every variable in a deployment is one of `serve`, with the documented default."""
    files = [*(ROOT / name for name in FILES), ROOT / ".env.example", UNIT, ENVIRONMENT]
    named = {name for file in files for name in re.findall(r"GOE_EXPORTER_\w+", file.read_text())}
    assert len(named) > 4
    assert named <= set(VARIABLES)
    told = re.findall(r"(?m)^# (GOE_EXPORTER_\w+)=(.*)", ENVIRONMENT.read_text())
    defaults = {name: value for name, value in told if isinstance(VARIABLES[name], str)}
    assert defaults == {name: VARIABLES[name] for name in defaults}
    assert len(defaults) == 3


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return the unit with an existing program and environment file."""
    text = UNIT.read_text()
    text = re.sub("(?m)^ExecStart=[^ ]+", f"ExecStart={binary('true')}", text)
    text = re.sub("(?m)^EnvironmentFile=.*", f"EnvironmentFile={ENVIRONMENT}", text)
    path = tmp_path / UNIT.name
    path.write_text(text)
    return path


@pytest.mark.system
def test_unit_is_verified(unit: Path) -> None:
    """`systemd-analyze verify` reports nothing about the unit."""
    command = [binary("systemd-analyze"), "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def security(unit: Path, *options: str) -> str:
    """Return the report of `systemd-analyze security` about a unit."""
    command = [binary("systemd-analyze"), "security", "--offline=yes", *options, str(unit)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.system
def test_exposure_of_the_unit(unit: Path) -> None:
    """`systemd-analyze security` finds only the exposure listed here."""
    checks = json.loads(security(unit, "--json=short"))
    assert {check["name"] for check in checks if not check["set"]} == LEFT_OPEN
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", security(unit, "--no-pager"))
    assert level is not None
    assert float(level[1]) <= EXPOSURE


def test_unit_starts_the_exporter(goe: Goe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit's command and environment are a valid configuration of two chargers."""
    for line in ENVIRONMENT.read_text().splitlines():
        if line and not line.startswith("#"):
            name, value = shlex.split(line)[0].split("=", 1)
            monkeypatch.setenv(name, value)
    start = re.search("(?m)^ExecStart=(.*)", UNIT.read_text())
    assert start is not None
    program, *arguments = shlex.split(start[1])
    assert Path(program).name == "goe-exporter"
    outcome = goe(*arguments, "--config.check")
    assert outcome.out == "the configuration is valid: 2 charger(s)\n", outcome


@pytest.mark.parametrize("kind", ["Deployment", "Service"])
def test_manifests_follow_the_schema(kind: str) -> None:
    """Kubernetes' own schema accepts every manifest, without unknown keys."""
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(manifests()[kind], version, strict=True)


def test_manifests_are_applied_together() -> None:
    """The kustomization lists every file and the image of the Deployment."""
    kustomization = manifests()["Kustomization"]
    files = {file.name for file in MANIFESTS.glob("*.yaml")} - {"kustomization.yaml"}
    (configuration,) = kustomization["configMapGenerator"]
    assert {*kustomization["resources"], *configuration["files"]} == files
    (image,) = kustomization["images"]
    assert f"{image['name']}:{image['newTag']}" == f"goe-exporter:{__version__}"
    assert pod()["containers"][0]["image"] == f"goe-exporter:{__version__}"


def test_references_of_the_manifests() -> None:
    """Monitor, Service, pod and configuration refer to each other by the right names."""
    found = manifests()
    service, deployment = found["Service"], found["Deployment"]
    monitor = found["ServiceMonitor"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    assert [endpoint["port"] for endpoint in monitor["endpoints"]] == [port["name"]]
    assert monitor["endpoints"][0]["path"] == "/metrics"
    relabeling, drop = monitor["endpoints"][0]["relabelings"]
    assert relabeling["targetLabel"] == "instance"
    # One of the same name in another namespace must not hide that an exporter is down.
    assert relabeling["sourceLabels"] == [
        *("__meta_kubernetes_namespace", "__meta_kubernetes_service_name"),
    ]
    assert drop["action"] == "labeldrop"
    assert [name for name in OPERATOR_LABELS if not re.fullmatch(drop["regex"], name)] == [
        *("namespace", "service", "endpoint", "job", "instance"),
    ]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (container,) = pod()["containers"]
    assert container["ports"] == [{"name": port["targetPort"], "containerPort": port["port"]}]
    volume, temporary = pod()["volumes"]
    (configuration,) = found["Kustomization"]["configMapGenerator"]
    assert volume["configMap"]["name"] == configuration["name"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"]: "/etc/goe-exporter", temporary["name"]: "/tmp"}


def test_a_changed_configuration_replaces_the_pod() -> None:
    """The name of the ConfigMap is generated with a hash of its content."""
    kustomization = manifests()["Kustomization"]
    (configuration,) = kustomization["configMapGenerator"]
    assert not configuration["options"].get("disableNameSuffixHash")
    assert "generatorOptions" not in kustomization
    assert configuration["options"]["labels"] == manifests()["Service"]["metadata"]["labels"]


def test_pod_is_single_and_unprivileged() -> None:
    """There is one pod, with an ordinary user, no capabilities and a read-only file system."""
    deployment = manifests()["Deployment"]["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    assert pod()["automountServiceAccountToken"] is False
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod()["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]
    probes = {
        name: probe["httpGet"]["path"] for name, probe in container.items() if "Probe" in name
    }
    assert probes == {
        "startupProbe": "/-/healthy",
        "livenessProbe": "/-/healthy",
        "readinessProbe": "/-/ready",
    }


def test_pod_starts_the_exporter(goe: Goe, tmp_path: Path) -> None:
    """The container's arguments and the ConfigMap are a valid configuration."""
    (container,) = pod()["containers"]
    (configuration,) = manifests()["Kustomization"]["configMapGenerator"]
    for name in configuration["files"]:
        shutil.copy(MANIFESTS / name, tmp_path)
    folder = container["volumeMounts"][0]["mountPath"]
    arguments = [argument.replace(folder, str(tmp_path)) for argument in container["args"]]
    assert f"--web.listen-address=:{PORTS['exporter']}" in arguments
    outcome = goe(*arguments, "--config.check")
    assert outcome.out == "the configuration is valid: 2 charger(s)\n", outcome
