"""`swar report`: finds a run's newest report and opens it."""

import json
import webbrowser
from pathlib import Path

from components.errors import SwarError
from components.model.files import is_version_name
from components.terminal import say
from pipeline.local.runner import SUMMARY
from pipeline.output.folder import ARTIFACTS

# As in components.artifacts, whose import of TFX takes longer than this whole command.
PAGE = "index.html"
REPORTS = Path(ARTIFACTS, "VerificationReport", "report")


def run(output: Path, *, is_opened: bool) -> None:
    """Prints where the newest report of an output folder is, and opens it.

    Args:
        output: folder of `swar run`.
        is_opened: whether a browser shows it; where there is none, only the path is printed.

    Raises:
        SwarError: there is no report.
    """
    page = find_report(output)
    say(str(page))
    if is_opened:
        webbrowser.open(page.as_uri())


def find_report(output: Path) -> Path:
    """The page of the last run; without a record of that, the newest page.

    Raises:
        SwarError: there is no report.
    """
    if not output.is_dir():
        raise SwarError(f"{str(output)!r} is no folder: name the output folder of swar run")
    last = _of_summary(output)
    if last is not None and last.is_file():
        return last.absolute()
    pages = [
        folder / PAGE
        for folder in (output / REPORTS).glob("*")
        if is_version_name(folder.name) and (folder / PAGE).is_file()
    ]
    if not pages:
        raise SwarError(f"{str(output)!r} holds no report: swar run writes one at its end")
    return max(pages, key=lambda page: int(page.parent.name)).absolute()


def _of_summary(output: Path) -> Path | None:
    try:
        page = json.loads((output / SUMMARY).read_text("utf-8")).get("report")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    # In a folder that was copied or moved, the recorded path is another folder's.
    return output / REPORTS / Path(page).parent.name / PAGE if isinstance(page, str) else None
