"""`swar evaluate`: what it checks first, where it writes, what it shows."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.atomic_write import check_new_folder
from components.errors import SwarError
from components.json_text import to_json
from components.model_files import check_model
from components.paths import check_present
from components.quiet import libraries_quiet
from components.terminal import Console, say

if TYPE_CHECKING:
    from components.verification.results import Evaluation


def run(
    model: str,
    data: Sequence[str],
    *,
    trial_list: Path | None,
    duration_seconds: Sequence[float],
    condition_names: Sequence[str],
    only_unseen: bool,
    follow_links: bool,
    attacks: str | None,
    output: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Evaluates, prints and writes. Progress goes to stderr, results to stdout.

    Args:
        model: as `components.model_files.model_folder` takes it.
        data: folders of speakers, or manifests.
        trial_list: whole files to compare instead, of one folder.
        duration_seconds: of speech in an utterance; none are the usual ones.
        condition_names: that some utterances are put under, too; none are all of them.
        only_unseen: leave out the speakers that the model was trained on.
        follow_links: also those in the data that lead out of it.
        attacks: folder or manifest of recordings that claim to be of the data's speakers.
        output: new or empty folder for `metrics.json` and `scores.parquet`.
        report: new or empty folder for the page about it with its plots and numbers, or, named
            *.html, a new file for the page alone.
        as_json: for programs.

    Raises:
        SwarError: the arguments, the model or the data are at fault, or the output cannot be
            written; what was measured is then printed all the same.
        SystemExit: the latter, where JSON is printed: it holds the error too.
    """
    whole_files_only = len(data) == 1 and not (
        duration_seconds or condition_names or only_unseen or report or attacks
    )
    if trial_list is not None and not whole_files_only:
        raise SwarError(
            "--trials compares whole files of one folder: give one --data, and no --duration, "
            "--condition, --split or --attacks, and no --report"
        )
    if attacks is not None and len(data) > 1:
        raise SwarError("--attacks are compared with the speakers of one folder: give one --data")
    if not all(0.0 < seconds < math.inf for seconds in duration_seconds):
        raise SwarError("--duration must be a number of seconds above 0, such as 3")
    check_model(model)
    for folder in (output, report):
        if folder is not None:
            _check_output(folder)
    for each in (*data, *([attacks] if attacks else [])):
        check_present(each)
    # The libraries write to the terminal as they please; what goes wrong is raised.
    with libraries_quiet() as stderr:
        from components.conditions import choose_conditions
        from components.verification.judge import JudgeSettings
        from components.verification.results import write_evaluation
        from pipeline.evaluation.folders import evaluate
        from pipeline.evaluation.listing import evaluate_list

        progress = Console(file=stderr)
        conditions = choose_conditions(condition_names) if trial_list is None else ()
        settings = JudgeSettings(conditions=conditions)
        if duration_seconds:
            settings = replace(settings, duration_seconds=tuple(duration_seconds))
        if trial_list is not None:
            result = evaluate_list(
                model, data[0], trial_list, settings, progress, follow_links=follow_links
            )
        else:
            result = evaluate(
                model,
                data,
                settings,
                progress,
                only_unseen=only_unseen,
                follow_links=follow_links,
                attacks=attacks,
            )
    try:
        if output is not None:
            write_evaluation(output, result.evaluation, result.trials, result.claims)
        if report is not None:
            from pipeline.evaluation.report import write_report

            write_report(report, result, settings)
    except Exception as error:  # what took long to measure is shown, whatever becomes of the files
        if as_json and isinstance(error, SwarError):  # one document, the error in it
            say(to_json(asdict(result.evaluation) | {"error": str(error)}))
            raise SystemExit(2) from error
        _show(result.evaluation, as_json=as_json)
        raise
    _show(result.evaluation, as_json=as_json)


def _check_output(folder: Path) -> None:
    """Raises SwarError unless the folder is new or empty, and can be written as things are."""
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
