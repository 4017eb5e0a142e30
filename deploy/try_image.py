"""Build the image without Docker, and run it as docker-compose.yml does.

    python deploy/try_image.py FOLDER      as root; FOLDER is empty

Debian's mmdebstrap and the Python that runs this script make a base image that is laid out as the
official one: Python in /usr/local, without tk. buildah builds the Dockerfile on it. runc runs the
image beside a simulated charger, in a network of their own. Prints what was tried; fails with an
`AssertionError`, or with the error of the command that failed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
BASE = (ROOT / "Dockerfile").read_text().split()[1]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
SERVICE = SERVICES["exporter"]
SERVE = [*SERVICE["command"], "demo=127.0.0.1:8080"]
SIMULATE = ["simulate", "--listen=127.0.0.1:8080"]
PATIENCE_SECONDS = 60.0
STOP_SECONDS = 5.0
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
UNNEEDED = ("test", "tests", "idle_test", "site-packages", "__pycache__", "config-*", "*.a")
"""Left out, as in the official image; pip is installed separately."""

GET = """
import ssl, sys, urllib.request
trust = ssl.create_default_context(cafile="/tls/certificate.pem")
print(urllib.request.urlopen(sys.argv[1], timeout=4, context=trust).read().decode())
"""
LOOK = """
import errno, importlib.util, os, pathlib, tempfile
def writable(path):
    try:
        pathlib.Path(path, 'new').touch()
    except OSError as error:
        assert error.errno == errno.EROFS, error
        return False
    return True
