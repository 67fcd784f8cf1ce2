"""The command of a compiled task's container, as a command of this machine."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeAlias

from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig

Container: TypeAlias = PipelineDeploymentConfig.PipelineContainerSpec
Launcher = Callable[[Container, str], list[str]]
"""Makes the words of a command from a container and its ExecutorInput as JSON."""

_EXECUTOR_INPUT: Final = "{{$}}"
_PART_OF_EXECUTOR_INPUT: Final = "{{$."


def on_host(container: Container, executor_input: str) -> list[str]:
    """The container's own words: what they name must be on `PATH`."""
    return _filled([*container.command, *container.args], executor_input)


def in_image(data: Path, output: Path) -> Launcher:
    """Runs containers in their images, by podman, as the user who calls it.

    Args:
        data: the folder that the tasks see but cannot change, under its own name.
        output: the folder that the tasks write to, under its own name.
    """
    # Without a user namespace of its own, 0 is the caller: rootless podman maps it.
    podman = ["podman", "run", "--rm", "--user=0:0"]
    volumes = [f"--volume={output}:{output}", f"--volume={data}:{data}:ro"]

    def words(container: Container, executor_input: str) -> list[str]:
        command = json.dumps(_filled(container.command, executor_input))
        arguments = _filled(container.args, executor_input)
        return [*podman, *volumes, f"--entrypoint={command}", container.image, *arguments]

    return words


def _filled(words: Iterable[str], executor_input: str) -> list[str]:
    """Raises NotImplementedError: a word needs a part of the ExecutorInput."""
    words = list(words)
    for word in words:
        if _PART_OF_EXECUTOR_INPUT in word:
            raise NotImplementedError(f"a container with the placeholder {word}")
    return [executor_input if word == _EXECUTOR_INPUT else word for word in words]
