"""The compose files as Docker would read them, and their services as processes on loopback."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from paths import ROOT
from servers import binary, free_port

BASE = "docker-compose.yml"
INFLUX = "deploy/compose/compose.influx.yml"
LOGIN = "deploy/compose/compose.login.yml"
FILES = (BASE, INFLUX, LOGIN)

PORTS = {
    "exporter": 10332,
    "charger": 8080,
    "prometheus": 9090,
    "alertmanager": 9093,
    "grafana": 3000,
    "influxdb": 8086,
}
"""Service → the port it listens on in its container."""

PROGRAMS = {"prom/prometheus": "prometheus", "prom/alertmanager": "prometheus-alertmanager"}
"""Image → Debian's name of the program that its entrypoint starts."""

Document = dict[str, Any]


def load(*names: str, **variables: str) -> Document:
    """Return compose files, the later ones merged into the first, with `variables` filled in.

    Paths in all of them are relative to the first file, as in Docker Compose.
    """
    document: Document = {}
    for name in names:
        text = re.sub(
            r"\$\{(\w+):-([^}]*)\}",
            lambda match: variables.get(match[1], match[2]),
            (ROOT / name).read_text(),
        )
        assert "${" not in text, f"{name}: a variable without a default"
        document = _merged(document, yaml.safe_load(text))
    return document


def _merged(lower: Any, upper: Any) -> Any:
    if isinstance(lower, dict) and isinstance(upper, dict):
        return lower | {key: _merged(lower.get(key), value) for key, value in upper.items()}
    if isinstance(lower, list) and isinstance(upper, list):
        return lower + upper
    return upper


def mounts(service: Document) -> dict[str, str]:
    """Return what a service mounts: path in the container → `./path` here or a volume's name."""
    split = (each.split(":") for each in service.get("volumes", []))
    return {target: source for source, target, *_mode in split}


class Native:
    """The services of a stack, run from Debian's packages instead of images.

    Their commands and files are those of the compose files but for three things: `service:port`
    and a service's own port become ports of 127.0.0.1, container paths become paths here, and an
    image becomes its program. `places` sends further services, as `name:port`, elsewhere.
    """

    def __init__(
        self, stack: Document, folder: Path, places: Mapping[str, str] | None = None
    ) -> None:
        self.services: dict[str, Document] = stack["services"]
        self._folder = folder
        self.address = {name: f"127.0.0.1:{free_port()}" for name in self.services}
        self.address |= places or {}
        self._paths = {name: self._lay_out(name) for name in self.services}
        for name, service in self.services.items():
            for target, source in mounts(service).items():
                if (ROOT / source).is_file():
                    config = Path(self._paths[name][target])
                    config.write_text(self.text(name, (ROOT / source).read_text()))

    def url(self, service: str) -> str:
        """Return the URL of a service."""
        return f"http://{self.address[service]}"

    def command(self, service: str) -> list[str]:
        """Return the command line of a service, with its environment."""
        definition = self.services[service]
        environment = [f"{key}={value}" for key, value in definition.get("environment", {}).items()]
        words = [self.text(service, word) for word in (*environment, *definition["command"])]
        program = _program(definition["image"])
        return ["env", *words[: len(environment)], *program, *words[len(environment) :]]

    def health(self, service: str) -> list[str]:
        """Return the health check command of a service."""
        kind, program, *arguments = self.services[service]["healthcheck"]["test"]
        assert kind == "CMD"
        path = sys.executable if program == "python" else binary(program)
        return [path, *(self.text(service, word) for word in arguments)]

    def path(self, service: str, target: str) -> Path:
        """Return the path on this machine of a mounted path of a service."""
        return Path(self._paths[service][target])

    def text(self, service: str, text: str) -> str:
        """Return a text of a service with addresses and paths of this machine."""
        for name, port in PORTS.items():
            own = r"(?:127\.0\.0\.1|0\.0\.0\.0|(?<![\w.]))" if name == service else rf"\b{name}"
            if name in self.address:
                text = re.sub(rf"{own}:{port}\b", self.address[name], text)
        paths = self._paths[service]
        longest_first = sorted(map(re.escape, paths), key=len, reverse=True)
        whole_path = rf"(?<![\w./])({'|'.join(longest_first)})(?![\w.-])"
        return re.sub(whole_path, lambda match: paths[match[1]], text) if paths else text

    def _lay_out(self, service: str) -> dict[str, str]:
        """Create the service's files; return container path → path on this machine."""
        paths: dict[str, str] = {}
        if "secrets" in self.services[service]:
            paths["/run/secrets"] = f"{self._folder}/secrets"
        for target, source in mounts(self.services[service]).items():
            here = ROOT / source
            is_file, is_volume = here.is_file(), not source.startswith("./")
            if is_file or is_volume:
                here = self._folder / service / target.strip("/").replace("/", "_")
                (here if is_volume else here.parent).mkdir(parents=True, exist_ok=True)
            paths[target] = str(here)
        return paths


def _program(image: str) -> list[str]:
    name = image.partition(":")[0]
    if name == "goe-exporter":
        return [sys.executable, "-m", "goe_exporter.cli"]
    return [binary(PROGRAMS[name])]
