"""The files of `charger_files`: lists of chargers, found by a pattern such as `depots/*.yaml`."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from goe_exporter.charger.settings import ChargerConfig, DeviceConfig
from goe_exporter.config import strict_yaml, values, yaml_file
from goe_exporter.config.quoting import one_line, os_reason
from goe_exporter.errors import ConfigError

MAX_FILES = 1000
MAX_FILE_BYTES = 1024 * 1024
"""The maximum size of a ConfigMap."""

MAX_BYTES = 16 * 1024 * 1024
"""Maximum size of all files together."""


class Row(NamedTuple):
    """A charger, and where it is configured, such as `depot.yaml: [0]`."""

    place: str
    charger: ChargerConfig


def beside(config_file: str, patterns: Iterable[str]) -> list[str]:
    """Return patterns, relative ones below the directory of the configuration file."""
    folder = glob.escape(os.path.dirname(config_file))  # noqa: PTH120, keeps a relative name
    return [os.path.join(folder, pattern) for pattern in patterns]  # noqa: PTH118, likewise


def unmatched(patterns: Iterable[str]) -> list[str]:
    """Return the patterns that match no file."""
    return [pattern for pattern in patterns if not _matches(pattern)]


def rows(patterns: Iterable[str]) -> Iterator[Row]:
    """Yield the chargers of all files; raises `ConfigError` with the file and the row."""
    patterns = tuple(patterns)
    if problem := next(filter(None, map(_unlisted, patterns)), ""):
        raise ConfigError(problem)
    paths = _paths(patterns)
    if len(paths) > MAX_FILES:
        raise ConfigError(f"charger_files: must match at most {MAX_FILES} files, not {len(paths)}")
    left = MAX_BYTES
    for path in paths:
        content = _content(path)
        left -= len(content)
        if left < 0:
            size = MAX_BYTES // 1024**2
            raise ConfigError(f"charger_files: the files must have at most {size} MiB together")
        yield from _rows(path, content)


def check_names(found: Iterable[tuple[str, DeviceConfig]]) -> None:
    """Raise `ConfigError` with both places if two devices have the same name."""
    places: dict[str, str] = {}
    for place, each in found:
        if first := places.get(each.name):
            duplicate = f"duplicate {each.table.device} name {each.name!r}"
            raise ConfigError(f"{place}: {duplicate}, as in {first}")
        places[each.name] = place


def fingerprint(patterns: Iterable[str]) -> bytes:
    """Return a hash of the names and contents of all files, or of why they cannot be read.

    Contents count, not times: Kubernetes replaces a mounted ConfigMap by changing a symbolic link.
    """
    patterns = tuple(patterns)
    digest = hashlib.sha256("".join(map(_unlisted, patterns)).encode())
    left = MAX_BYTES
    for path in _paths(patterns):
        digest.update(os.fsencode(path) + b"\0")
        if left < 0:
            continue
        try:
            content = _content(path)
        except ConfigError as error:
            content = str(error).encode()
        left -= len(content)
        digest.update(hashlib.sha256(content).digest())
    return digest.digest()


def _matches(pattern: str) -> list[str]:
    return glob.glob(pattern)  # noqa: PTH207, a pattern may be absolute


def _unlisted(pattern: str) -> str:
    """Return why a directory of a pattern cannot be searched, "" if none is such.

    `glob` takes one for empty, and the chargers of its files would be removed.
    """
    folder, name = os.path.split(pattern)
    folders = [folder]
    if glob.has_magic(folder):
        if problem := _unlisted(folder):
            return problem
        folders = _matches(folder)
    for each in folders:
        try:
            if glob.has_magic(name):
                os.scandir(each or os.curdir).close()
            else:
                os.lstat(os.path.join(each, name))  # noqa: PTH118, keeps a relative name
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return f"cannot read the directory {one_line(each or os.curdir)}: {os_reason(error)}"
    return ""


def _paths(patterns: Iterable[str]) -> list[str]:
    """Return the files that the patterns match, each once, in the order of their names."""
    return sorted({path for pattern in patterns for path in _matches(pattern)})


def _content(path: str) -> bytes:
    try:
        return values.content(path, one_line(path), MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigError(f"cannot read {one_line(path)}: {os_reason(error)}") from error


def _rows(path: str, content: bytes) -> Iterator[Row]:
    document = yaml_file.parsed(content, path)
    if not document.content and document.content != []:
        # It may be a file that is being written.
        raise ConfigError(f"{path}: must be a list, not empty; write [] for no chargers")
    for index, charger in enumerate(strict_yaml.validated_list(ChargerConfig, document)):
        yield Row(f"{path}: [{index}]", charger)
