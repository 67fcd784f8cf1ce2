"""The page about an evaluation: like a run's VerificationReport, but without the training."""

from pathlib import Path

from components.artifacts import REPORT_PAGE
from components.atomic_write import new_file, new_folder
from components.errors import SwarError
from components.verification.judge import JudgeSettings
from components.verification_report.judging import ReportedJudgement, ReportedSet
from components.verification_report.report import evaluation_files
from pipeline.evaluation.scoring import ScoredEvaluation


def write_report(target: Path, result: ScoredEvaluation, settings: JudgeSettings) -> None:
    """Writes the page, its plots and their numbers: all of it or nothing.

    Args:
        target: new or empty folder; or a new file *.html for the page alone.
        result: what was measured.
        settings: of the evaluation.

    Raises:
        SwarError: target or nontarget trials are missing, or the page cannot be written.
    """
    sets = [ReportedSet(name, name, result.knows_speakers(name)) for name in result.evaluation.data]
    judged = ReportedJudgement.about(result.judgement, sets, settings.condition_seconds)
    files = evaluation_files(judged, result.evaluation, result.card, settings)
    try:
        if target.suffix == ".html":
            with new_file(target) as file:
                file.write(files[REPORT_PAGE])
            return
        with new_folder(target) as build:
            for name, content in files.items():
                Path(build, name).write_bytes(content)
    except OSError as error:
        raise SwarError(
            f"cannot write {target}: {error.strerror or error}: choose another --report"
        ) from error
