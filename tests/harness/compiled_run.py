"""Runs on this machine what would be submitted, as far as it needs no cloud.

`python -m tests.harness.compiled_run DATA OUTPUT IMAGE` runs the demo, each task in the image.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import tensorflow_model_analysis as tfma

from pipeline.config import Config, load_config
from pipeline.engines.compiler import compile_pipeline, run_parameters
from pipeline.engines.settings import BeamSettings, VertexSettings
from pipeline.output.results import unmet_thresholds
from tests.harness.containers import in_image
from tests.harness.engine import Engine, TaskRun, read_spec, run_command


@dataclass(frozen=True)
class CompiledRun:
    """How the run of a compiled pipeline ended."""

    tasks: dict[str, TaskRun]

    @property
    def published(self) -> str | None:
        """Folder of the published model; None where the model was not blessed."""
        pushed = self.tasks["Pusher"].outputs["pushed_model"].artifacts[0].metadata
        return str(pushed["pushed_destination"]) if pushed["pushed"] else None

    @property
    def unmet(self) -> list[str]:
        """The thresholds that the model did not meet."""
        evaluation = self.tasks["Evaluator"].outputs["evaluation"].artifacts[0].uri
        return unmet_thresholds(tfma.load_validation_result(evaluation))


def run_compiled(config: Config, data: Path, output: Path, engine: Engine) -> CompiledRun:
    """Compiles the pipeline and runs its tasks one by one.

    Args:
        config: all settings; `on_this_machine` replaces those of the cloud.
        data: folder of recordings.
        output: gets `pipeline.yaml` and `published/<version>/`.
        engine: runs the tasks.

    Raises:
        RunFailed: a task ended with an error.
    """
    config = on_this_machine(config, output)
    spec = output / "pipeline.yaml"
    output.mkdir(exist_ok=True)
    compile_pipeline(config, spec)
    tasks = {}
    for run in engine.run(read_spec(spec), run_parameters(config, str(data))):
        print(f"{run.name}: {run.state}", flush=True)
        tasks[run.name] = run
    return CompiledRun(tasks)


def on_this_machine(config: Config, output: Path) -> Config:
    """The same without the cloud: the folder is the root, each task does its own work."""
    engine = config.engine
    changed = engine.model_copy(
        update={
            "root": str(output),
            "image": engine.image or "no-image",
            "beam": BeamSettings(task_workers=engine.beam.task_workers),
            "training": engine.training.model_copy(update={"machine_type": None, "gpus": 0}),
            "vertex": VertexSettings(),
        }
    )
    return config.model_copy(update={"engine": changed})


def _main(data: Path, output: Path, image: str) -> None:
    engine = Engine(output / "artifacts", in_image(data, output), run_command)
    run = run_compiled(load_config("demo", [f"engine.image={image}"]), data, output, engine)
    sys.exit(None if run.published else f"not published: {'; '.join(run.unmet)}")


if __name__ == "__main__":
    _main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute(), sys.argv[3])
