"""Trains, calibrates and exports: what the TFX Trainer calls."""

import hashlib
import json
import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from components import features
from components.model.calibration import Calibration
from components.model.export import export
from components.model.normalisation import CohortNormalisation
from components.model.recordings import FrontEnd
from components.model.tower import build_tower
from components.settings import (
    ServingSettings,
    SpectrogramSettings,
    SpeechSettings,
    TrainerSettings,
)
from components.trainer import data, devices
from components.trainer.augmentation import BatchAugmentation
from components.trainer.checkpoints import Checkpoints
from components.trainer.compiled import compile_training
from components.trainer.decisions import learn_calibration, learn_normalisation
from components.trainer.monitor import TrialMonitor, WindowEmbedder
from components.trainer.starting_weights import start
from components.trainer.throughput import InputClock, Throughput
from components.verification.error_rates import (
    ALL_NONTARGETS,
    FALSE_ACCEPT_RATE,
    FALSE_REJECT_RATE,
    NEAREST_NONTARGETS,
)

if TYPE_CHECKING:  # a machine that trains needs no TFX
    from tfx.components.trainer.fn_args_utils import FnArgs

# Pairs of `calibration`, in the order of their hashes: enough for a threshold.
CALIBRATION_PAIRS = 2_000
# Pairs of `train`, likewise, for the cohort of the normalisation.
COHORT_PAIRS = 3_000
progress = logging.getLogger("swar.progress")


@dataclass(frozen=True)
class Job:
    """Everything that defines one training run."""

    trainer: TrainerSettings
    front_end: FrontEnd
    provenance: dict[str, str]
    patterns: dict[str, list[str]]  # files of each split
    checkpoints: Path
    log_folder: str
    model_folder: str

    @classmethod
    def of(cls, fn_args: "FnArgs") -> "Job":
        """Reads TFX's arguments; the files of a split are those in its `Split-<name>` folder."""
        config = fn_args.custom_config
        files = [*fn_args.train_files, *fn_args.eval_files]
        patterns = {
            split: [file for file in files if f"/Split-{split}/" in file]
            for split in (features.TRAIN, features.CALIBRATION, features.EVAL)
        }
        trainer = TrainerSettings.model_validate_json(config["trainer"])
        if fn_args.hyperparameters:
            trainer = trainer.replaced(fn_args.hyperparameters["values"])
        identity = json.dumps(
            [trainer.model_dump_json(), config["provenance"], patterns], sort_keys=True
        )
        folder = hashlib.sha256(identity.encode()).hexdigest()[:16]
        return cls(
            trainer=trainer,
            front_end=FrontEnd(
                speech=SpeechSettings.model_validate_json(config["speech"]),
                spectrogram=SpectrogramSettings.model_validate_json(config["spectrogram"]),
                serving=ServingSettings.model_validate_json(config["serving"]),
            ),
            provenance=config["provenance"],
            patterns=patterns,
            # A killed run that is restarted has the same identity and finds its checkpoints.
            checkpoints=Path(config["checkpoints"], folder),
            log_folder=fn_args.model_run_dir or fn_args.working_dir,  # a search has no run
            model_folder=fn_args.serving_model_dir,
        )

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of a window: mels, frames."""
        spectrogram = self.front_end.spectrogram
        return spectrogram.n_mels, spectrogram.frames(self.front_end.speech.sample_rate)

    @property
    def train_shape(self) -> data.TrainShape:
        """Shape of the windows of `train`, which may be longer and are cut to varying lengths."""
        return data.TrainShape.of(self.front_end.spectrogram, self.front_end.speech.sample_rate)

    def windows_of(self, split: str, pairs: int) -> data.Windows:
        """Windows of a split's first pairs, as long as those of the served model."""
        n_mels, frames = self.window
        stored = self.train_shape.frames if split == features.TRAIN else frames
        windows = data.load_windows(self.patterns[split], n_mels, stored, pairs)
        if stored == frames:
            return windows
        first = tf.constant(windows.spectrogram[:, :, :frames])
        return replace(windows, spectrogram=data.relative_to_peak(first).numpy())


