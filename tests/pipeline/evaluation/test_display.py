"""What the tables of an evaluation say, of figures that are given."""

import io
import os
from pathlib import Path
from typing import Any

import pytest

from components.terminal import Console
from components.verification.bootstrap import Estimate
from components.verification.identification import ClosedSet
from components.verification.results import Evaluation
from components.verification.utterances import Unused
from pipeline.evaluation import command
from pipeline.evaluation.display import render


def _evaluation(top_1: Estimate, name: str = "asha/1.wav") -> Evaluation:
    searched = ClosedSet("voices", 5.0, 5.0, 12, 39, {"top_1": top_1, "top_5": top_1})
    return Evaluation(
        model={"folder": "m", "model_digest": "d", "threshold": 0.7, "sample_rate": 8_000},
        data={"voices": "/voices"},
        trial_list=None,
        trained_on=(),
        calibrated_on=(),
        synthetic_speakers=0,
        settings={"conditions": ()},
        selections=(),
        rejected_recordings=(Unused("voices", name, "silent", ""),),
        repeated_recordings=0,
        unusable_utterances=(),
        slices=(),
        conditions=(),
        nonspeech=(),
        identification=(searched,),
        open_set=(),
        attacks=(),
    )


def _shown(evaluation: Evaluation) -> list[str]:
    console = Console(file=io.StringIO(), width=100)
    console.print(render(evaluation))
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue().splitlines()


def test_a_figure_without_any_error_has_no_interval_of_one_point() -> None:
    (row,) = (line for line in _shown(_evaluation(Estimate(1.0, 1.0, 1.0))) if "39" in line)
    assert row.split()[-2:] == ["100.0", "100.0"]
    (row,) = (line for line in _shown(_evaluation(Estimate(0.97, 0.9, 1.0))) if "39" in line)
    assert row.endswith("97.0 (90.0-100.0)")


def test_a_name_with_a_line_break_stays_in_its_line() -> None:
    lines = _shown(_evaluation(Estimate(1.0, 1.0, 1.0), "asha\nEER % 0.0"))
    assert lines[-1].rstrip() == "  voices: asha EER % 0.0 (silent)"


def test_what_the_plots_library_warns_of_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def write_report(*_: object) -> None:
        os.write(2, b"Glyph 2352 missing from font(s) DejaVu Sans.")

    monkeypatch.setattr("pipeline.evaluation.report.write_report", write_report)
    request = command.EvaluationRequest(
        "base", ["voices"], None, (), (), False, False, None, None, report=tmp_path / "page.html"
    )
    unused: Any = None
    command._write(request, unused, unused)
    assert capfd.readouterr().err == ""
