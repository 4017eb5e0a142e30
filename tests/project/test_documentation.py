"""The documentation as a whole: links are valid, every page and room is listed."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pytest
from paths import ROOT

from docs import command_line

REPOSITORY = "https://github.com/goe-exporter/goe-exporter/blob/main/"
MAX_README_LINES = 120
MAX_IMAGE_BYTES = 300_000
PAGES = sorted(
    path
    for folder in (".", "docs", "benchmarks", "tests", "deploy")
    for path in (ROOT / folder).glob("*.md" if folder in (".", "docs") else "**/*.md")
)
IMAGES = sorted((ROOT / "docs/images").iterdir())


class Link(NamedTuple):
    """A link to a file of the repository, and the heading in it, "" for the file itself."""

    path: Path
    anchor: str


def prose(markdown: str) -> str:
    """Return a page without its code, in which nothing is a link or a heading."""
    without_blocks = re.sub(r"(?ms)^ *```.*?^ *```$", "", markdown)
    return re.sub(
        r"(?<!`)`[^`\n]+`(?!`)", lambda code: code[0].replace("](", "] ("), without_blocks
    )


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors of a page; GitHub numbers equal ones from the second on."""
    found: dict[str, int] = {}
    for heading in re.findall(r"(?m)^#+ (.+)$", prose(page.read_text("utf-8"))):
        name = slug(heading)
        found[name] = count = found.get(name, -1) + 1
        if count:
            found[f"{name}-{count}"] = 0
    return set(found)


def links(page: Path, text: str) -> list[Link]:
    """Return the links and images of a page that lead into the repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(text)) + re.findall(r'src="([^"]+)"', text)
    found = []
    for target in targets:
        base = ROOT if target.startswith(REPOSITORY) else page.parent
        path, _, anchor = target.removeprefix(REPOSITORY).partition("#")
        if not re.match(r"[a-z]+:", path):
            found.append(Link((base / unquote(path)).resolve() if path else page, anchor))
    return found


def dead(link: Link) -> bool:
    """Return whether the file of a link, or the heading in it, does not exist."""
    return not link.path.exists() or (link.anchor != "" and link.anchor not in anchors(link.path))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every link of a page leads to an existing file, and to an existing heading in it."""
    assert [link for link in links(page, page.read_text("utf-8")) if dead(link)] == []


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Install", "install"),
        ("TLS and passwords", "tls-and-passwords"),
        ("What happens to your points when …", "what-happens-to-your-points-when-"),
        ("3. Traps, each seen in the field", "3-traps-each-seen-in-the-field"),
        ("`GOE_EXPORTER_HOSTS` and [links](a.md)", "goe_exporter_hosts-and-links"),
        ("Beside evcc & Home Assistant", "beside-evcc--home-assistant"),
    ],
)
def test_slug(heading: str, anchor: str) -> None:
    """Anchors are formed as GitHub forms them."""
    assert slug(heading) == anchor


def test_dead_links_are_found(tmp_path: Path) -> None:
    """A missing file, a missing heading and a missing image are found; code and URLs are not."""
    page = tmp_path / "page.md"
    page.write_text(
        "# Title\n## Twice\n## Twice\n```sh\n# Comment\n[a](no.md)\n```\n`[b](no.md)`\n"
        "[c](#title) [d](#twice-1) [e](page.md#twice) [f](https://example.org/no.md)\n"
        '[g](no.md) [h](#comment) [i](page.md#twice-2) <img src="no.png">\n',
        encoding="utf-8",
    )
    found = [link for link in links(page, page.read_text("utf-8")) if dead(link)]
    assert [(link.path.name, link.anchor) for link in found] == [
        *(("no.md", ""), ("page.md", "comment"), ("page.md", "twice-2"), ("no.png", "")),
    ]


def test_index_lists_every_page() -> None:
    """docs/index.md links every page of docs/."""
    index = ROOT / "docs/index.md"
    listed = {link.path for link in links(index, index.read_text("utf-8"))}
    assert set((ROOT / "docs").glob("*.md")) - listed == {index}


def test_readme_is_short() -> None:
    """The README is an introduction, not the manual."""
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_images_are_small(image: Path) -> None:
    """Pages load fast: no image exceeds 300 kB."""
    assert image.stat().st_size <= MAX_IMAGE_BYTES


def test_architecture_lists_every_room() -> None:
    """The table of docs/architecture.md has a row for every room of the package."""
    table = (ROOT / "docs/architecture.md").read_text("utf-8")
    named = set(re.findall(r"`(\w+)/?`", "".join(re.findall(r"(?m)^\| (`.+?) \|", table))))
    package = ROOT / "goe_exporter"
    rooms = {path.stem for path in package.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert named >= {name for name in rooms if not name.startswith("_")}
    assert all((package / name).exists() or (package / f"{name}.py").exists() for name in named)


def test_command_reference_is_complete() -> None:
    """The command reference has a section for every command and a row for every option."""
    page = (ROOT / "docs/command-line.md").read_text("utf-8")
    assert command_line.current(page) == page
    assert len(list(command_line.commands())) >= 10
    for context in command_line.commands():
        section = page.partition(f"\n## {context.info_name}\n")[2].partition("\n## ")[0]
        for parameter in context.command.params:
            if parameter.param_type_name == "option":
                assert f"| `{', '.join(parameter.opts)}" in section
