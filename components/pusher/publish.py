"""Copies a SavedModel to where TensorFlow Serving looks for versions.

A version is a directory named by a number. On file systems that rename a
directory in one step, it is written beside its final path, under a hidden name
that serving ignores, and then renamed. Object stores have no such step: there
`saved_model.pb`, which every complete version has, is written last.
"""

import os
import time
from typing import Final

from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components.errors import SwarError
from components.model.digest import DIGESTS, as_text, sha256
from components.model.files import GRAPH, is_version_name

_STAGING_PREFIX: Final = ".tmp-"
_RENAMING_SCHEMES: Final = ("file", "hdfs", "viewfs")


def publish(model_directory: str, base_directory: str) -> str:
    """Publishes a SavedModel, unless the newest version has the same files.

    Returns the path of its version, a number (Unix seconds, or the newest
    version plus one if that is higher), which also holds digests of its files. Leftovers
    of killed pushes are removed: only one process may publish to a base directory at a time.

    Raises SwarError where the model was published before and changed since, or where a leftover
    is a file or a link.
    """
    fileio.makedirs(base_directory)
    _remove_leftovers(base_directory)
    digests = _digests(model_directory)
    published_before = os.path.join(model_directory, DIGESTS)
    if fileio.exists(published_before) and _read(published_before) != digests:
        raise SwarError(f"{model_directory} is not what was published: publish another model")
    newest = max(_versions(base_directory), default=0)
    newest_path = os.path.join(base_directory, str(newest))
    if newest and _digests(newest_path) == digests:
        return newest_path
    version = str(max(int(time.time()), newest + 1))
    destination = os.path.join(base_directory, version)
    if not _renames_directories(base_directory):
        _copy_marker_last(model_directory, destination, digests)
        return destination
    staging = os.path.join(base_directory, _STAGING_PREFIX + version)
    _copy_marker_last(model_directory, staging, digests)
    _open_to_readers(base_directory, staging)
    fileio.rename(staging, destination)
    return destination


def _renames_directories(path: str) -> bool:
    scheme, separator, _ = path.partition("://")
    return not separator or scheme in _RENAMING_SCHEMES


def _open_to_readers(base_directory: str, version: str) -> None:
    """Lets all users of this machine read a version, since a server runs as another user."""
    if not os.path.isdir(version):
        return
    os.chmod(base_directory, 0o755)
    for parent, _, names in os.walk(version):
        os.chmod(parent, 0o755)
        for name in names:
            os.chmod(os.path.join(parent, name), 0o644)


def _copy_marker_last(source: str, destination: str, digests: str) -> None:
    marker = os.path.join(source, GRAPH)
    io_utils.copy_dir(source, destination, deny_regex_patterns=[rf"/{GRAPH}$"])
    fileio.makedirs(os.path.dirname(os.path.join(destination, DIGESTS)))
    with fileio.open(os.path.join(destination, DIGESTS), "w") as file:
        file.write(digests)
    io_utils.copy_file(marker, os.path.join(destination, GRAPH))


def _names(directory: str) -> list[str]:
    # Object stores list directories with a slash at the end.
    return [name.rstrip("/") for name in fileio.listdir(directory)]


def _versions(base_directory: str) -> list[int]:
    return [int(name) for name in _names(base_directory) if is_version_name(name)]


def _remove_leftovers(base_directory: str) -> None:
    for name in _names(base_directory):
        path = os.path.join(base_directory, name)
        cut_short = is_version_name(name) and not fileio.exists(os.path.join(path, GRAPH))
        if name.startswith(_STAGING_PREFIX) or cut_short:
            if os.path.islink(path) or not fileio.isdir(path):
                raise SwarError(f"{path} is no version of a model, and no folder: remove it")
            fileio.rmtree(path)


def _read(path: str) -> str:
    with fileio.open(path, "r") as file:
        return str(file.read())


def _digests(directory: str) -> str:
    """The text of `DIGESTS` for all other files."""
    digests = {}
    for parent, _, names in fileio.walk(directory):
        for name in names:
            path = os.path.join(parent, name)
            with fileio.open(path, "rb") as file:
                digests[os.path.relpath(path, directory)] = sha256(file)
    digests.pop(DIGESTS, None)
    return as_text(digests)
