"""Many processes: the systemd template and the Kubernetes manifests of a fleet."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from commands import Goe
from paths import ROOT
from servers import binary

from goe_exporter import __version__
from goe_exporter.service.config import load

SYSTEMD = ROOT / "deploy/systemd"
UNIT, TEMPLATE = SYSTEMD / "goe-exporter.service", SYSTEMD / "goe-exporter@.service"
SINGLE, FLEET = ROOT / "deploy/kubernetes", ROOT / "deploy/kubernetes/fleet"
START = "ExecStart=/opt/goe-exporter/bin/goe-exporter serve"
LABELS = {"app.kubernetes.io/name": "goe-fleet"}


def settings(unit: Path) -> set[str]:
    """Return the lines of a unit that are no comments."""
    return {line for line in unit.read_text().splitlines() if line and not line.startswith("#")}


def load_manifests(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the objects of a kustomization by kind."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    files = [folder / name for name in kustomization["resources"]]
    documents = [kustomization, *(yaml.safe_load(file.read_text()) for file in files)]
    return {document["kind"]: document for document in documents}


FOUND = load_manifests(FLEET)
SPEC = FOUND["StatefulSet"]["spec"]
POD = SPEC["template"]["spec"]
CONTAINER = POD["containers"][0]


# systemd


def test_the_template_is_the_unit_but_for_the_shard() -> None:
    """The template has the same sandbox, watchdog and reload; what differs is listed here."""
    assert settings(TEMPLATE) - settings(UNIT) == {
        "Description=Export go-eCharger wallbox metrics to Prometheus and InfluxDB, shard %i of 4",
        f"{START} --shard %i/4 --web.listen-address :1034%i",
        "StateDirectory=goe-exporter-%i",
        "WorkingDirectory=%S/goe-exporter-%i",
    }
    assert {line.partition("=")[0] for line in settings(UNIT) - settings(TEMPLATE)} == {
        *("Description", "ExecStart", "StateDirectory"),
    }


def test_no_directory_is_below_that_of_the_single_unit() -> None:
    """With DynamicUser that is a link, and systemd makes no link below it: systemd#24783."""
    directory = re.compile("(?m)^StateDirectory=(.*)$")
    (single,), (shard,) = (directory.findall(path.read_text()) for path in (UNIT, TEMPLATE))
    assert not shard.startswith(f"{single}/")
    assert f"WorkingDirectory=%S/{shard}\n" in TEMPLATE.read_text()


