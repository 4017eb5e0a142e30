"""Releases: workflows, the tag, the oldest dependencies and their review."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose import FILES
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from paths import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REVIEW = (ROOT / "docs" / "dependencies.md").read_text()


FIRST_ON_NODE_24 = {
    "actions/checkout": 5,
    "actions/download-artifact": 7,
    "actions/setup-python": 6,
    "actions/upload-artifact": 6,
}
"""Action → its first major version whose `action.yml` says `using: node24`."""

GRANTED = {
    ("release", "publish"): {"id-token": "write"},
    ("release", "image"): {"contents": "read", "packages": "write"},
    ("release", "image-index"): {"packages": "write"},
}
"""Workflow and job → what it may do beyond reading."""


def workflow(name: str) -> dict[str, Any]:
    """Return a workflow; YAML 1.1 reads its key `on` as True."""
    found: dict[str, Any] = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())
    return found


@pytest.mark.system
def test_workflows_follow_the_schema() -> None:
    """GitHub's schema accepts every workflow."""
    assert {path.stem for path in WORKFLOWS} == {"ci", "release"}
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    command = [*checker, "vendor.github-workflows", *map(str, WORKFLOWS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_trust_nobody(path: Path) -> None:
    """Actions are pinned to a commit; only publishing jobs may write, and there are no secrets."""
    text, document = path.read_text(), workflow(path.stem)
    assert document["permissions"] == {"contents": "read"}
    assert "secrets" not in text
    for used in re.findall(r"uses: (\S+)", text):
        assert used.startswith("./") or re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", used), used
    for name, job in document["jobs"].items():
        assert job.get("permissions") == GRANTED.get((path.stem, name))
        for step in job.get("steps", []):
            assert "${{" not in step.get("run", "")
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"] == {"persist-credentials": False}


def test_actions_run_on_a_current_runtime() -> None:
    """GitHub's actions have versions that run on Node 24."""
    pinned = re.findall(
        r"uses: (actions/[\w-]+)@[0-9a-f]{40} # v(\d+)\.\d+\.\d+",
        "".join(path.read_text() for path in WORKFLOWS),
    )
    assert {name for name, _major in pinned} == set(FIRST_ON_NODE_24)
    for name, major in pinned:
        assert int(major) >= FIRST_ON_NODE_24[name], name


@pytest.mark.system
def test_dependabot_follows_the_schema() -> None:
    """Dependabot's schema accepts its configuration."""
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    command = [*checker, "vendor.dependabot", str(ROOT / ".github" / "dependabot.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dependabot_updates_everything_that_is_pinned() -> None:
    """Images, base image, actions and Python packages are updated where they are pinned."""
    configuration = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())
    folders = {
        each["package-ecosystem"]: each.get("directories", [each.get("directory")])
        for each in configuration["updates"]
    }
    assert folders == {
        "docker-compose": ["/", "/deploy/compose"],
        "docker": ["/"],
        "github-actions": ["/"],
        "pip": ["/", "/.ci"],
    }
    tools = (ROOT / ".ci" / "release-tools.txt").read_text().split()
    assert [tool.partition("==")[0] for tool in tools] == ["build", "pip-audit", "twine"]
    assert "==" not in (ROOT / "Makefile").read_text()


def test_dependabot_finds_every_compose_file() -> None:
    """Dependabot recognizes the names of all compose files."""
    for name in FILES:
        assert re.search(r"(docker-)?compose(-\w+)?(\.[\w-]+)?\.ya?ml$", Path(name).name)
        assert (Path("/") / name).parent in (Path("/"), Path("/deploy/compose"))


def test_a_release_is_tested_built_and_published() -> None:
    """Only a tag publishes: tested, built once, from the trusted environment."""
    document = workflow("release")
    assert document[True] == {"push": {"tags": ["v*"]}}
    jobs = document["jobs"]
    assert jobs["test"]["uses"] == "./.github/workflows/ci.yml"
    assert "workflow_call" in workflow("ci")[True]
    runs = [step["run"] for step in jobs["build"]["steps"] if "run" in step]
    assert runs == ['sh .ci/release-tag "$GITHUB_REF_NAME"', "make dist"]
    assert jobs["publish"]["needs"] == ["test", "build"]
    assert jobs["publish"]["environment"] == "pypi"
    assert jobs["publish"]["steps"][-1]["with"] == {"attestations": True}
    assert (jobs["image"]["needs"], jobs["image-index"]["needs"]) == ("publish", "image")


def runs(name: str, job: str) -> list[str]:
    """Return the commands of a job of a workflow."""
    return [step["run"] for step in workflow(name)["jobs"][job]["steps"] if "run" in step]


def test_the_image_is_built_and_run_before_a_release() -> None:
    """CI builds the image with Docker and waits for the whole stack to be healthy."""
    build, up, *_rest = runs("ci", "image")
    assert (build, up) == (
        "docker build .",
        "docker compose --profile demo up --wait --wait-timeout 300",
    )


def test_a_released_image_has_the_name_of_its_version() -> None:
    """The image is pushed for each processor, and one index names them all."""
    matrix = workflow("release")["jobs"]["image"]["strategy"]["matrix"]["runner"]
    assert matrix == ["ubuntu-24.04", "ubuntu-24.04-arm"]
    tag = "$IMAGE:${GITHUB_REF_NAME#v}"
    build, _login, push = runs("release", "image")
    assert build == f'docker build --tag "{tag}-$RUNNER_ARCH" .'
    assert push == f'docker push "{tag}-$RUNNER_ARCH"'
    assert runs("release", "image-index")[-1].endswith(f' "{tag}-X64" "{tag}-ARM64"')


@pytest.mark.system
@pytest.mark.parametrize(
    ("tag", "changelog", "said"),
    [
        ("v1.2.3", "## 1.2.3 - 2026-12-01\n\n## 1.2.2 - 2026-11-01\n", "v1.2.3 can be released"),
        ("1.2.3", "## 1.2.3 - 2026-12-01\n", "the tag is 1.2.3, not v1.2.3"),
        ("v1.2.4", "## 1.2.4 - 2026-12-01\n", "the tag is v1.2.4, not v1.2.3"),
        ("v1.2.3", "## Unreleased\n\n## 1.2.3 - 2026-12-01\n", "is '## Unreleased'"),
        ("v1.2.3", "## 1.2.2 - 2026-11-01\n", "is '## 1.2.2 - 2026-11-01'"),
        ("v1.2.3", "## 1.2.3\n", "is '## 1.2.3', not '## 1.2.3 - YEAR-MONTH-DAY'"),
        ("v1.2.3", "## 1x2.3 - 2026-12-01\n", "is '## 1x2.3"),
        ("v1.2.3", "nothing\n", "is 'no heading'"),
    ],
)
def test_the_tag_the_version_and_the_changelog_agree(
    tmp_path: Path, tag: str, changelog: str, said: str
) -> None:
    """Only a tag that agrees with the version and the changelog's latest heading is released."""
    for name in (".ci", "goe_exporter"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / ".ci" / "release-tag", tmp_path / ".ci")
    (tmp_path / "goe_exporter" / "__init__.py").write_text('"""A."""\n\n__version__ = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{changelog}")
    command = ["sh", str(tmp_path / ".ci" / "release-tag"), tag]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if "can be released" in said else 1)
    assert said in done.stdout + done.stderr


def test_every_supported_python_is_tested() -> None:
    """CI runs the suite with each version of the classifiers, from the oldest that is allowed."""
    versions = ["3.11", "3.12", "3.13", "3.14"]
    listed = [each for each in PROJECT["classifiers"] if "Python :: 3." in each]
    assert listed == [f"Programming Language :: Python :: {version}" for version in versions]
    assert workflow("ci")["jobs"]["test"]["strategy"]["matrix"] == {"python": versions}
    assert PROJECT["requires-python"] == f">={versions[0]}"


def bounds() -> dict[str, str]:
    """Return the lower bound of every dependency, optional ones too; some have an upper bound."""
    pattern = r"([a-z0-9-]+)>=([0-9.]+)(?:,<[0-9.]+)?"
    optional = PROJECT["optional-dependencies"]["discover"]
    pairs = [re.fullmatch(pattern, text) for text in [*PROJECT["dependencies"], *optional]]
    assert all(pairs), "a dependency is a name and a lower bound"
    return {pair[1]: pair[2] for pair in pairs if pair}


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    """`make test-oldest` uses exactly the lower bounds of pyproject.toml."""
    oldest = (ROOT / "tests" / "oldest.txt").read_text().split()
    assert oldest == [f"{name}=={version}" for name, version in bounds().items()]
    steps = workflow("ci")["jobs"]["oldest"]["steps"]
    assert steps[-1] == {"run": "make servers test-oldest"}


def test_every_dependency_is_reviewed() -> None:
    """The review lists exactly the dependencies, with their bounds."""
    rows = re.findall(r"(?m)^\| ([a-z0-9-]+) +\| ([0-9.]+) +\|", REVIEW)
    assert dict(rows) == bounds()


def installed(name: str, extra: str = "") -> dict[str, Distribution]:
    """Return what an installation of a package installs here, by normalized name."""
    found: dict[str, Distribution] = {}
    waiting = [(name, extra)]
    while waiting:
        name, extra = waiting.pop()
        package = distribution(name)
        for requirement in map(Requirement, package.requires or []):
            key = canonicalize_name(requirement.name)
            marker = requirement.marker
            if key not in found and (marker is None or marker.evaluate({"extra": extra})):
                found[key] = distribution(key)
                waiting += [(key, each) for each in requirement.extras or {""}]
    return found


def test_every_compiled_dependency_is_reviewed_for_32_bit() -> None:
    """The review lists the dependencies whose wheels are not for every machine."""
    packages = installed("goe-exporter")
    assert {"pydantic-core", "idna"} <= set(packages)
    compiled = {
        name
        for name, package in packages.items()
        if "Root-Is-Purelib: true" not in (package.read_text("WHEEL") or "")
    }
    section = REVIEW.partition("## 32-bit Raspberry Pi OS")[2].partition("\n## ")[0]
    rows = {canonicalize_name(each) for each in re.findall(r"(?m)^\| ([\w-]+) \| \d", section)}
    assert compiled <= rows
    assert rows <= set(packages)
