"""A search for training settings before the training: KerasTuner in TFX's Tuner.

A trial is a short training with other values of some settings. The Trainer takes the values of
the trial with the lowest EER on `calibration`.
"""

import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import keras
import keras_tuner
from keras_tuner.errors import FatalError
from keras_tuner.oracles import RandomSearchOracle
from tfx.components import Tuner as TfxTuner
from tfx.components.tuner import executor
from tfx.components.tuner.component import TunerFnResult
from tfx.dsl.components.base import executor_spec

from components import features
from components.artifacts import ArtifactDict
from components.settings import TrainerSettings, TunerSettings
from components.trainer import devices
from components.trainer.run_fn import Job, train
from components.verification.error_rates import EER

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

OBJECTIVE = f"{features.CALIBRATION}_{EER}"
progress = logging.getLogger("swar.progress")


class Executor(executor.Executor):
    """Searches, writes the best values and deletes the search's state."""

    def Do(
        self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, Any]
    ) -> None:
        """Writes `best_hyperparameters` and `tuner_results`."""
        tuner = executor.search(
            input_dict, exec_properties, self._get_tmp_dir(), print_tuning_summary=False
        )
        executor.write_best_hyperparameters(tuner, output_dict)
        shutil.rmtree(tuner.directory)


class Tuner(TfxTuner):
    """TFX's Tuner, with Swar's executor."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)


def tuner_fn(fn_args: "FnArgs") -> TunerFnResult:
    """Returns, for TFX's Tuner, a tuner of the settings in the custom config.

    Raises SwarError where TensorFlow sees fewer GPUs than required.
    """
    devices.require_gpus(fn_args.custom_config["gpus"])
    devices.take_memory_as_needed()
    job = Job.of(fn_args)
    settings = TunerSettings.model_validate_json(fn_args.custom_config["tuner"])
    return TunerFnResult(tuner=TrainingTuner(job, settings), fit_kwargs={"verbose": 0})


def search_space(trainer: TrainerSettings, tuner: TunerSettings) -> keras_tuner.HyperParameters:
    """The searched settings by name, with their ranges and default values."""
    space = keras_tuner.HyperParameters()
    for name in tuner.searched(trainer):
        low, high = getattr(tuner, name)
        sampling = "log" if low > 0.0 else "linear"
        space.Float(name, low, high, sampling=sampling, default=getattr(trainer, name))
    return space


class SeededSearch(RandomSearchOracle):
    """Random search whose first trial has the settings' own values.

    A trial's values depend only on the seed and its number: a killed search that is started again
    tries the same ones, unlike with KerasTuner's own oracles.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The values to try next, see KerasTuner."""
        space = self.hyperparameters
        if not self.trials:
            return {"status": "RUNNING", "values": dict(space.values)}
        random = Random(f"{self.seed} {trial_id}")  # str: hashed by sha512, not by process
        values = {each.name: each.random_sample(random.getrandbits(32)) for each in space.space}
        return {"status": "RUNNING", "values": values}


class TrainingTuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Runs each trial as a training of its own.

    Args:
        job: the training, with the epochs of a trial.
        settings: what is searched, and with how many trials.
        train_one: trains the job; returns its history, see `TrialMonitor`.
    """

    def __init__(
        self,
        job: Job,
        settings: TunerSettings,
        train_one: Callable[[Job], list[dict[str, float | None]]] | None = None,
    ) -> None:
        self._job = job
        self._trials = settings.trials
        self._train_one = train_one or _history
        oracle = SeededSearch(
            objective=keras_tuner.Objective(OBJECTIVE, "min"),
            max_trials=settings.trials,
            hyperparameters=search_space(job.trainer, settings),
            tune_new_entries=False,
            seed=job.trainer.seed + 1,  # KerasTuner takes 0 for no seed
        )
        # A killed search, started again, finds its finished trials here.
        super().__init__(oracle=oracle, directory=str(job.checkpoints), project_name="search")

    def _populate_initial_space(self) -> None:
        """Does nothing: the space is complete."""

    def run_trial(self, trial: Any, *_: Any, **__: Any) -> dict[str, float]:
        """The lowest EER on `calibration` of a training with the trial's values."""
        values = dict(trial.hyperparameters.values)
        job = replace(
            self._job,
            trainer=self._job.trainer.replaced(values),
            checkpoints=self._job.checkpoints / trial.trial_id,
            log_folder=str(Path(self._job.log_folder, trial.trial_id)),
        )
        try:
            history = self._train_one(job)
        except Exception as error:
            # KerasTuner would count it as a bad trial and go on.
            raise FatalError(f"trial {trial.trial_id}: {error}") from error
        eers = [row[OBJECTIVE] for row in history]
        eer = min((value for value in eers if value is not None), default=math.inf)
        progress.info(
            "trial %d/%d: calibration EER %.1f %% with %s",
            len(self.oracle.trials),
            self._trials,
            100.0 * eer,
            ", ".join(f"{name} {value:.3g}" for name, value in values.items()),
        )
        return {OBJECTIVE: eer}


def _history(job: Job) -> list[dict[str, float | None]]:
    keras.utils.clear_session()
    keras.utils.set_random_seed(job.trainer.seed)
    job.checkpoints.mkdir(parents=True, exist_ok=True)
    with devices.precision(job.trainer.precision):
        _, learnt = train(job)
    history: list[dict[str, float | None]] = learnt["history"]
    return history