def run_fn(fn_args: "FnArgs") -> None:
    """Trains the tower, keeps its best epoch, calibrates it and writes the SavedModel."""
    job = Job.of(fn_args)
    devices.require_gpus(fn_args.custom_config["gpus"])
    devices.take_memory_as_needed()
    job.checkpoints.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(job.trainer.seed)
    with devices.precision(job.trainer.precision):
        trained, learnt = train(job)
    # The served model computes in float32, whatever trained it, and is calibrated so.
    with devices.precision("float32"):
        tower = build_tower(job.trainer, job.train_shape.n_mels, job.train_shape.only_frames)
    tower.set_weights(trained.get_weights())
    normalisation, calibration, expected = _learn_decisions(tower, job)
    among_all, among_nearest = expected[ALL_NONTARGETS][0], expected[NEAREST_NONTARGETS][0]
    progress.info(
        "threshold %.3f, from %d speakers: of utterances of %.1f s false accepts %.1f %% "
        "(nearest speakers %.1f %%), false rejects %.1f %%",
        calibration.threshold,
        expected["speakers"],
        among_all["seconds"],
        100.0 * among_all[FALSE_ACCEPT_RATE]["value"],
        100.0 * among_nearest[FALSE_ACCEPT_RATE]["value"],
        100.0 * among_all[FALSE_REJECT_RATE]["value"],
    )
    export(
        tower,
        calibration,
        job.front_end,
        _card(job) | learnt | {"calibration": expected},
        job.model_folder,
        unit_norm=job.trainer.unit_norm,
        normalisation=normalisation,
    )
    shutil.rmtree(job.checkpoints)


def train(job: Job) -> tuple[keras.Model, dict[str, Any]]:
    """Returns the tower with its best epoch's weights, and the training's part of the card."""
    settings = job.trainer
    strategy = devices.strategy()
    pairs = devices.pairs_per_step(settings, strategy.num_replicas_in_sync)
    steps = settings.steps_per_epoch or max(1, _pairs(job) // pairs)
    spectrogram, sample_rate = job.front_end.spectrogram, job.front_end.speech.sample_rate
    with strategy.scope():
        tower = build_tower(settings, job.train_shape.n_mels, job.train_shape.only_frames)
        start(tower, settings, spectrogram, sample_rate)
        starting = tower.get_weights()
        model = compile_training(tower, settings, spectrogram, sample_rate, steps, pairs)
    clock = InputClock()
    embedder = WindowEmbedder(tower)
    monitor = TrialMonitor(
        _monitored(job),
        embedder,
        spectrogram.window_seconds,
        settings.epochs,
        starting,
        settings.starting_share,
    )
    with Checkpoints(job.checkpoints, model, monitor) as checkpoints:
        epochs_done = checkpoints.restore()
        batches = data.training_batches(
            job.patterns[features.TRAIN],
            settings,
            job.train_shape,
            pairs,
            skipped=epochs_done * steps,
        )
        model.fit(
            clock.watch(batches),
            initial_epoch=epochs_done,
            epochs=settings.epochs,
            steps_per_epoch=steps,
            callbacks=[
                Throughput(2 * pairs, clock, settings.epochs),
                monitor,
                keras.callbacks.TensorBoard(job.log_folder, write_graph=False),
                checkpoints,
            ],
            shuffle=False,
            verbose=0,
        )
    best_epoch = monitor.restore_best() + 1
    return tower, {"best_epoch": best_epoch, "history": monitor.history}


def _pairs(job: Job) -> int:
    """Number of training pairs."""
    records = data.pair_records(job.patterns[features.TRAIN])
    return int(records.reduce(0, lambda count, _: count + 1).numpy())


def _monitored(job: Job) -> dict[str, data.Windows]:
    monitored, selection = job.trainer.monitor_windows, job.trainer.selection_windows
    windows = {
        features.TRAIN: monitored,
        features.CALIBRATION: selection,
        features.EVAL: monitored,
    }
    return {split: job.windows_of(split, count // 2) for split, count in windows.items()}


def _learn_decisions(
    tower: keras.Model, job: Job
) -> tuple[CohortNormalisation | None, Calibration, dict[str, Any]]:
    """The normalisation, threshold and slope of distances, and the error rates to expect."""
    embedder, settings, augmentation = WindowEmbedder(tower), job.trainer, None
    spectrogram = job.front_end.spectrogram
    if settings.augmentation.is_on:
        sample_rate = job.front_end.speech.sample_rate
        augmentation = BatchAugmentation(settings.augmentation, spectrogram, sample_rate)
    normalisation = None
    if settings.normalisation_nearest:
        windows = job.windows_of(features.TRAIN, COHORT_PAIRS)
        normalisation = learn_normalisation(windows, embedder, settings, augmentation)
    calibration, expected = learn_calibration(
        job.windows_of(features.CALIBRATION, CALIBRATION_PAIRS),
        embedder,
        normalisation,
        settings,
        augmentation,
        spectrogram.window_seconds,
    )
    return normalisation, calibration, expected


def _card(job: Job) -> dict[str, Any]:
    return {"trainer": job.trainer.model_dump(), **job.provenance}
