"""The command of a compiled task's container, as one of this machine."""

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeAlias

from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig

from components.errors import SwarError

Container: TypeAlias = PipelineDeploymentConfig.PipelineContainerSpec
Launcher = Callable[[Container, str], list[str]]
"""Of a container and its ExecutorInput as JSON: the words of a command."""

_EXECUTOR_INPUT: Final = "{{$}}"
_PART_OF_IT: Final = "{{$."


def on_host(container: Container, told: str) -> list[str]:
    """The container's own words: what it names must be on `PATH`."""
    return _filled([*container.command, *container.args], told)


def in_image(writable: Path, *readable: str) -> Launcher:
    """Runs containers in their images, by podman, as the user who calls it.

    Args:
        writable: the folder that they see and write to, under its own name.
        readable: what they see but cannot change, each a folder, a file with its folder, or as
            much of a pattern of spans as is a folder. What lies in a bucket is not mounted.

    Raises SwarError: there is no podman.
    """
    if shutil.which("podman") is None:
        raise SwarError("podman is needed to run the tasks in their image: install it")
    volumes = [f"--volume={writable}:{writable}"]
    # podman refuses the same volume twice.
    folders = dict.fromkeys(map(_folder_of, readable))
    volumes += [f"--volume={folder}:{folder}:ro" for folder in folders if folder is not None]

    def words(container: Container, told: str) -> list[str]:
        # Without a user namespace of its own, 0 is the caller: rootless podman maps it.
        options = ["--rm", "--user=0:0", *volumes]
        entry = f"--entrypoint={json.dumps(_filled(container.command, told))}"
        return ["podman", "run", *options, entry, container.image, *_filled(container.args, told)]

    return words


def _folder_of(path: str) -> Path | None:
    """The deepest folder that exists on the way to a path or to a pattern of spans."""
    if "://" in path:
        return None
    absolute = Path(os.path.abspath(path))
    return next(folder for folder in (absolute, *absolute.parents) if folder.is_dir())


def _filled(words: Iterable[str], told: str) -> list[str]:
    """Raises NotImplementedError: a word needs more than the whole ExecutorInput."""
    words = list(words)
    for word in words:
        if _PART_OF_IT in word:
            raise NotImplementedError(f"a container with the placeholder {word}")
    return [told if word == _EXECUTOR_INPUT else word for word in words]
