"""`swar evaluate`: what it checks first, where it writes, what it shows."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.atomic_write import check_new_folder
from components.errors import SwarError
from components.json_text import to_json
from components.model.files import check_model
from components.paths import check_present
from components.quiet import libraries_quiet
from components.terminal import Console, say

if TYPE_CHECKING:
    from components.verification.judge import JudgeSettings
    from components.verification.results import Evaluation
    from pipeline.evaluation.scoring import ScoredEvaluation


@dataclass(frozen=True)
class EvaluationRequest:
    """What is measured on which recordings, and where it is written."""

    model: str
    """The model, as `components.model.files.model_folder` takes it."""
    data: Sequence[str]
    """Folders of speakers, or manifests."""
    trial_list: Path | None
    """List of trials between whole files of one folder, to compare instead."""
    duration_seconds: Sequence[float]
    """Speech in an utterance; empty for the default durations."""
    condition_names: Sequence[str]
    """Conditions that some utterances are also put under; empty for all."""
    only_unseen: bool
    """Whether the speakers that the model was trained on are left out."""
    follow_links: bool
    """Whether links in the data that lead out of it are followed."""
    attacks: str | None
    """Folder or manifest of recordings that claim to be of the data's speakers."""
    output: Path | None
    """New or empty folder for `metrics.json` and `scores.parquet`."""
    report: Path | None
    """New or empty folder for the page, plots and numbers, or a new *.html for the page alone."""


def run(request: EvaluationRequest, *, as_json: bool) -> None:
    """Evaluates, prints and writes. Progress goes to stderr, results to stdout.

    Args:
        request: what to measure.
        as_json: whether to print JSON.

    Raises:
        SwarError: the request, the model or the data are at fault, or the output cannot be
            written; the results are then printed all the same.
        SystemExit: with `as_json`, the output cannot be written; the JSON holds the error.
    """
    _check(request)
    settings, result = _measured(request)
    try:
        _write(request, settings, result)
    except Exception as error:  # results that took long are shown even if not written
        if as_json and isinstance(error, SwarError):  # one document, the error in it
            say(to_json(asdict(result.evaluation) | {"error": str(error)}))
            raise SystemExit(2) from error
        _show(result.evaluation, as_json=as_json)
        raise
    _show(result.evaluation, as_json=as_json)


def _check(request: EvaluationRequest) -> None:
    """Raises SwarError for faults that show before the model is loaded."""
    whole_files_only = len(request.data) == 1 and not (
        request.duration_seconds
        or request.condition_names
        or request.only_unseen
        or request.report
        or request.attacks
    )
    if request.trial_list is not None and not whole_files_only:
        raise SwarError(
            "--trials compares whole files of one folder: give one --data, and no --duration, "
            "--condition, --split or --attacks, and no --report"
        )
    if request.attacks is not None and len(request.data) > 1:
        raise SwarError("--attacks are compared with the speakers of one folder: give one --data")
    if not all(0.0 < seconds < math.inf for seconds in request.duration_seconds):
        raise SwarError("--duration must be a number of seconds above 0, such as 3")
    check_model(request.model)
    for folder in (request.output, request.report):
        if folder is not None:
            _check_output(folder)
    if request.output and request.report:
        output, report = request.output.resolve(), request.report.resolve()
        if report in (output, *output.parents):
            raise SwarError(
                f"--output {request.output} lies in --report {request.report}, or is the same: "
                "name two folders"
            )
    for each in (*request.data, *([request.attacks] if request.attacks else [])):
        check_present(each)


def _measured(request: EvaluationRequest) -> "tuple[JudgeSettings, ScoredEvaluation]":
    # Libraries write to the terminal as they please; errors are raised.
    with libraries_quiet() as stderr:
        from components.conditions import choose_conditions
        from components.verification.judge import JudgeSettings
        from pipeline.evaluation.folders import evaluate
        from pipeline.evaluation.listing import evaluate_list

        model, links, progress = request.model, request.follow_links, Console(file=stderr)
        if request.trial_list is not None:
            settings = JudgeSettings(conditions=())
            (data,) = request.data
            return settings, evaluate_list(
                model, data, request.trial_list, settings, progress, follow_links=links
            )
        settings = JudgeSettings(conditions=choose_conditions(request.condition_names))
        if request.duration_seconds:
            settings = replace(settings, duration_seconds=tuple(request.duration_seconds))
        return settings, evaluate(
            model,
            request.data,
            settings,
            progress,
            only_unseen=request.only_unseen,
            follow_links=links,
            attacks=request.attacks,
        )


def _write(
    request: EvaluationRequest, settings: "JudgeSettings", result: "ScoredEvaluation"
) -> None:
    if request.output is not None:
        from components.verification.results import write_evaluation

        write_evaluation(request.output, result.evaluation, result.trials, result.claims)
    if request.report is not None:
        with libraries_quiet():  # Matplotlib warns of every letter that its font lacks
            from pipeline.evaluation.report import write_report

            write_report(request.report, result, settings)


def _check_output(folder: Path) -> None:
    """Raises SwarError unless the folder is new or empty and can be written now."""
    try:
        check_new_folder(folder)
        target = folder.resolve()
        there = next(parent for parent in target.parents if parent.exists())
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=there):
            pass
    except OSError as error:
        raise SwarError(
            f"cannot write {folder}: {error.strerror or error}: choose another folder"
        ) from error


def _show(evaluation: "Evaluation", *, as_json: bool) -> None:
    if as_json:
        say(evaluation.to_json(), end="")
        return
    from pipeline.evaluation.display import render

    Console().print(render(evaluation))