@pytest.mark.system
def test_template_is_verified(tmp_path: Path) -> None:
    """`systemd-analyze verify` reports nothing about an instance of the template."""
    text = re.sub("(?m)^ExecStart=[^ ]+", f"ExecStart={binary('true')}", TEMPLATE.read_text())
    environment = SYSTEMD / "goe-exporter.env"
    text = re.sub("(?m)^EnvironmentFile=.*", f"EnvironmentFile={environment}", text)
    instance = tmp_path / "goe-exporter@2.service"
    instance.write_text(text)
    command = [binary("systemd-analyze"), "verify", "--man=no", str(instance)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_four_instances_have_all_chargers(goe: Goe) -> None:
    """The commands of the instances 0 to 3 are valid, and share the chargers."""
    start = re.search("(?m)^ExecStart=[^ ]+ (.*)", TEMPLATE.read_text())
    assert start is not None
    own = []
    for instance in range(4):
        hosts = [f"box-{number}=192.0.2.1" for number in range(40)]
        arguments = shlex.split(start[1].replace("%i", f"{instance}"))
        outcome = goe(*arguments, *hosts, "--config.check")
        match = re.search(rf"shard {instance}/4 has (\d+) of 40 charger", outcome.out)
        assert match is not None, outcome
        own.append(int(match[1]))
    assert sum(own) == 40


# Kubernetes


@pytest.mark.parametrize("kind", ["StatefulSet", "Service", "PodDisruptionBudget"])
def test_manifests_follow_the_schema(kind: str) -> None:
    """Kubernetes' own schema accepts every manifest, without unknown keys."""
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(FOUND[kind], version, strict=True)


def test_manifests_are_applied_together() -> None:
    """The kustomization lists every file and the image."""
    kustomization = FOUND["Kustomization"]
    files = {file.name for file in FLEET.glob("*.yaml")} - {"kustomization.yaml"}
    configured = [each["files"] for each in kustomization["configMapGenerator"]]
    assert {*kustomization["resources"], *(name for names in configured for name in names)} == files
    (image,) = kustomization["images"]
    assert f"{image['name']}:{image['newTag']}" == CONTAINER["image"]
    assert CONTAINER["image"] == f"goe-exporter:{__version__}"


def test_as_many_pods_as_shards() -> None:
    """Each pod takes its shard from its name; all start at once, and one at a time is replaced."""
    (shard,) = [each for each in CONTAINER["args"] if each.startswith("--shard")]
    assert shard == f"--shard=auto/{SPEC['replicas']}"
    assert SPEC["podManagementPolicy"] == "Parallel"
    assert "updateStrategy" not in SPEC
    assert FOUND["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_the_pod_is_that_of_the_single_exporter() -> None:
    """It has the same privileges, probes and port; what differs is listed here."""
    single = load_manifests(SINGLE)["Deployment"]["spec"]["template"]["spec"]
    different = {"args", "resources", "volumeMounts"}
    container = single["containers"][0]
    assert set(container) == set(CONTAINER)
    assert {key for key in container if container[key] != CONTAINER[key]} == different
    assert {key for key in single if single[key] != POD[key]} == {"containers", "volumes"}
    assert set(single) == set(POD)


def test_references_of_the_manifests() -> None:
    """Monitor, Service, budget, StatefulSet and configuration refer to each other."""
    service, monitor = FOUND["Service"], FOUND["ServiceMonitor"]["spec"]
    assert service["spec"]["clusterIP"] == "None"
    assert SPEC["serviceName"] == service["metadata"]["name"]
    assert SPEC["template"]["metadata"]["labels"] == LABELS
    for selector in (
        service["spec"]["selector"],
        SPEC["selector"]["matchLabels"],
        monitor["selector"]["matchLabels"],
        FOUND["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector == LABELS
    assert service["metadata"]["labels"] == LABELS
    (port,) = service["spec"]["ports"]
    assert CONTAINER["ports"] == [{"name": port["targetPort"], "containerPort": port["port"]}]
    assert monitor["endpoints"][0]["port"] == port["name"]
    maps = [each["name"] for each in FOUND["Kustomization"]["configMapGenerator"]]
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    assert [volumes[name]["configMap"]["name"] for name in ("config", "chargers")] == maps
    (claim,) = SPEC["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"] == {"storage": "1Gi"}
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert set(mounts) == {*volumes, claim["metadata"]["name"]}
    # The parent of the default spool. A mounted file (subPath) would never change.
    assert mounts[claim["metadata"]["name"]] == "/var/lib/goe-exporter"
    assert not any("subPath" in mount for mount in CONTAINER["volumeMounts"])


def test_an_instance_is_a_shard() -> None:
    """A pod on another node continues the series of its shard."""
    relabeling, drop = FOUND["ServiceMonitor"]["spec"]["endpoints"][0]["relabelings"]
    assert relabeling["targetLabel"] == "instance"
    assert relabeling["sourceLabels"] == [
        *("__meta_kubernetes_namespace", "__meta_kubernetes_pod_name"),
    ]
    assert (drop["action"], drop["regex"]) == ("labeldrop", "pod|container|node")


def test_only_the_configuration_replaces_the_pods() -> None:
    """The chargers are in a ConfigMap of a fixed name, which the exporters read again."""
    kustomization = FOUND["Kustomization"]
    assert "generatorOptions" not in kustomization
    configuration, chargers = kustomization["configMapGenerator"]
    assert "disableNameSuffixHash" not in configuration["options"]
    assert chargers["options"]["disableNameSuffixHash"] is True
    assert {str(each["options"]["labels"]) for each in (configuration, chargers)} == {str(LABELS)}


def test_pods_start_the_exporter(goe: Goe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The container's arguments and the ConfigMaps are a valid configuration of each pod."""
    arguments = list(CONTAINER["args"])
    for mount, folder in (("config", "goe-exporter"), ("chargers", "goe-chargers")):
        path = {each["name"]: each["mountPath"] for each in CONTAINER["volumeMounts"]}[mount]
        assert path == f"/etc/{folder}"
        (tmp_path / folder).mkdir()
        arguments = [each.replace(path, str(tmp_path / folder)) for each in arguments]
    text = (FLEET / "goe-exporter.yaml").read_text().replace("/etc/", f"{tmp_path}/")
    (tmp_path / "goe-exporter/goe-exporter.yaml").write_text(text)
    shutil.copy(FLEET / "chargers.yaml", tmp_path / "goe-chargers")
    chargers = load(str(tmp_path / "goe-exporter/goe-exporter.yaml")).chargers
    own = 0
    for number in range(SPEC["replicas"]):
        monkeypatch.setattr("platform.node", lambda number=number: f"goe-fleet-{number}")
        outcome = goe(*arguments, "--config.check")
        match = re.search(rf"shard {number}/4 has (\d+) of {len(chargers)} charger", outcome.out)
        assert match is not None, outcome
        own += int(match[1])
    assert own == len(chargers) == 3
