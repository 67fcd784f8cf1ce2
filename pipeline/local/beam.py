"""Beam on all cores of one machine."""

from typing import Final

from components.compat.beam_processes import ProcessesRunner

BEAM_PLUGIN: Final = "--beam_plugin=components.compat.beam_worker"
# Workers run in this environment. Without this argument, TFX packages itself for each
# component, which takes 3 seconds and leaves 52 MB in the folder of temporary files.
_NO_PACKAGE: Final = "--sdk_container_image=this-environment"


def beam_arguments(workers: int) -> list[str]:
    """Beam's arguments for `workers` processes; 1 is this process alone."""
    if workers == 1:
        return ["--runner=FnApiRunner", "--direct_running_mode=in_memory", _NO_PACKAGE]
    return [
        f"--runner={ProcessesRunner.__module__}.{ProcessesRunner.__name__}",
        "--direct_running_mode=multi_processing",
        f"--direct_num_workers={workers}",
        BEAM_PLUGIN,
        _NO_PACKAGE,
    ]
