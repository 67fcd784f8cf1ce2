"""`swar evaluate --report`: the page of a run's report, about other people's recordings."""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest

from components.errors import SwarError
from components.terminal import Console
from components.verification import judge
from pipeline.evaluation.folders import evaluate
from pipeline.evaluation.report import write_report
from tests.pipeline.evaluation.support_evaluation import SETTINGS, SPEAKERS, exit_status

OF_A_TRAINING = ("article", "learning", "checks")


@pytest.fixture(scope="module")
def report(result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new"
    write_report(folder, result, SETTINGS)
    return folder


@pytest.fixture(scope="module")
def page(report):
    return (report / "index.html").read_text("utf-8")


@pytest.fixture(scope="module")
def figures(report):
    return json.loads((report / "figures.json").read_text("utf-8"))


def test_its_numbers_are_those_of_the_evaluation(result, figures):
    evaluation = json.loads(result.evaluation.to_json())
    parts = ("selections", "slices", "conditions", "nonspeech", "identification", "open_set")
    for part in parts:
        content = [each for each in evaluation[part] if each.get("utterances", 1)]
        assert figures[part] == content
    assert (figures["headline"]["set"], figures["headline"]["duration_seconds"]) == ("voices", 3.0)
    assert figures["settings"] == evaluation["settings"]
    assert figures["data"]["rejected"] == len(evaluation["rejected_recordings"])


def test_what_is_measured_already_is_not_measured_again(result, tmp_path, monkeypatch):
    for measure in ("measure_slices", "measure_condition"):
        monkeypatch.delattr(judge, measure)
    write_report(tmp_path / "new", result, SETTINGS)


def test_every_number_on_the_page_is_that_of_the_figures(page, figures):
    shown = re.findall(r'<data value="([^"]+)" data-figure="([^"]+)"', page)
    assert len(shown) > 150
    for value, path in shown:
        found = figures
        for part in path.split("/"):
            found = found[int(part)] if isinstance(found, list) else found[part]
        assert float(value) == found, path


def test_what_only_a_training_knows_is_left_out(page, figures):
    ids = set(re.findall(r'id="([^"]+)"', page))
    assert ids.isdisjoint(OF_A_TRAINING)
    assert {"results", "conditions", "errors", "probabilities", "people", "hardest", "data"} <= ids
    assert {"model", "method", "speakers"} <= ids
    assert set(re.findall(r'href="#([^"]+)"', page)) <= ids
    assert "blessed" not in page
    assert "leakage" not in page
    assert figures["blessed"] is figures["history"] is figures["comparison"] is None


def test_its_speakers_have_names_and_numbers(page, figures):
    rows = figures["data"]["by_speaker"]
    assert {row["speaker"] for row in rows} == set(SPEAKERS)
    assert sorted(row["number"] for row in rows) == list(range(1, len(SPEAKERS) + 1))
    assert all(name in page for name in SPEAKERS)


def test_the_page_says_that_the_model_knows_these_speakers(page, made, tmp_path):
    assert "The model was trained on these recordings." in page
    quiet = Console(quiet=True)
    unseen = evaluate(made.model, [str(made.data)], SETTINGS, quiet, only_unseen=True)
    write_report(tmp_path / "unseen.html", unseen, SETTINGS)
    content = (tmp_path / "unseen.html").read_text("utf-8")
    assert "whom the model had never heard" in content
    assert "The model was trained on these recordings." not in content


def test_where_that_is_not_known_the_page_says_so(made, tmp_path):
    (tmp_path / "data").mkdir()
    for name in list(SPEAKERS)[:4]:
        (tmp_path / "data" / name).symlink_to(made.data / name)
    quiet = Console(quiet=True)
    data = [str(tmp_path / "data")]
    part = evaluate(made.model, data, SETTINGS, quiet, only_unseen=False, follow_links=True)
    write_report(tmp_path / "part.html", part, SETTINGS)
    content = (tmp_path / "part.html").read_text("utf-8")
    assert "Whether the model was trained on some of these people is not known here" in content
    assert "had never heard" not in content


def test_data_that_the_model_was_calibrated_on_is_told(result, tmp_path):
    evaluation = replace(result.evaluation, calibrated_on=("voices",))
    write_report(tmp_path / "page.html", result._replace(evaluation=evaluation), SETTINGS)
    assert "The model was calibrated on voices." in (tmp_path / "page.html").read_text("utf-8")
    write_report(tmp_path / "other.html", result, SETTINGS)
    assert "was calibrated on" not in (tmp_path / "other.html").read_text("utf-8")


def test_two_sets_stand_beside_each_other(made, tmp_path):
    for number in (0, 1):
        for name in SPEAKERS:
            folder = tmp_path / f"take{number}" / name
            folder.mkdir(parents=True)
            (folder / "a.wav").symlink_to(made.data / name / f"take{number}.wav")
    data = [str(tmp_path / f"take{number}") for number in (0, 1)]
    quiet = Console(quiet=True)
    found = evaluate(made.model, data, SETTINGS, quiet, only_unseen=False, follow_links=True)
    write_report(tmp_path / "report", found, SETTINGS)
    figures = json.loads((tmp_path / "report" / "figures.json").read_text("utf-8"))
    assert [each["set"] for each in figures["sets"]] == ["take0", "take1"]
    assert figures["headline"]["set"] == "take0"
    assert set(figures["curves"]) == {"take0", "take1"}
    assert {"heatmap_take0.png", "heatmap_take1.png"} <= {
        path.name for path in (tmp_path / "report").iterdir()
    }
    assert {row["role"] for row in figures["data"]["by_speaker"]} == {"take0, take1"}


def test_columns_of_the_data_are_slices_of_the_page(page, figures):
    own = [part for part in figures["slices"] if part["sliced_by"] == "column_language"]
    assert {part["value"] for part in own} == {"ne", "en", "mixed", "unknown"}
    assert "By language, in numbers" in page


def test_the_page_says_that_speakers_are_synthetic(page, figures):
    assert figures["data"]["synthetic_speakers"] == len(SPEAKERS)
    assert "These speakers are synthetic." in page


def test_the_scores_lie_beside_the_page(result, report):
    scores = pd.read_parquet(report / "scores.parquet")
    pd.testing.assert_frame_equal(scores, result.judgement.trials)
    assert "<audio" not in (report / "index.html").read_text("utf-8")


def test_trials_of_one_kind_are_no_report(result, tmp_path):
    trials = result.judgement.selections[0]
    nothing = [trials.__class__(**{**vars(trials), "similar": 0})]
    judgement = result.judgement.__class__(**{**vars(result.judgement), "selections": nothing})
    with pytest.raises(SwarError, match="too little speech to report on"):
        write_report(tmp_path / "new", result._replace(judgement=judgement), SETTINGS)
    assert not (tmp_path / "new").exists()


def test_the_command_writes_it(made, tmp_path, monkeypatch, capfd):
    options = ("--duration", "3", "--condition", "clean", "--report", tmp_path / "page.html")
    assert exit_status(monkeypatch, made.model, "--data", made.data, *options) == 0
    assert "EER %" in capfd.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert "conditions" not in (tmp_path / "page.html").read_text("utf-8").split("</nav>")[0]
    assert exit_status(monkeypatch, made.model, "--data", made.data, *options) == 2
    assert "page.html exists" in capfd.readouterr().err
