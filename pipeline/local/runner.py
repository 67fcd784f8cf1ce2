"""Runs the pipeline in this process and keeps its records in a folder."""

import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.paths import check_present
from components.quiet import output_to
from components.terminal import Console
from pipeline.config import Config
from pipeline.console import Progress
from pipeline.failures import RunFailed, executor_error, storage_error, user_error
from pipeline.output.folder import ARTIFACTS, METADATA, check_records, claimed, has_run
from pipeline.output.summary import RunSummary

if TYPE_CHECKING:
    from tfx.orchestration.pipeline import Pipeline

    from components.recordings.sources import Listing

SUMMARY = "summary.json"

_log = logging.getLogger(__name__)


def run(config: Config, *, data: str, output: Path, beam_workers: int = 1) -> RunSummary:
    """Runs what is not cached, shows the progress on stdout and returns the results.

    Args:
        config: all settings.
        data: folder or manifest of recordings, or pattern of spans, on any Beam filesystem.
        output: local folder; gets `artifacts/`, `checkpoints/`, `published/<version>/`,
            `logs/<UTC time>.log`, `metadata.sqlite` and `summary.json`.
        beam_workers: processes that prepare the data.

    Raises:
        SwarError: the input, the settings or the output folder are at fault.
        RunFailed: anything else ended the run; the log has the traceback.
    """
    data = data if "://" in data else os.path.abspath(data)
    check_present(data)
    from components.recordings.sources import data_digest, list_recordings
    from components.spectrogram_pair_gen.recorded_sounds import sounds_digest
    from pipeline.output.place import check_output

    output = output.absolute()
    augmentation = config.pairs.augmentation
    for folder in (data, *augmentation.folders.values()):
        check_output(output, folder)
    sounds = sounds_digest(augmentation)
    listing = list_recordings(
        data,
        config.speech.rolling_spans,
        follow_outside_links=config.speech.follow_outside_links,
    )
    with claimed(output):
        check_records(output)
        log = output / "logs" / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}.log"
        job = _Job(config, data, data_digest(listing), sounds, listing, output, beam_workers, log)
        try:
            with output_to(log) as terminal:
                console = Console(file=terminal)
                console.print(f"log: {log}", markup=False, highlight=False, soft_wrap=True)
                summary = _logged(job, console)
            summary.write(output / SUMMARY)
        except OSError as error:
            if (fault := storage_error(error, output)) is None:
                raise
            raise fault from error
    return summary


@dataclass(frozen=True)
class _Job:
    config: Config
    data: str
    data_digest: str
    sounds_digest: str
    listing: "Listing"
    output: Path
    beam_workers: int
    log: Path


def _logged(job: _Job, console: Console) -> RunSummary:
    """Runs and summarises the pipeline; an exception is logged with its traceback."""
    progress = Progress(console)
    try:
        pipeline = _pipeline(job)
        if has_run(job.output):
            _withdraw_missing_pushes(job.output)
        with progress.watching([component.id for component in pipeline.components]):
            _run_nodes(pipeline)
        if passed_over := progress.without_inputs():
            raise RuntimeError(f"inputs were missing for {', '.join(passed_over)}")
        return _summarise(job, progress)
    except Exception as raised:
        _log.exception("the run failed")
        error = executor_error(raised)
        if user_error(error) is None and (fault := storage_error(error, job.output)) is not None:
            raise fault from error
        raise RunFailed(progress.failed() or "the run", error, job.log) from error


def _pipeline(job: _Job) -> "Pipeline":
    # TFX takes long to import, and other commands do not need it.
    from absl import logging as absl_logging
    from tfx.orchestration.metadata import sqlite_metadata_connection_config

    from pipeline.local.beam import beam_arguments
    from pipeline.pipeline import create_pipeline

    absl_logging.set_verbosity(absl_logging.INFO)
    return create_pipeline(
        config=job.config,
        data=job.data,
        data_digest=job.data_digest,
        sounds_digest=job.sounds_digest,
        epochs=job.config.trainer.epochs,
        output=str(job.output),
        beam_pipeline_args=beam_arguments(job.beam_workers),
        metadata_connection_config=sqlite_metadata_connection_config(str(job.output / METADATA)),
    )


def _withdraw_missing_pushes(output: Path) -> None:
    from pipeline.output.records import Records

    Records(output).withdraw_missing_pushes()


def _run_nodes(pipeline: "Pipeline") -> None:
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner

    LocalDagRunner().run(pipeline)


def _summarise(job: _Job, progress: Progress) -> RunSummary:
    import tensorflow_model_analysis as tfma

    from components.artifacts import REPORT_PAGE
    from components.evaluator.results import read_metrics
    from components.rolled_back import rolled_back_at
    from pipeline.output import results
    from pipeline.output.records import Records

    outputs = Records(job.output).latest_outputs()
    evaluation = outputs["evaluation"].uri
    metrics = read_metrics(evaluation)
    unmet = results.unmet_thresholds(tfma.load_validation_result(evaluation))
    rolled_back = rolled_back_at(outputs["model"].uri)
    if rolled_back:
        unmet.append(f"it was rolled back at {rolled_back}")
    return RunSummary(
        pipeline=job.config.name,
        config_digest=job.config.digest(),
        data=job.data,
        data_digest=job.data_digest,
        spans=[span.name for span in job.listing.spans],
        recordings=len(job.listing.recordings),
        rejects=results.count_rejects(outputs["rejects"].uri),
        examples=results.split_counts(outputs["pairs"]),
        metrics=results.metrics_by_split(metrics),
        eer_by_condition=results.eer_by_condition(metrics),
        blessed=results.is_blessed(outputs["blessing"]) and not rolled_back,
        not_blessed_because=unmet,
        published_model=None if rolled_back else results.published_model(outputs["pushed_model"]),
        states={name: item.state for name, item in progress.components.items()},
        seconds={name: round(item.seconds, 1) for name, item in progress.components.items()},
        artifacts=str(job.output / ARTIFACTS),
        log=str(job.log),
        report=os.path.join(outputs["report"].uri, REPORT_PAGE),
    )