status = dict(line.split(':', 1) for line in open('/proc/1/status'))
assert status['Uid'].split() == ['10001'] * 4, status
assert status['NoNewPrivs'].strip() == '1', status
assert {int(status[each], 16) for each in ('CapPrm', 'CapEff', 'CapBnd')} == {0}, status
assert [path for path in ('/', '/tmp', '/var/lib/goe-exporter') if writable(path)] == ['/tmp']
assert os.stat('/var/lib/goe-exporter').st_uid == 10001
assert not any(map(importlib.util.find_spec, ('pip', 'ensurepip')))
assert tempfile.gettempdir() == '/tmp'
"""


def run(*command: str | Path, check: bool = True, **options: Any) -> str:
    """Run a command to its end and return its output; its errors are shown."""
    words = [str(word) for word in command]
    done = subprocess.run(words, check=check, text=True, stdout=subprocess.PIPE, **options)
    return str(done.stdout).strip()


def buildah(folder: Path, *arguments: str | Path) -> str:
    """Run buildah with its images in a folder."""
    places = ("--root", folder / "storage", "--runroot", folder / "run", "--storage-driver", "vfs")
    return run("buildah", *places, *arguments)


def build_base(folder: Path) -> None:
    """Make the Dockerfile's base image from Debian's packages and this Python."""
    container = buildah(folder, "from", "scratch")
    root = Path(buildah(folder, "mount", container))
    release = re.search("(?m)^VERSION_CODENAME=(.*)", Path("/etc/os-release").read_text())
    assert release is not None
    unwanted = [f"path-exclude=/usr/share/{each}/*" for each in ("doc", "man", "locale")]
    options = [f"--dpkgopt={each}" for each in (*unwanted, "force-unsafe-io")]
    packages = ",".join(["ca-certificates", "netbase", "tzdata", *packages_of_python()])
    run("mmdebstrap", "--quiet", "--variant=essential", f"--include={packages}", *options,
        release[1], root)  # fmt: skip
    copy_python(root / "usr/local")
    # The build uses the package index of this machine.
    shutil.copy("/" / Path(CERTIFICATES), root / CERTIFICATES)
    settings = run(sys.executable, "-m", "pip", "config", "list")
    index = re.findall(r"\.((?:extra-)?index-url|trusted-host)='(.*)'", settings)
    lines = [
        f"{key} = {value}" for key, value in dict([*index, ("cert", f"/{CERTIFICATES}")]).items()
    ]
    (root / "etc/pip.conf").write_text("\n".join(["[global]", *lines, ""]))
    run("chroot", root, "ldconfig")
    run("chroot", root, "/usr/local/bin/python", "-m", "ensurepip")
    variables = (f"PATH=/usr/local/bin:{os.defpath}", "LANG=C.UTF-8")
    buildah(folder, "config", *(f"--env={each}" for each in variables), container)
    buildah(folder, "commit", "--quiet", "--rm", container, f"docker.io/library/{BASE}")


def packages_of_python() -> set[str]:
    """Return Debian's packages with the libraries that this Python needs, without tk's."""
    library = Path(sys.base_prefix, "lib")
    modules = (library / PYTHON / "lib-dynload").glob("*.so")
    wanted = [file for file in modules if "_tkinter" not in file.name]
    said = run("ldd", Path(sys.base_prefix, "bin", PYTHON), *wanted)
    paths = map(Path, re.findall(r"=> (/\S+)", said))
    names = {path.name for path in paths if not path.is_relative_to(sys.base_prefix)}
    owners = run("dpkg-query", "--search", *(f"*/{name}" for name in names), check=False,
                 stderr=subprocess.DEVNULL)  # fmt: skip
    return set(re.findall(r"(?m)^([\w.+-]+):\w+: /(?:usr/)?lib/[^/]*linux-gnu[^/]*/[^/]+$", owners))


def copy_python(local: Path) -> None:
    """Copy this Python to /usr/local of the base."""
    prefix = Path(sys.base_prefix)
    ignore = shutil.ignore_patterns(*UNNEEDED)
    shutil.copytree(prefix / "lib" / PYTHON, local / "lib" / PYTHON, ignore=ignore)
    (local / "lib" / PYTHON / "site-packages").mkdir()
    for file in (prefix / "bin" / PYTHON, *(prefix / "lib").glob("libpython3*.so.*")):
        shutil.copy(file, local / file.parent.name)
    for name in ("python", "python3"):
        (local / "bin" / name).symlink_to(PYTHON)


def image_size(folder: Path) -> str:
    """Return the size of the image and of its base, as a text."""
    images = json.loads(buildah(folder, "images", "--json"))
    sizes = {name: each["size"] for each in images for name in each["names"] or ()}
    return ", ".join(f"{name.rpartition('/')[2]} {size}" for name, size in sizes.items())


class Container:
    """A running container of the image, as the service `exporter` of docker-compose.yml."""

    def __init__(self, folder: Path, image: dict[str, Any], root: Path, command: list[str],
                 network: str | None) -> None:  # fmt: skip
        self.folder = folder
        self._name = f"goe-exporter-{os.getpid()}-{folder.name}"
        self._runc = ("runc", "--root", folder / "state")
        folder.mkdir()
        run(*self._runc, "spec", "--bundle", folder)
        spec = json.loads((folder / "config.json").read_text())
        spec["root"] = {"path": str(root), "readonly": SERVICE["read_only"]}
        user, group = map(int, image["User"].split(":"))
        spec["process"] |= {
            "terminal": False,
            "user": {"uid": user, "gid": group},
            "args": [*image["Entrypoint"], *command],
            "env": image["Env"],
            "capabilities": {} if SERVICE["cap_drop"] == ["ALL"] else None,
            "noNewPrivileges": SERVICE["security_opt"] == ["no-new-privileges:true"],
        }
        tmpfs = ["nosuid", "nodev", "noexec", "mode=1777"]  # Docker's
        spec["mounts"] += [
            *({"destination": each, "type": "tmpfs", "source": "tmpfs", "options": tmpfs}
              for each in SERVICE["tmpfs"]),
            {"destination": "/tls", "type": "bind", "source": str(folder.parent / "tls"),
             "options": ["bind", "ro"]},
        ]  # fmt: skip
        for namespace in spec["linux"]["namespaces"]:
            if network and namespace["type"] == "network":
                namespace["path"] = network
        (folder / "config.json").write_text(json.dumps(spec))
        with (folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [*self._runc, "run", "--bundle", folder, self._name], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)  # fmt: skip

    @property
    def network(self) -> str:
        """The path of its network."""
        return f"/proc/{json.loads(run(*self._runc, 'state', self._name))['pid']}/ns/net"

    def execute(self, *command: str, **options: Any) -> str:
        """Run a command in it."""
        return run(*self._runc, "exec", self._name, *command, **options)

    def wait_for(self, *command: str, output: str = "") -> None:
        """Wait until a command succeeds in it, with `output` in its output."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                if output in self.execute(*command, stderr=subprocess.DEVNULL):
                    return
            assert self._process.poll() is None, f"ended:\n{self.log()}"
            assert time.monotonic() < end, f"waited in vain for {command}:\n{self.log()}"
            time.sleep(0.1)

    def log(self) -> str:
        """Return what it has printed."""
        return (self.folder / "log").read_text()

    def terminate(self) -> float:
        """Send SIGTERM and return the seconds until it ended; its status is 0."""
        begun = time.monotonic()
        run(*self._runc, "kill", self._name, "TERM")
        assert self._process.wait(PATIENCE_SECONDS) == 0, self.log()
        assert "Traceback" not in self.log(), self.log()
        return time.monotonic() - begun

    def kill(self) -> None:
        """End it, if it still runs."""
        run(*self._runc, "delete", "--force", self._name)
        self._process.wait()


