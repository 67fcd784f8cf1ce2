"""Executes here what would be submitted, as far as it needs no cloud."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TextIO

import tensorflow_model_analysis as tfma
from rich.console import Console

from components.errors import SwarError
from pipeline import task_commands
from pipeline.compiler import compile_pipeline, run_parameters
from pipeline.config import Config
from pipeline.engine_settings import BeamSettings, VertexSettings, needed
from pipeline.lineage import unmet_thresholds
from pipeline.output_folder import claimed
from pipeline.output_place import check_output
from pipeline.spec_executor import TaskRun, execute, read_spec

SPEC: Final = "pipeline.yaml"
NO_IMAGE: Final = "no-image"


def execute_locally(
    config: Config, *, data: str, output: Path, in_image: bool, terminal: TextIO
) -> bool:
    """Compiles the pipeline and runs its tasks one by one, each a process of this machine.

    Args:
        config: all settings; `on_this_machine` says which are changed.
        data: folder or manifest of recordings.
        output: local folder; gets `pipeline.yaml`, `artifacts/`, `published/<version>/`.
        in_image: whether each task runs in a container of `engine.image`.
        terminal: gets a line for each task that ended, and one about the model.

    Returns whether the model was blessed. Raises SwarError and RunFailed as a run does.
    """
    output = output.absolute()
    inputs = (data, *config.pairs.augmentation.folders.values())
    for each in inputs:
        check_output(output, each)
    if in_image:
        needed(config.engine, "image")
    launcher = task_commands.in_image(output, *inputs) if in_image else task_commands.on_host
    console = Console(file=terminal)
    with claimed(output):
        here = on_this_machine(config, output)
        parameters = run_parameters(here, data)
        compile_pipeline(here, output / SPEC)
        runs: dict[str, TaskRun] = {}
        try:
            spec = read_spec(output / SPEC)
            for run in execute(spec, parameters, output / "artifacts", launcher):
                console.print(f"{run.name}: {run.state}", markup=False, highlight=False)
                runs[run.name] = run
        except OSError as error:
            raise SwarError(f"cannot write to {error.filename}: {error.strerror}") from error
    blessed, told = _verdict(runs)
    console.print(f"model: {told}", markup=False, highlight=False, soft_wrap=True)
    return blessed


def _verdict(runs: Mapping[str, TaskRun]) -> tuple[bool, str]:
    """Whether the model was blessed, and where it was published or why it was not."""
    pushed = runs["Pusher"].outputs["pushed_model"].artifacts[0].metadata
    if pushed["pushed"]:
        return True, pushed["pushed_destination"]
    evaluation = runs["Evaluator"].outputs["evaluation"].artifacts[0].uri
    unmet = unmet_thresholds(tfma.load_validation_result(evaluation))
    return False, f"not published: {'; '.join(unmet)}"


def on_this_machine(config: Config, output: Path) -> Config:
    """The same, without the cloud: the folder is the root, each task does its own work."""
    engine = config.engine
    changed = engine.model_copy(
        update={
            "root": str(output),
            "image": engine.image or NO_IMAGE,
            "beam": BeamSettings(task_workers=engine.beam.task_workers),
            "training": engine.training.model_copy(update={"machine_type": None}),
            "vertex": VertexSettings(),
        }
    )
    return config.model_copy(update={"engine": changed})