@contextlib.contextmanager
def running(*arguments: Any) -> Iterator[Container]:
    """Start a container, and end it at last."""
    container = Container(*arguments)
    try:
        yield container
    finally:
        container.kill()


def make_certificate(folder: Path) -> None:
    """Make a certificate, and web configurations that name its files and that contain it."""
    folder.mkdir()
    names = ["certificate.pem", "key.pem"]
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        "-out", names[0], "-keyout", names[1], cwd=folder, stderr=subprocess.DEVNULL)  # fmt: skip
    cert, key = [(folder / name).read_text() for name in names]
    files = {"cert_file": names[0], "key_file": names[1]}
    for name, section in (("files", files), ("inline", {"cert": cert, "key": key})):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"tls_server_config": section}))
    for file in folder.iterdir():
        file.chmod(0o444)


def main(folder: Path) -> None:
    """Build the image and try it."""
    begun = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - begun:5.1f} s  {what}", flush=True)

    build_base(folder)
    tell(f"base image made with {PYTHON}")
    buildah(folder, "bud", "--isolation=chroot", "--pull-never", "--format=docker",
            f"--tag={SERVICE['image']}", ROOT)  # fmt: skip
    tell(f"image built: {image_size(folder)}")
    built = buildah(folder, "from", "--pull-never", SERVICE["image"])
    image = json.loads(buildah(folder, "inspect", built))["Docker"]["config"]
    root = Path(buildah(folder, "mount", built))
    make_certificate(folder / "tls")
    with running(folder / "charger", image, root, SIMULATE, None) as charger:
        charger.wait_for(*SERVICES["charger"]["healthcheck"]["test"][1:])
        with running(folder / "exporter", image, root, SERVE, charger.network) as exporter:
            exporter.wait_for(*SERVICE["healthcheck"]["test"][1:])
            tell("healthy")
            exporter.wait_for("python", "-c", GET, "http://127.0.0.1:10332/metrics",
                              output='goe_up{charger="demo"} 1')  # fmt: skip
            tell("serves the readings of a simulated charger")
            exporter.execute("python", "-c", LOOK)
            tell("unprivileged and read-only, without pip")
            seconds = exporter.terminate()
            tell(f"stopped {seconds:.1f} s after SIGTERM")
            assert seconds < STOP_SECONDS, exporter.log()
        for kind in ("files", "inline"):
            serve = [*SERVE, f"--web.config.file=/tls/{kind}.yaml"]
            with running(folder / kind, image, root, serve, charger.network) as exporter:
                exporter.wait_for("python", "-c", GET, "https://127.0.0.1:10332/-/healthy")
                exporter.terminate()
            tell(f"serves TLS with a certificate from {kind}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
